"""The page of updates is the one that the tables give."""

from __future__ import annotations

import updates_doc
from medvouch.update import refusals
from medvouch.update.transitions import OUTCOMES, TRANSITIONS
from support.faults import FAULTS


def test_the_page_is_up_to_date() -> None:
    assert updates_doc.TARGET.read_text(encoding="utf-8") == updates_doc.render(), "run `make docs`"


def test_every_row_is_on_it() -> None:
    page = updates_doc.render()
    assert all(f"| `{before}` | {cause} | `{after}` |" in page for (before, cause), after in TRANSITIONS.items())
    assert all(f"`{outcome}`" in page for outcome in OUTCOMES.values())
    assert all(f"| {fault.what} |" in page for fault in FAULTS)
    assert all(f"| `{code}` |" in page for code in refusals.TABLE)
