"""Writes docs/reference/suit.md from the one table of SUIT's codes: what is run, what is carried, what is refused."""

from __future__ import annotations

from pathlib import Path

from medvouch.formats.suit_codes import TABLE, Kind, Row
from refusals_doc import cell

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference" / "suit.md"
DRAFTS = {"M": "manifest", "T": "trust-domains", "U": "update-management"}
HEADER = """\
# SUIT: what is run of it

Every code of draft-ietf-suit-manifest, draft-ietf-suit-trust-domains and draft-ietf-suit-update-management, and what a
device makes of it. A manifest with anything that is refused is refused as a whole, before its first command. Written by
`make docs` from the table in the code; edit that.
"""


def render() -> str:
    """The whole page."""
    parts = [HEADER]
    for kind in Kind:
        rows = [row for row in TABLE if row.kind is kind]
        parts.append(f"\n## {kind.value}\n\n| code | name | draft | here |\n|---|---|---|---|\n")
        parts += [f"| {cell(str(row.code))} | `{row.name}` | {DRAFTS[row.draft]} | {_here(row)} |\n" for row in rows]
    return "".join(parts)


def _here(row: Row) -> str:
    said = f"refused, `{row.refused}`" if row.refused else "yes"
    return f"{said}: {cell(row.remark)}" if row.remark else said


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(render(), encoding="utf-8")
