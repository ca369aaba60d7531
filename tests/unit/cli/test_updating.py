"""What `medvouch update` understands; tests/integration/cli/test_update.py has an agent that answers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from medvouch.cli.updating import consent_line, until, update_line
from support.cli import Caller


@pytest.mark.parametrize(("text", "seconds"), [("+3d", 259_200), ("+12h", 43_200), ("+0m", 0)])
def test_from_now_on(text: str, seconds: int) -> None:
    assert 0 <= time.time() + seconds - until(text) < 10


def test_a_point_in_time() -> None:
    assert until("2027-01-15T08:00:00") == until("2027-01-15T09:00:00+01:00") == 1_800_000_000


def test_in_a_few_words() -> None:
    assert update_line({"version": "1.1.0", "state": "failed", "reason": "payload-mismatch"}) == (
        "1.1.0 failed (payload-mismatch)"
    )
    there = {"version": "1.1.0", "state": "notified", "bytes": 512, "total": 2048, "percent": 25}
    assert update_line(there) == "1.1.0 notified, 25 % of 2,048 bytes"
    assert consent_line(None) == ""
    assert consent_line({"wish": "automatic", "held_by": "window-closed", "held_until": 1_800_000_000}) == (
        "automatic; it waits (window-closed until 2027-01-15 08:00:00 UTC)"
    )
    assert consent_line({"wish": "postponed", "until": 2**62}) == f"postponed until {2**62}"


@pytest.mark.parametrize(
    "words", [["postpone"], ["postpone", "+3w"], ["postpone", "tomorrow"], ["sing"], ["--from", "/x", "opt-in"]]
)
def test_what_cannot_be_said(medvouch: Caller, words: list[str]) -> None:
    assert medvouch("update", *words).code == 2


def test_what_was_said_before_the_action_counts(medvouch: Caller, tmp_path: Path) -> None:
    called = medvouch("update", "--json", "--config", tmp_path / "nothing.toml", "status")
    assert (called.code, called.json["error"]["code"]) == (3, "config-unreadable")
