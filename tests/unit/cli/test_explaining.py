"""`medvouch explain`, and what `verify` and it are told to judge by."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from medvouch.attestation.explanation import Moment, State, explain
from medvouch.attestation.policy import RELEASE_POLICY
from medvouch.attestation.shipped_policies import SHIPPED
from medvouch.cli import explanation_page
from medvouch.cli.explanation_page import explanation_page as page
from medvouch.crypto import cose
from medvouch.crypto.keys import SoftwareSigner
from medvouch.formats.eventlog import EventType
from medvouch.formats.reference import CONTENT_TYPE
from medvouch.release.manifests import build_manifest, integrated, sign_envelope
from medvouch.update.payload import Payload
from medvouch.update.processor import REFERENCE, SLOT, DeviceClass
from support.attacks import LOGS
from support.authorities import NOW, key
from support.boots import BootBuilder
from support.cli import Caller
from support.evidence import NONCE, RELEASE, anchors, evidence, expectation, fix, reference
from support.judging import QUALITY, write_trust
from support.judging import trust as trust_document

OTHER_BOOT = BootBuilder().firmware().event(5, EventType.EV_EFI_ACTION, b"<b>evil & more</b>").system()
AT = "2027-01-15T08:00:00"


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    return write_trust(tmp_path)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.cbor"
    path.write_bytes(evidence())
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.cbor"
    path.write_bytes(evidence(fix("boot", OTHER_BOOT)))
    return path


def test_good_evidence(medvouch: Caller, trust: Path, good: Path) -> None:
    called = medvouch("explain", good, "--trust", trust, "--at", AT, "--nonce", NONCE.hex())
    assert (called.code, called.err) == (0, "")
    assert "status       affirming\n" in called.out
    assert "release      1.0.0\n" in called.out
    assert "sha256:7   match          4 events  Secure Boot policy\n" in called.out
    document = medvouch("explain", good, "--trust", trust, "--at", AT, "--json").json
    assert (document["status"], document["quote_holds"], document["code"]) == ("affirming", True, None)
    assert {each["state"] for each in document["events"]} == {"confirmed"}
    assert len(document["pcrs"]) == 16


def test_what_differs_and_what_to_do(medvouch: Caller, trust: Path, bad: Path) -> None:
    called = medvouch("explain", bad, "--trust", trust, "--at", AT)
    assert called.code == 1
    assert "nearest      1.0.0\n" in called.out
    (start,) = (index for index, line in enumerate(called.out.splitlines()) if line == "sha256:5 event-unexpected")
    event, expected, found, do = called.out.splitlines()[start + 1 : start + 5]
    assert event.startswith("  event     event 20 EV_EFI_ACTION: ")
    assert expected == "  expected  no such event"
    assert len(found.removeprefix("  found     ")) == 64
    assert do.startswith("  do        compare the named component")
    assert "\x1b" not in called.out
    row = next(
        each
        for each in medvouch("explain", bad, "--trust", trust, "--at", AT, "--json").json["pcrs"]
        if each["pcr"] == 5
    )
    assert (row["status"], row["code"], row["expected"]) == ("differs", "event-unexpected", None)


@pytest.fixture
def lenient(tmp_path: Path) -> Path:
    path = tmp_path / "lenient.toml"
    path.write_text('id = "lenient"\ninclude = ["secure-boot"]\nquirks = ["old-shim", "measures-twice"]\n')
    return path


def test_a_quirk_that_is_let_pass(medvouch: Caller, trust: Path, lenient: Path, tmp_path: Path) -> None:
    path, page = tmp_path / "twice.cbor", tmp_path / "out.html"
    path.write_bytes(evidence(fix("boot", LOGS["separator-doubled"]())))
    said = medvouch("explain", path, "--trust", trust, "--at", AT, "--policy", "secure-boot")
    assert "code         separator-doubled\n" in said.out
    assert "let pass" not in said.out
    options = ("--trust", trust, "--at", AT, "--policy", lenient)
    assert "let pass     measures-twice\n" in medvouch("explain", path, *options, "--html", page).out
    assert "<dt>Let pass</dt><dd>measures-twice</dd>" in page.read_text()
    assert medvouch("explain", path, *options, "--json").json["quirks"] == ["measures-twice"]
    assert "quirks       measures-twice\n" in medvouch("verify", path, *options).out
    assert medvouch("verify", path, *options, "--json").json["quirks"] == ["measures-twice"]


def test_a_quirk_is_told_beside_another_fault(medvouch: Caller, trust: Path, lenient: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.cbor"
    path.write_bytes(evidence(fix("boot", BootBuilder().firmware(b"\0").event(4, EventType.EV_SEPARATOR, bytes(4)))))
    called = medvouch("explain", path, "--trust", trust, "--at", AT, "--policy", lenient)
    assert "code         secure-boot-off\n" in called.out
    assert "let pass     measures-twice\n" in called.out


def test_a_quote_that_does_not_hold(medvouch: Caller, trust: Path, tmp_path: Path) -> None:
    path = tmp_path / "forged.cbor"
    path.write_bytes(evidence(fix("quote_key", key("other"))))
    called = medvouch("explain", path, "--trust", trust, "--at", AT)
    assert called.code == 1
    assert "the quote does NOT hold; what follows is the evidence's own word:\n" in called.out


@pytest.mark.parametrize("data", [b"", b"just words", bytes(range(256))])
def test_what_is_nothing(medvouch: Caller, trust: Path, tmp_path: Path, data: bytes) -> None:
    path, out = tmp_path / "file", tmp_path / "out.html"
    path.write_bytes(data)
    called = medvouch("explain", path, "--trust", trust, "--at", AT, "--html", out)
    assert (called.code, called.err) == (1, "")
    assert "contraindicated" in out.read_text()


class _Checked(HTMLParser):
    """Every element that is opened is closed, and nothing is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href", "onload", "onclick"} & {name for name, _ in attrs}
        self.tags.append(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page(medvouch: Caller, trust: Path, bad: Path, tmp_path: Path) -> None:
    out = tmp_path / "boot.html"
    assert medvouch("explain", bad, "--trust", trust, "--at", AT, "--html", out).code == 1
    html = out.read_text(encoding="utf-8")
    checked = _Checked()
    checked.feed(html)
    assert checked.open == []
    assert not {"script", "b", "link", "img"} & set(checked.tags)
    assert "✗ contraindicated: event-unexpected" in html
    assert "&lt;b&gt;" in html
    assert "\x1b" not in html
    svg = ET.fromstring(
        html[html.index('<svg class="life boot"') : html.index("</svg>", html.index('"life boot"')) + 6]
    )
    marks = [each for each in svg if each.tag == "g"]
    assert len(marks) == len(OTHER_BOOT.events) + len(OTHER_BOOT.entries) + len(OTHER_BOOT.records)
    assert sum("not what the release measures" in (each[0].text or "") for each in marks) == 2


def test_a_long_boot_is_drawn_in_part_and_what_is_amiss_always() -> None:
    made = explain(evidence(), expectation(), anchors(), RELEASE_POLICY, NOW)
    files = tuple(Moment("ima", index, 10, f"ima entry {index}", "sha256:00", State.CONFIRMED) for index in range(9000))
    odd = Moment("ima", 9000, 10, "ima entry 9000", "sha256:00", State.DIFFERS)
    html = page(replace(made, moments=(*made.moments, *files, odd)))
    assert html.count("<g ") == explanation_page.MAX_DRAWN
    assert f"{len(made.moments) + 9001 - explanation_page.MAX_DRAWN} confirmed events are left out." in html
    assert f"{len(made.moments) + 9001 - explanation_page.MAX_LISTED} confirmed events are left out." in html
    assert html.count("ima entry 9000") == 2
    assert len(html) < 2_000_000


def envelope(*, version: str = "1.0.0", signer: SoftwareSigner | None = None) -> bytes:
    release = SoftwareSigner(RELEASE)
    values = cose.sign(replace(reference(OTHER_BOOT), release=version).encode(), [release], content_type=CONTENT_TYPE)
    contents = {REFERENCE: values}
    manifest = build_manifest(
        sequence=1,
        version=version,
        security_epoch=1,
        device=DeviceClass.named("devices.example", "gateway-1"),
        image=Payload(SLOT, "https://devices.example/image", bytes(32), 1),
        contents=contents,
    )
    return sign_envelope(manifest, [release], [signer or SoftwareSigner(QUALITY)], integrated(contents))


@pytest.mark.parametrize("command", ["explain", "verify"])
def test_reference_values_straight_from_a_release(
    medvouch: Caller, trust: Path, bad: Path, tmp_path: Path, command: str
) -> None:
    release = tmp_path / "release.suit"
    release.write_bytes(envelope(version="1.1.0"))
    options = (command, bad, "--trust", trust, "--at", AT, "--json")
    assert medvouch(*options).json["code"] == "event-unexpected"
    called = medvouch(*options, "--release", release)
    assert (called.code, called.json["release"]) == (0, "1.1.0")


def test_a_release_that_quality_did_not_sign(medvouch: Caller, trust: Path, good: Path, tmp_path: Path) -> None:
    release = tmp_path / "release.suit"
    release.write_bytes(envelope(signer=SoftwareSigner(key("stranger"))))
    called = medvouch("explain", good, "--trust", trust, "--at", AT, "--release", release)
    assert (called.code, called.err.count("manifest-quality-missing")) == (1, 1)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy(medvouch: Caller, trust: Path, good: Path, name: str) -> None:
    called = medvouch("verify", good, "--trust", trust, "--at", AT, "--policy", name, "--nonce", NONCE.hex(), "--json")
    assert called.json.get("code") == {"strict": "ledger-not-judged"}.get(name)
    called = medvouch("verify", good, "--trust", trust, "--at", AT, "--policy", name, "--json")
    assert called.json.get("code") == {"strict": "nonce-not-demanded"}.get(name)


def test_a_policy_of_ones_own(medvouch: Caller, trust: Path, good: Path, tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('id = "base"\ninclude = ["release"]\n[reference]\nrequired = true\nfloor = 2\n')
    (tmp_path / "unused.toml").write_bytes(b"\xff no policy")
    mine = tmp_path / "mine.toml"
    mine.write_text('id = "mine"\ninclude = ["base"]\n')
    called = medvouch("explain", good, "--trust", trust, "--at", AT, "--policy", mine, "--json")
    assert (called.json["code"], called.json["policy"]) == ("release-below-floor", "mine")
    mine.write_text('id = "mine"\ninclude = ["unused"]\n')
    called = medvouch("explain", good, "--trust", trust, "--at", AT, "--policy", mine)
    assert (called.code, called.err.count("policy-unusable")) == (3, 1)
    for other in (tmp_path / "absent.toml", tmp_path, "lax"):
        assert medvouch("explain", good, "--trust", trust, "--at", AT, "--policy", other).code == 3


def test_evidence_without_references_in_the_trust_document(medvouch: Caller, good: Path, tmp_path: Path) -> None:
    bare = write_trust(tmp_path, replace(trust_document(), references=()))
    called = medvouch("explain", good, "--trust", bare, "--at", AT, "--json")
    assert (called.code, called.json["code"], called.json["release"]) == (1, "reference-missing", None)
