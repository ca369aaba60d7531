"""The list of decisions is complete, and says where each is."""

from __future__ import annotations

from pathlib import Path

import pytest

import decisions_doc


def test_the_page_is_up_to_date() -> None:
    assert decisions_doc.TARGET.read_text(encoding="utf-8") == decisions_doc.render(), "run `make docs`"


def test_each_number_stands_once() -> None:
    numbers = [number for number, *_ in decisions_doc.decisions()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == len(list(decisions_doc.FOLDER.glob("*.md"))) - 1


def test_a_record_with_another_number_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0002-a.md").write_text("# 3. A\n\n- Status: accepted\n")
    monkeypatch.setattr(decisions_doc, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"0002-a\.md"):
        list(decisions_doc.decisions())
