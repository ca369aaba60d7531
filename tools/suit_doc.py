"""Writes docs/reference/suit.md from the one table of SUIT's codes: what is run, what is carried, what is refused."""

from __future__ import annotations

from pathlib import Path

from medvouch.formats.suit_codes import COMMAND, TABLE, Kind, Row
from medvouch.formats.suit_manifest import Member
from medvouch.update.processor import COMMANDS, SECTIONS
from refusals_doc import cell

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference" / "suit.md"
DRAFTS = {"M": "manifest", "T": "trust-domains", "U": "update-management"}
HEADER = """\
# SUIT: what is run of it

Every code of draft-ietf-suit-manifest, draft-ietf-suit-trust-domains and draft-ietf-suit-update-management, and what
the manifest processor (`medvouch.update.execution`) makes of it. A manifest with anything that is refused is refused as
a whole, before its first command; codes of other drafts, and those that nobody has given out, are `suit-malformed`.
Written by `make docs` from the table in the code; edit that.

A device takes less: a release is an image for a slot, or parts of which there is one, and nothing of a manifest may be
reported as done that the way into a slot leaves out. So a plan is made of it first (`medvouch.update.processor`): what
to fetch, which digest and size it has, and what to start. What a plan cannot have is refused with
`manifest-command-unsupported`; the last column says what that is. An image is then delivered into its slot as planned,
and a component `blocks` beside it is an index that is fetched where it saves fetching more. Of parts the processor runs
each command.
"""
_IN_RELEASES = frozenset({Kind.MANIFEST, Kind.COMMON, Kind.CONDITION, Kind.DIRECTIVE})
_PLAN_REFUSES = f"refused, `{COMMAND}`"


def render() -> str:
    """The whole page."""
    parts = [HEADER]
    for kind in Kind:
        rows = [row for row in TABLE if row.kind is kind]
        more = kind in _IN_RELEASES
        parts.append(f"\n## {kind.value}\n\n| code | name | draft | here |{' in a release |' if more else ''}\n")
        parts.append("|---|---|---|---|" + ("---|" if more else "") + "\n")
        parts += [_line(row, more) for row in rows]
    return "".join(parts)


def _line(row: Row, more: bool) -> str:
    start = f"| {cell(str(row.code))} | `{row.name}` | {DRAFTS[row.draft]} | {_here(row)} |"
    return f"{start} {_in_a_release(row)} |\n" if more else f"{start}\n"


def _here(row: Row) -> str:
    said = f"refused, `{row.refused}`" if row.refused else "yes"
    return f"{said}: {cell(row.remark)}" if row.remark else said


def _in_a_release(row: Row) -> str:
    if row.refused:
        return "refused"
    return "yes" if planned(row) else _PLAN_REFUSES


def planned(row: Row) -> bool:
    """Whether a plan may have it, which is of the manifest, of common, or a command."""
    if row.kind is Kind.COMMON:
        return row.draft == "M"
    if row.kind is Kind.MANIFEST:
        return row.code not in set(Member) - SECTIONS - {Member.TEXT}
    return row.code in COMMANDS


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(render(), encoding="utf-8")
