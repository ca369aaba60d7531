"""A fleet's progress: one live line on a terminal, few plain lines elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from medvouch_sim.fleet.progress import PLAIN_STEPS, stage


def played(total: int, *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with stage(console, "attested", total) as done:
        for number in range(total):
            done.step(failed=number == 1)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("total", [1, 3, PLAIN_STEPS, 500])
def test_plain_lines_are_few_and_end_with_all(total: int) -> None:
    lines = played(total, terminal=False).splitlines()
    assert len(lines) == min(total, PLAIN_STEPS)
    assert f"attested {total}/{total}" in lines[-1]
    assert ("1 failed" in lines[-1]) == (total > 1)
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_has_one_line_that_lives() -> None:
    shown = played(20, terminal=True)
    assert shown.count("\n") == 1
    assert "\x1b[2K" in shown
    assert "20/20" in shown
    assert "1 failed" in shown
