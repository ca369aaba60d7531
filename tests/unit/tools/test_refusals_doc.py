from __future__ import annotations

import re
from collections import Counter

import refusals_doc


def test_the_page_is_current() -> None:
    assert refusals_doc.TARGET.read_text(encoding="utf-8") == refusals_doc.render(), "run `make docs`"


def test_every_code_is_kebab_case_and_stands_once_in_all_tables() -> None:
    codes = Counter(code for _, table in refusals_doc.tables() for code in table)
    assert [code for code, count in codes.items() if count > 1] == []
    assert [code for code in codes if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", code)] == []


def test_every_refusal_says_what_it_means_and_what_to_do() -> None:
    rows = [kind for _, table in refusals_doc.tables() for kind in table.values()]
    assert [kind.code for kind in rows if not (kind.meaning.strip() and kind.remedy.strip())] == []


def test_a_cell_cannot_break_its_table() -> None:
    assert refusals_doc.cell("a | b\n  c") == r"a \| b c"
