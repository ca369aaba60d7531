"""The report: well-formed, whole, needing nothing else, and unmoved by what it quotes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from medvouch.cli.page import text
from medvouch_sim.demo.report import NAME, Report, installed_versions, page, write_report
from medvouch_sim.demo.report_svg import told
from medvouch_sim.demo.verdicts import Verdict
from support.hearing import life, row, update, whole_life

HOSTILE = "<script>alert(\"1\")</script> & 'x' \x1b[31m \x00 \u202e \ud800 ]]> -->"
VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(document: str) -> Reader:
    reader = Reader()
    reader.feed(document)
    reader.close()
    assert reader.open == []
    return reader


def report(*more: Verdict) -> Report:
    messages, rows = whole_life()
    verdicts = [*rows, *more]
    return Report([life(messages, verdicts)], verdicts, 12.3, 1_795_655_311, {"medvouch": "0.1.0", "swtpm": "0.7.1"})


def drawings(document: str) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", document, re.DOTALL)]


def rows_of(document: str, identifier: str) -> Sequence[str]:
    section = document.split(f'<section aria-labelledby="{identifier}">')[1].partition("</section>")[0]
    return re.findall(r"<tr.*?</tr>", section.split("<tbody>")[1], re.DOTALL)


def test_it_is_well_formed_and_so_is_every_drawing(tmp_path: Path) -> None:
    document = page(report(), tmp_path)
    read(document)
    assert document.startswith("<!DOCTYPE html>")
    assert len(drawings(document)) > 5


def test_it_needs_nothing_but_itself(tmp_path: Path) -> None:
    document = page(report(), tmp_path)
    assert "http" not in document
    assert not re.search(r"url\(|@import|<script|<link|<img|<iframe|src=", document)


def test_what_it_quotes_stays_text(tmp_path: Path) -> None:
    hostile = row(2.8, "attack", HOSTILE, HOSTILE, detail=HOSTILE)
    made = report(hostile)
    told_life = life([*whole_life()[0], update(4, HOSTILE, HOSTILE)], [replace(hostile, actual=HOSTILE + "!")])
    lives = [replace(told_life, gateway=HOSTILE, facts=replace(told_life.facts, owner=HOSTILE))]
    document = page(replace(made, lives=lives, versions={"medvouch": HOSTILE}), tmp_path)
    reader = read(document)
    tags = {tag for tag, _ in reader.seen}
    assert "script" not in tags
    assert not any(name.startswith("on") for _, attributes in reader.seen for name in attributes)
    assert len(drawings(document)) > 5
    assert all(character.isprintable() or character == "\n" for character in document)
    document.encode()
    assert document.count("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#x27;x&#x27;") >= 5


def test_text_is_escaped_for_quoted_attributes() -> None:
    assert text("\"'<&>\x07") == "&quot;&#x27;&lt;&amp;&gt;\\x07"


def test_the_summary_counts(tmp_path: Path) -> None:
    document = page(report(), tmp_path)
    assert "✓ 7 of 7 as expected, in 12.3 s" in document
    assert "4 steps, 1 attack, 2 faults" in document
    assert "2026-11-26 01:08:31 UTC" in document
    assert "medvouch 0.1.0, swtpm 0.7.1" in document


def test_a_row_that_differs_shows_in_the_summary_and_in_its_row(tmp_path: Path) -> None:
    document = page(report(row(2.8, "attack", "forged EAR", "result-forged", "unnoticed")), tmp_path)
    assert "✗ 7 of 8 as expected" in document
    (wrong,) = (each for each in rows_of(document, "attacks") if 'class="wrong"' in each)
    assert 'class="bad">✗ <span class="spoken">not as expected: </span>unnoticed<' in wrong
    assert "result-forged" in wrong
    assert "NOT AS EXPECTED: forged EAR (unnoticed)" in document


def test_every_row_is_in_its_table(tmp_path: Path) -> None:
    made = report(row(2.8, "step", "attested", "affirming", detail="why"))
    document = page(made, tmp_path)
    steps, trials = rows_of(document, "steps"), rows_of(document, "attacks")
    assert len(steps) == sum(verdict.kind == "step" for verdict in made.verdicts)
    assert len(trials) == sum(verdict.kind != "step" for verdict in made.verdicts)
    for number, verdict in enumerate(made.verdicts, 1):
        (found,) = (each for each in [*steps, *trials] if f'id="row-{number}"' in each)
        assert all(part in found for part in (verdict.gateway, verdict.step, verdict.expected, verdict.detail))


def test_where_a_gateway_stands(tmp_path: Path) -> None:
    (standing,) = rows_of(page(report(), tmp_path), "gateways")
    for said in ("01c62a09b5355ce196b31e347048f1d0", "MV-100, SN-gw1", "St. Example Hospital", "affirming", "1.1.0"):
        assert said in standing
    assert "release 2, floor in the TPM 2" in standing
    silent = replace(report(), lives=[life([])])
    assert rows_of(page(silent, tmp_path), "gateways")[0].count("not said") == 6


def test_the_line_is_told_as_text_too(tmp_path: Path) -> None:
    made = report()
    (drawn,) = (each for each in drawings(page(made, tmp_path)) if each.get("class") == "life")
    assert drawn.get("role") == "img"
    labelled = {each.get("id"): each.text for each in drawn}
    assert [labelled[identifier] for identifier in (drawn.get("aria-labelledby") or "").split()] == [
        "The life of gw1",
        told(made.lives[0]),
    ]
    assert "update 1.1.0 from 1.0 to 1.8 s: notified → staged → activated → rebooted → booted" in told(made.lives[0])
    assert "1 attack caught, 2 faults survived from 2.1 to 2.6 s" in told(made.lives[0])


def test_nothing_heard_is_said_to_be_nothing() -> None:
    assert told(life([])) == "nothing was heard"


def test_every_mark_has_a_tooltip(tmp_path: Path) -> None:
    (drawn,) = (each for each in drawings(page(report(), tmp_path)) if each.get("class") == "life")
    tips = [mark.findtext("title") for mark in drawn.iter("g")]
    assert "2.1 s, attack caught: #3 modified kernel: event-unexpected" in tips
    assert all(tips)


def test_names_on_the_line_do_not_overlap(tmp_path: Path) -> None:
    (drawn,) = (each for each in drawings(page(report(), tmp_path)) if each.get("class") == "life")
    ends = 0.0
    for mark in drawn.iter("g"):
        place = re.match(r"translate\(([\d.]+) ", mark.get("transform") or "")
        name = mark.findtext("text") or ""
        assert place is not None
        half = max(8.0, len(name) * 3.3)
        assert float(place[1]) - half >= ends
        ends = float(place[1]) + half
    assert ends <= float(drawn.get("width") or 0)


def test_headings_and_tables_can_be_found_by_ear(tmp_path: Path) -> None:
    reader = read(page(report(), tmp_path))
    headings = [int(tag[1]) for tag, _ in reader.seen if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert all(attributes.get("scope") in {"col", "row"} for tag, attributes in reader.seen if tag == "th")
    assert ("html", {"lang": "en"}) in reader.seen
    identifiers = [attributes["id"] for _, attributes in reader.seen if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    named = {name for _, each in reader.seen for name in (each.get("aria-labelledby") or "").split()}
    assert named <= set(identifiers)


def test_marks_differ_without_colour(tmp_path: Path) -> None:
    shapes = {
        tuple((part.tag, part.get("d"), part.get("r")) for part in each) for each in drawings(page(report(), tmp_path))
    }
    assert len(shapes) == len(drawings(page(report(), tmp_path)))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder as the demo leaves it."""
    for name in ("verdicts.json", "site/trust.cbor", "gw1.bundle.cbor"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for suffix in ("evidence.cbor", "ear.cbor"):
        (tmp_path / "evidence").mkdir(exist_ok=True)
        (tmp_path / "evidence" / f"01-gw1-100% <b>.{suffix}").touch()
    return tmp_path


def test_links_are_relative_and_lead_to_files_that_are_there(kept: Path) -> None:
    reader = read(page(report(), kept))
    links = [attributes["href"] or "" for tag, attributes in reader.seen if tag == "a"]
    assert links == [
        "verdicts.json",
        "site/trust.cbor",
        "gw1.bundle.cbor",
        "evidence/01-gw1-100%25%20%3Cb%3E.evidence.cbor",
        "evidence/01-gw1-100%25%20%3Cb%3E.ear.cbor",
    ]


def test_it_says_how_to_judge_the_files(kept: Path) -> None:
    document = page(report(), kept)
    assert "medvouch verify gw1.bundle.cbor --trust site/trust.cbor" in document
    assert document.index("medvouch verify evidence/") < document.index("medvouch inspect ear evidence/")


def test_without_files_it_says_so(tmp_path: Path) -> None:
    document = page(report(), tmp_path)
    assert "No evidence was kept." in document
    assert "<pre>" not in document


def test_it_is_written_beside_the_files(tmp_path: Path) -> None:
    path = write_report(tmp_path, report())
    assert path == tmp_path / NAME
    assert path.read_text(encoding="utf-8") == page(report(), tmp_path)


def test_versions_are_those_of_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = installed_versions()
    assert list(versions) == ["medvouch", "swtpm", "mosquitto"]
    assert all(re.match(r"\d+\.\d+", version) for version in versions.values())
    monkeypatch.setattr("subprocess.run", _missing)
    assert set(installed_versions().values()) == {versions["medvouch"], "unknown"}


def _missing(*_: object, **__: object) -> None:
    raise FileNotFoundError
