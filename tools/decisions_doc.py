"""Writes docs/adr/README.md, the list of decisions, from their titles and states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "adr"
TARGET = FOLDER / "README.md"
HEADER = """\
# Decisions

Why things are as they are ([ADR 1](0001-record-architecture-decisions.md)). Written by `make docs`. Numbers are given
out in blocks, some for each part of the work, so there are gaps: what is not listed never was.

| | decision | status |
|---|---|---|
"""
_RECORD = re.compile(r"# (?P<number>\d+)\. (?P<title>.+)\n\n- Status: (?P<status>.+)\n")


def decisions() -> Iterator[tuple[int, str, str, str]]:
    """(number, title, status, file name) of each, in order; ValueError for a file that begins otherwise."""
    for path in sorted(FOLDER.glob("[0-9]*.md")):
        found = _RECORD.match(path.read_text(encoding="utf-8"))
        if found is None or int(found["number"]) != int(path.name[:4]):
            raise ValueError(f"{path.name} does not begin with `# N. TITLE`, its own number, and a status")
        yield int(found["number"]), found["title"], found["status"], path.name


def render() -> str:
    """The whole page."""
    return HEADER + "".join(
        f"| {number} | [{title}]({name}) | {status} |\n" for number, title, status, name in decisions()
    )


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
