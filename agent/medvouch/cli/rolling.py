"""`medvouch release rollout`: the command lines. What they do is in `rolling_out`, which needs tuf."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medvouch.cli.parsing import (
    EXIT_CODES,
    Run,
    command,
    day_count,
    existing_file,
    existing_folder,
    part,
    short_text,
    target_name,
)
from medvouch.cli.releasing import KEYS_HELP
from medvouch.errors import InputError
from medvouch.formats.record import Place
from medvouch.formats.rollout import MAX_REASON
from medvouch.formats.rollout_plan import check_name

if TYPE_CHECKING:
    from medvouch.cli.parsing import Subparsers

_REPOSITORY, _KEYS, _COLLECTOR = "--repository repository", "--keys keys", "--collector state.db"


def add_parsers(subparsers: Subparsers) -> None:
    """The step `rollout` and its actions."""
    summary = "send a release to a fleet in waves, and stop by itself where it fails"
    where = "State and log are kept beside the repository, in DIR.rollouts."
    example = f"medvouch release rollout step {_REPOSITORY} {_KEYS} {_COLLECTOR}"
    parser = subparsers.add_parser(
        "rollout",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n{where}",
        epilog=f"example:\n  {example}    (every few minutes, by a timer)\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for add in (_add_start, _add_step, _add_status, _add_halt, _add_resume, _add_recover):
        add(actions)


def _add_start(actions: Subparsers) -> None:
    example = f"medvouch release rollout start plan.toml --fleet fleet.json {_REPOSITORY}"
    summary = "take up a plan: who belongs to which wave is fixed from now on; `step` directs the first"
    parser = command(actions, "start", _run("start"), summary, example)
    parser.add_argument("plan", type=existing_file, metavar="PLAN", help="the plan (TOML)")
    _add_fleet(parser)
    _add_reason(parser, required=False)
    _add_repository(parser)


def _add_step(actions: Subparsers) -> None:
    examples = (
        f"medvouch release rollout step {_REPOSITORY} {_KEYS} {_COLLECTOR}",
        f"medvouch release rollout step 1.1.0-hospitals {_REPOSITORY} {_KEYS} --bundles lives --trust trust.cbor",
    )
    summary = "do what is due: direct the next wave, halt, or wait; 1 where one halts"
    parser = command(actions, "step", _run("step"), summary, *examples)
    _add_name(parser, optional=True)
    _add_repository(parser, keys=True)
    _add_sources(parser)


def _add_status(actions: Subparsers) -> None:
    examples = (
        f"medvouch release rollout status {_REPOSITORY} {_COLLECTOR}",
        f"medvouch release rollout status 1.1.0-hospitals {_REPOSITORY} --json",
    )
    summary = "show how far rollouts have come, and who did what; 1 where one is halted"
    parser = command(actions, "status", _run("status"), summary, *examples)
    _add_name(parser, optional=True)
    _add_repository(parser)
    _add_sources(parser)


def _add_halt(actions: Subparsers) -> None:
    example = f'medvouch release rollout halt 1.1.0-hospitals --reason "alarms at two sites" {_REPOSITORY} {_KEYS}'
    summary = "stop a rollout, and withdraw what devices have not taken yet"
    parser = command(actions, "halt", _run("halt"), summary, example)
    _add_name(parser)
    _add_reason(parser)
    _add_repository(parser, keys=True)
    _add_sources(parser)


def _add_resume(actions: Subparsers) -> None:
    example = f'medvouch release rollout resume 1.1.0-hospitals --reason "a power cut" {_REPOSITORY} {_COLLECTOR}'
    summary = "let a halted rollout go on; who has failed by now is not held against it any more"
    parser = command(actions, "resume", _run("resume"), summary, example)
    _add_name(parser)
    _add_reason(parser)
    _add_repository(parser)
    _add_sources(parser)


def _add_recover(actions: Subparsers) -> None:
    example = f"medvouch release rollout recover --release releases/1.1.1/release.suit --fleet fleet.json {_REPOSITORY}"
    summary = "send all devices in quarantine to a recovery release, as a rollout of one wave; `step` directs it"
    parser = command(actions, "recover", _run("recover"), summary, f"{example} {_COLLECTOR}")
    parser.add_argument("--release", required=True, type=target_name, metavar="TARGET", help="the release's envelope")
    parser.add_argument("--name", type=_name, metavar="NAME", help="of the rollout (default: by the time)")
    parser.add_argument("--days", type=day_count, default=30, metavar="N", help="good for so many days (default 30)")
    _add_fleet(parser)
    _add_reason(parser, required=False)
    _add_repository(parser)
    _add_sources(parser)


def _add_fleet(parser: argparse.ArgumentParser) -> None:
    what = "all devices that you know (JSON)"
    parser.add_argument("--fleet", required=True, type=existing_file, metavar="FILE", help=what)


def _add_name(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    what = "of the rollout" + (" (default: all)" if optional else "")
    parser.add_argument("name", nargs="?" if optional else None, type=_name, metavar="NAME", help=what)


def _add_reason(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--reason", required=required, type=_reason, metavar="TEXT", help="goes into the log")


def _add_repository(parser: argparse.ArgumentParser, *, keys: bool = False) -> None:
    what = "directory that is served"
    parser.add_argument("--repository", required=True, type=existing_folder, metavar="DIR", help=what)
    if keys:
        parser.add_argument("--keys", required=True, type=existing_folder, metavar="DIR", help=KEYS_HELP)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    what = "a collector's database: the last verdict on each device, and what it says of its update"
    parser.add_argument("--collector", type=existing_file, metavar="FILE", help=what)
    what = "a directory of exported ledgers (*.cbor), which are verified by --trust"
    parser.add_argument("--bundles", type=existing_folder, metavar="DIR", help=what)
    parser.add_argument("--trust", type=existing_file, metavar="FILE", help="trust document: whom to believe")


def _run(name: str) -> Run:
    def run(options: argparse.Namespace) -> int:
        with part("release"):
            from medvouch.cli import rolling_out  # noqa: PLC0415 - all else works in the base install
        return rolling_out.ACTIONS[name](options)

    return run


def _name(text: str) -> str:
    try:
        return check_name(text, Place("rollout"))
    except InputError as error:
        raise argparse.ArgumentTypeError(error.detail) from None


def _reason(text: str) -> str:
    return short_text(text, MAX_REASON)
