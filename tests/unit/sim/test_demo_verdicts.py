"""What the demo makes of verdicts: a row, a table, a file, and an exit code that cannot be fine by mistake."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from medvouch_sim.demo.narrator import Narrator
from medvouch_sim.demo.run import closing
from medvouch_sim.demo.verdicts import Verdict, write_verdicts

GOOD = Verdict("gw1", "attack", "modified kernel", "event-unexpected", "event-unexpected", "event-unexpected", "PCR 4")
BAD = Verdict("gw1", "attack", "log of a gigabyte", "eventlog-too-large", "unnoticed", "")


def told(*verdicts: Verdict) -> tuple[Narrator, Console]:
    console = Console(file=io.StringIO(), width=132)
    narrator = Narrator(console, len(verdicts))
    for verdict in verdicts:
        narrator.record(verdict)
    return narrator, console


@pytest.mark.parametrize(("verdicts", "code"), [((GOOD,), 0), ((GOOD, BAD), 1)])
def test_one_verdict_that_differs_fails_the_demo(verdicts: tuple[Verdict, ...], code: int, tmp_path: Path) -> None:
    narrator, console = told(*verdicts)
    assert closing(narrator, tmp_path, console) == code


def test_a_row_that_differs_says_what_was_expected() -> None:
    narrator, console = told(GOOD, BAD)
    narrator.table()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "unnoticed, expected eventlog-too-large" in text
    assert text.count("✗") == 2


def test_verdicts_on_file(tmp_path: Path) -> None:
    write_verdicts(tmp_path / "verdicts.json", [GOOD, BAD])
    first, second = json.loads((tmp_path / "verdicts.json").read_text())
    assert first == {
        "gateway": "gw1",
        "kind": "attack",
        "step": "modified kernel",
        "expected": "event-unexpected",
        "actual": "event-unexpected",
        "code": "event-unexpected",
        "detail": "PCR 4",
        "at_s": 0.0,
    }
    assert second["actual"] == "unnoticed"
