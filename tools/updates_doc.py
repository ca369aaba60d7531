"""Writes docs/reference/updates.md from the code: states, the user's say, roles, limits, faults, refusals."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from medvouch.daemon import updating
from medvouch.formats import blocks, directive, suit, suit_commands, suit_manifest
from medvouch.release.repository import Periods
from medvouch.release.tuf_state import THRESHOLDS
from medvouch.update import consent, directing, repository, signatures, transitions
from medvouch.update.parts import AFFECTED, BY_NAME
from refusals_doc import cell, tables

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
faults = import_module("support.faults")  # the table of faults is what the tests do

TARGET = ROOT / "docs" / "reference" / "updates.md"
HEADER = """\
# Updates: what may happen, and what comes of it

Written by `make docs` from the tables in the code and in the tests; edit those. How it is done is told in
[deliver updates](../how-to/deliver-updates.md) and [publish a release](../how-to/publish-a-release.md), which codes of
SUIT are run in [SUIT](suit.md).
"""
LIMITED: tuple[ModuleType, ...] = (repository, directive, suit, suit_manifest, suit_commands, signatures, blocks)
REFUSING = ("medvouch.update", "medvouch.release")
_DAY = 86_400


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(headings)
    yield f"| {' | '.join(names)} |\n|{'---|' * len(names)}\n"
    yield from (f"| {' | '.join(map(cell, row))} |\n" for row in rows)


def _moves(moves: Mapping[Any, Any]) -> list[tuple[str, ...]]:
    return [(f"`{before}`", cause, f"`{after}`") for (before, cause), after in moves.items()]


def _states() -> Iterator[str]:
    yield "\n## States of an update\n\n"
    yield from _table(("from", "by", "to"), _moves(transitions.TRANSITIONS))
    yield "\nWhat has come of it:\n\n"
    yield from _table(("state", "outcome"), ((f"`{s}`", f"`{o}`") for s, o in transitions.OUTCOMES.items()))
    yield f"\nA slot is started {updating.MAX_TRIES} times at most before it is confirmed.\n"
    yield "\n## Parts of which there is one\n\nInstalled just before the restart; no slot is kept beside them.\n\n"
    rows = ((f"`{name}`", ", ".join(map(str, sorted(AFFECTED[part])))) for name, part in BY_NAME.items())
    yield from _table(("part", "PCRs that it may change"), rows)


def _say() -> Iterator[str]:
    yield "\n## The user's say\n\n"
    yield from _table(("wish", "by", "then"), _moves(consent.TRANSITIONS))
    yield "\nWhat may hold the next step of an update:\n\n"
    rows = ((f"`{state}`", ", ".join(f"`{each}`" for each in consent.Reason if each in held))
            for state, held in consent.HELD.items())  # fmt: skip
    yield from _table(("state", "held by"), rows)
    yield "\nThat an update is held up is an entry of the ledger (machine `hold`) where it is news:\n\n"
    yield from _table(("held by", "actor"), ((f"`{reason}`", actor) for reason, actor in consent.HOLDERS.items()))


def _roles() -> Iterator[str]:
    yield "\n## Roles of the repository\n\n"
    periods = vars(Periods())
    yield from _table(
        ("role", "signatures", "good for"),
        ((f"`{role}`", str(number), f"{periods[role] // _DAY} days") for role, number in THRESHOLDS.items()),
    )
    yield "\nWhat a device is sent to:\n\n"
    yield from (f"{line}\n" for line in (inspect.getdoc(directing) or "").partition("\n\n")[2].splitlines())


def _limits() -> Iterator[str]:
    yield "\n## Limits\n\n"
    rows = (
        (f"`{module.__name__.removeprefix('medvouch.')}.{name}`", f"{value:,}")
        for module in LIMITED
        for name, value in vars(module).items()
        if name.startswith("MAX_") and isinstance(value, int) and _is_own(module, name)
    )
    yield from _table(("what", "at most"), rows)


def _is_own(module: ModuleType, name: str) -> bool:
    return f"\n{name}" in inspect.getsource(module) or f", {name} =" in inspect.getsource(module)


def _faults() -> Iterator[str]:
    yield "\n## Faults\n\nEach is shown by a test, over a device that has an update to install.\n\n"
    rows = (
        (
            fault.what,
            f"`{fault.code}`" if fault.code else "",
            "; ".join(filter(None, (faults.ENDS[fault.end], fault.remark))),
        )
        for fault in faults.FAULTS
    )
    yield from _table(("fault", "told as", "what comes of it"), rows)


def _refusals() -> Iterator[str]:
    for package, table in tables():
        if package in REFUSING:
            yield f"\n## Refusals of {package}: {len(table)}\n\n"
            rows = ((f"`{kind.code}`", kind.meaning) for _, kind in sorted(table.items()))
            yield from _table(("code", "what it says"), rows)


def render() -> str:
    """The whole page."""
    parts = (_states, _say, _roles, _limits, _faults, _refusals)
    return "".join([HEADER, *(text for part in parts for text in part())])


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(render(), encoding="utf-8")
