"""What the demo expected and what it saw, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["step", "attack", "fault"]


@dataclass(frozen=True)
class Verdict:
    """One row. For an attack `expected` and `actual` are refusal codes, for a step outcomes, for a fault either.

    `at_s`: seconds since the demo began.
    """

    gateway: str
    kind: Kind
    step: str
    expected: str
    actual: str
    code: str
    detail: str = ""
    at_s: float = 0.0

    @property
    def as_expected(self) -> bool:
        """Whether the demo saw what it should."""
        return self.expected == self.actual


def write_verdicts(path: Path, verdicts: Iterable[Verdict]) -> None:
    """Write `verdicts.json`: a list of {gateway, kind, step, expected, actual, code, detail, at_s}."""
    rows = [asdict(verdict) for verdict in verdicts]
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
