"""Writes docs/reference/refusals.md from every `refusals.py` in the code: one row per code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import medvouch
from medvouch.errors import RefusalKind

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference" / "refusals.md"
HEADER = """\
# Refusals

Every check that says no has one code, which stays the same for ever. Written by `make docs` from the tables beside
the checks; edit those.
"""


def tables() -> Iterator[tuple[str, Mapping[str, RefusalKind]]]:
    """(package, its refusals by code) for every package of medvouch that has a `refusals.py`, by name."""
    for path in sorted(Path(medvouch.__file__).parent.glob("*/refusals.py")):
        package = f"medvouch.{path.parent.name}"
        yield package, import_module(f"{package}.refusals").TABLE


def cell(text: str) -> str:
    """Text as the contents of one Markdown table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def render() -> str:
    """The whole page."""
    parts = [HEADER]
    for package, table in tables():
        parts.append(f"\n## {package}\n\n| code | what it says about the device | what to do |\n|---|---|---|\n")
        parts += [
            f"| `{kind.code}` | {cell(kind.meaning)} | {cell(kind.remedy)} |\n" for _, kind in sorted(table.items())
        ]
    return "".join(parts)


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(render(), encoding="utf-8")
