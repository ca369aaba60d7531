"""The page of SUIT's codes is the one that the table gives."""

from __future__ import annotations

import suit_doc
from medvouch.formats.suit_codes import TABLE, Kind
from medvouch.formats.suit_manifest import Member
from medvouch.update.processor import COMMANDS


def test_the_page_is_up_to_date() -> None:
    assert suit_doc.TARGET.read_text(encoding="utf-8") == suit_doc.render(), "run `make docs`"


def test_every_row_is_on_it() -> None:
    page = suit_doc.render()
    assert all(f"`{row.name}`" in page for row in TABLE)
    assert all(f"## {kind.value}\n" in page for kind in Kind)


def test_what_a_release_may_have() -> None:
    """As tests/unit/update/test_processor.py holds it to the plan."""

    def codes(planned: bool, *kinds: Kind) -> set[int | str]:
        return {row.code for row in TABLE if row.kind in kinds and suit_doc.planned(row) is planned}

    assert codes(True, Kind.CONDITION, Kind.DIRECTIVE) == COMMANDS
    assert codes(False, Kind.MANIFEST) == {Member.LOAD, Member.DEPENDENCY_RESOLUTION, Member.UNINSTALL}
    assert codes(False, Kind.COMMON) == {1, "1/1"}
