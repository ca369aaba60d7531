"""Calls of the command line inside this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from medvouch.cli.main import main


@dataclass(frozen=True)
class Called:
    """One call; `out` and `err` as a terminal would show them."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Caller:
    """Calls `medvouch`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Called:
        code = main([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        return Called(code, out, err)


HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e\r\nforged line"
"""Text that would set a terminal's title, clear it, turn what follows around and begin a line of its own."""


def assert_steers_no_terminal(medvouch: Caller, *arguments: object) -> None:
    """What shows a file with `HOSTILE` shows all of it, and obeys none, as text and as JSON."""
    for options in ((), ("--json",)):
        called = medvouch(*arguments, *options)
        assert called.code == 0
        assert "owned" in called.out
        assert all(line.isprintable() for line in called.out.split("\n"))
        assert not any(line.startswith("forged") for line in called.out.split("\n"))
