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
