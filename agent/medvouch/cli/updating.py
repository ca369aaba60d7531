"""`medvouch update`: look for one, and say whether and when it may come."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvouch.adapters.control import ControlClient
from medvouch.cli.config import DEFAULT_PATH, load
from medvouch.cli.output import aligned, moment, show
from medvouch.cli.parsing import Parser, Run, command, point_in_time
from medvouch.errors import UsageFault

if TYPE_CHECKING:
    from medvouch.cli.parsing import Subparsers

_SPAN = re.compile(r"\+([0-9]{1,5})([dhm])")
_SECONDS = {"d": 86_400, "h": 3600, "m": 60}
_CONFIG = f"configuration (default {DEFAULT_PATH})"
_FROM = "a directory with the repository, on a stick perhaps; the same checks hold"
_EXAMPLES = (
    "medvouch update",
    "medvouch update --from /media/usb/repository",
    "medvouch update status --json",
    "medvouch update postpone +3d",
)


def add_parser(subparsers: Subparsers) -> None:
    """The command with what can be said of updates below it; without any of that it looks for one."""
    summary = "have the running agent look for an update now, or tell it whether and when one may come"
    parser = command(subparsers, "update", look, summary, *_EXAMPLES)
    parser.add_argument("--from", type=Path, metavar="DIR", dest="place", help=_FROM)
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help=_CONFIG)
    actions = parser.add_subparsers(metavar="ACTION", parser_class=Parser)
    _add(actions, "status", status, "show what waits, for what, and what was wished", "medvouch update status")
    now = _add(
        actions, "now", install_now, "install the release that waits, whatever was wished before", "medvouch update now"
    )
    now.add_argument("--from", type=Path, default=argparse.SUPPRESS, metavar="DIR", dest="place", help=_FROM)
    examples = "medvouch update postpone +3d", "medvouch update postpone 2026-12-24T02:00:00"
    later = _add(actions, "postpone", postpone, "start the release that waits later, within its limit", *examples)
    what = "until then: ISO 8601 (UTC where it says no zone), or from now on, such as +3d, +12h or +30m"
    later.add_argument("until", type=until, metavar="WHEN", help=what)
    _add(actions, "opt-out", opt_out, "be told of releases, and install none by itself", "medvouch update opt-out")
    _add(actions, "opt-in", opt_in, "install what comes by itself, as it is without a wish", "medvouch update opt-in")


def _add(actions: Subparsers, name: str, run: Run, summary: str, *examples: str) -> argparse.ArgumentParser:
    parser = command(actions, name, run, summary, *examples, below=True)
    parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help=_CONFIG)
    return parser


def until(text: str) -> int:
    """An argument: a point in time, or `+3d` and the like from now on; seconds since 1970."""
    span = _SPAN.fullmatch(text)
    return int(time.time()) + int(span[1]) * _SECONDS[span[2]] if span else point_in_time(text)


# --- commands --------------------------------------------------------------------------------------------------------


def look(options: argparse.Namespace) -> int:
    """`medvouch update`: 0 once the agent has been asked."""
    document = _call(options, "update", **_place(options))
    line = f"the agent looks for an update; before: {update_line(document)}. `medvouch status` shows how it goes on"
    show(document, [line], as_json=options.json)
    return 0


def status(options: argparse.Namespace) -> int:
    """`medvouch update status`."""
    return _said(options)


def install_now(options: argparse.Namespace) -> int:
    """`medvouch update now`: 0 once the wish is recorded; 1 where no update waits."""
    return _shown(options, _call(options, "consent", cause="install-now", **_place(options)))


def postpone(options: argparse.Namespace) -> int:
    """`medvouch update postpone`: 0 once the wish is recorded; 1 where the release cannot wait so long."""
    return _said(options, cause="postpone", until=options.until)


def opt_out(options: argparse.Namespace) -> int:
    """`medvouch update opt-out`."""
    return _said(options, cause="opt-out")


def opt_in(options: argparse.Namespace) -> int:
    """`medvouch update opt-in`."""
    return _said(options, cause="opt-in")


def _said(options: argparse.Namespace, **args: Any) -> int:
    if options.place:
        raise UsageFault("usage", "--from is for a look and for `now`", remedy="see `medvouch update --help`")
    return _shown(options, _call(options, "consent", **args))


def _shown(options: argparse.Namespace, document: dict[str, Any]) -> int:
    limit = document.get("defer_until")
    rows = {
        "update": update_line(document),
        "consent": consent_line(document),
        "may wait until": moment(limit) if limit else "",
    }
    show(document, aligned(rows), as_json=options.json)
    return 0


def _call(options: argparse.Namespace, call: str, **args: Any) -> dict[str, Any]:
    return ControlClient(load(options.config).control_socket).call(call, **args)


def _place(options: argparse.Namespace) -> dict[str, str]:
    return {"from": str(options.place.resolve())} if options.place else {}


# --- in a few words --------------------------------------------------------------------------------------------------


def update_line(update: Mapping[str, Any] | None) -> str:
    """How an update stands."""
    if update is None or "version" not in update:
        return "none"
    line = f"{update['version']} {update.get('outcome') or update['state']}"
    if update.get("total"):
        return f"{line}, {update['percent']} % of {update['total']:,} bytes"
    return line + (f" ({update['reason']})" if update.get("reason") else "")


def consent_line(consent: Mapping[str, Any] | None) -> str:
    """What was wished, and what the update waits for; nothing where there are no updates."""
    if consent is None:
        return ""
    wish = str(consent["wish"]) + (f" until {moment(consent['until'])}" if consent.get("until") else "")
    if not consent.get("held_by"):
        return wish
    end = f" until {moment(consent['held_until'])}" if consent.get("held_until") else ""
    return f"{wish}; it waits ({consent['held_by']}{end})"
