"""The page of SUIT's codes is the one that the table gives."""

from __future__ import annotations

import suit_doc
from medvouch.formats.suit_codes import TABLE, Kind


def test_the_page_is_up_to_date() -> None:
    assert suit_doc.TARGET.read_text(encoding="utf-8") == suit_doc.render(), "run `make docs`"


def test_every_row_is_on_it() -> None:
    page = suit_doc.render()
    assert all(f"`{row.name}`" in page for row in TABLE)
    assert all(f"## {kind.value}\n" in page for kind in Kind)
