"""The seeds of the fuzz corpus: tests/fuzz/TARGET.txt, one in Base64 a line, the shortest first."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[1] / "tests" / "fuzz"


def seeded() -> list[str]:
    """The targets that have seeds."""
    return sorted(path.stem for path in CORPUS.glob("*.txt"))


def read_seeds(target: str) -> list[bytes]:
    """All of a target's; none where it has no file."""
    path = CORPUS / f"{target}.txt"
    return [base64.b64decode(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_seeds(target: str, seeds: Iterable[bytes]) -> None:
    """Replace them."""
    lines = "".join(f"{base64.b64encode(seed).decode()}\n" for seed in seeds)
    (CORPUS / f"{target}.txt").write_text(lines)
