"""What may go out, and each thing that keeps a release from it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from medvouch.errors import InputError, RefusalKind
from medvouch.formats.release import DUTIES, ReleaseRecord
from medvouch.release import refusals
from medvouch.release.draft import MAX_DRAFT_BYTES, Draft
from medvouch.release.gate import check_kept, check_published
from support import release_documents as given
from support.refusing import assert_input_refused, assert_refused
from support.release_documents import AWARE, CVE, EXPLOITED, FEATURE, PRODUCT, TOML, documents, draft, passed
from support.suit import released


def parsed(text: str) -> Draft:
    return Draft.parse(text.encode())


def test_a_release_passes_and_its_record_binds_what_goes_out_with_it() -> None:
    record = passed()
    assert ReleaseRecord.parse(record.encode()) == record
    shown = documents()
    assert shown.advisory
    assert shown.support
    everything = (shown.envelope, shown.sbom, shown.vex, shown.advisory, shown.support)
    assert record.documents == tuple(hashlib.sha256(data).digest() for data in everything)
    assert (record.kind, record.security_epoch, record.support_end) == ("security", 2, 1_956_527_999)
    assert [(fix.cve, fix.aware) for fix in record.fixes] == [(CVE, AWARE)]
    assert set(record.duties) == set(DUTIES)


def test_a_release_of_features_needs_no_advisory() -> None:
    text = TOML.replace('"security"', '"feature"') + FEATURE
    feature = replace(parsed(text), fixes=())
    record = passed(feature)
    assert (record.advisory, record.fixes, len(record.documents)) == (None, (), 4)
    assert ReleaseRecord.parse(record.encode()) == record


def test_a_mixed_release_that_cannot_be_parted() -> None:
    text = TOML.replace('"security"', '"mixed"\ninseparable = "the fix is the new driver"') + FEATURE
    assert passed(parsed(text)).kind == "mixed"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('"mixed"\ninseparable = "because"', '["gatewayd"]'),
        ('"mixed"', '["kernel"]'),
    ],
    ids=["a feature of its own", "no reason"],
)
def test_fixes_that_wait_for_features(text: str, place: str) -> None:
    feature = FEATURE.replace('["kernel", "gatewayd"]', place)
    assert_refused(refusals.RELEASE_SEPARABLE, passed, parsed(TOML.replace('"security"', text) + feature))


@pytest.mark.parametrize(
    ("kind", "more"), [("feature", ""), ("mixed", ""), ("security", FEATURE), ("feature", FEATURE)]
)
def test_a_kind_that_it_is_not(kind: str, more: str) -> None:
    text = TOML.replace('"security"', f'"{kind}"') + more
    assert_refused(refusals.RELEASE_KIND, passed, parsed(text))


@pytest.mark.parametrize("version", ["1.1.0", "1.1.1", "1.10.0", "2"])
def test_a_version_that_does_not_rise(version: str) -> None:
    before = replace(passed(), version=version)
    assert_refused(refusals.RELEASE_VERSION_BACK, passed, previous=before)
    assert passed(previous=replace(before, version="1.0.9"))


def test_an_epoch_that_falls() -> None:
    before = replace(passed(), version="1.0.0", security_epoch=3)
    assert_refused(refusals.RELEASE_EPOCH_BACK, passed, previous=before)
    assert passed(previous=replace(before, security_epoch=2))


@pytest.mark.parametrize("status", ["known_affected", "first_affected", "last_affected"])
def test_affected_by_what_is_known_to_be_exploited(status: str) -> None:
    vex = given.vex()
    hole = {"cve": EXPLOITED, "notes": [], "product_status": {status: [PRODUCT]}}
    vex["vulnerabilities"].append(hole)
    assert assert_refused(refusals.RELEASE_AFFECTED, passed, vex=vex).place == EXPLOITED
    for harmless in ({"known_affected": [given.BEFORE]}, {"known_not_affected": [PRODUCT]}, {"fixed": [PRODUCT]}):
        hole["product_status"] = harmless
        assert passed(vex=vex)
    hole |= {"cve": f" {EXPLOITED.lower()}", "product_status": {status: [PRODUCT]}}
    assert_refused(refusals.RELEASE_AFFECTED, passed, vex=vex)
    hole |= {"cve": "CVE-2026-0002", "ids": [{"system_name": "CVE", "text": EXPLOITED}]}
    assert_refused(refusals.RELEASE_AFFECTED, passed, vex=vex)
    del hole["ids"]
    assert passed(vex=vex)


def without_product(tree: dict[str, Any]) -> None:
    tree["branches"][0]["branches"].pop()


def test_a_vex_of_another_product() -> None:
    vex = given.vex()
    without_product(vex["product_tree"])
    vex["vulnerabilities"] = []
    assert_refused(refusals.RELEASE_VEX_OTHER, passed, vex=vex)


def test_a_fix_that_the_vex_does_not_know() -> None:
    vex = given.vex()
    vex["vulnerabilities"][0]["product_status"] = {"under_investigation": [PRODUCT]}
    assert assert_refused(refusals.RELEASE_FIX_UNCONFIRMED, passed, vex=vex).place == CVE


@pytest.mark.parametrize("there", [True, False])
def test_a_fix_that_nobody_is_told_of(there: bool) -> None:
    advisory = given.advisory()
    advisory["vulnerabilities"][0] |= {"cve": "CVE-2026-0002", "ids": []}
    change = {"advisory": advisory if there else None}
    assert assert_refused(refusals.RELEASE_FIX_NOT_ADVISED, passed, **change).place == CVE


def test_nobody_learns_of_a_hole_after_it_is_closed() -> None:
    text = TOML.replace("aware = 2026-10-20", "aware = 2027-01-16")
    assert assert_refused(refusals.RELEASE_AWARE_LATER, passed, parsed(text)).place == CVE
    assert passed(parsed(text.replace("2027-01-16", "2027-01-15"))).fixes[0].aware == 1_799_971_200
    assert passed(parsed(TOML.replace("aware = 2026-10-20\n", ""))).fixes[0].aware is None


def test_support_without_an_end() -> None:
    assert_refused(refusals.RELEASE_SUPPORT_UNKNOWN, passed, support=None)
    announced = {**given.support(), "end_of_security_support": "tba"}
    assert_refused(refusals.RELEASE_SUPPORT_UNKNOWN, passed, support=announced)


def test_support_that_is_over() -> None:
    over = {**given.support(), "end_of_security_support": "2027-01-15T08:00:00Z"}
    assert_refused(refusals.RELEASE_SUPPORT_ENDED, passed, support=over)
    assert passed(support={**over, "end_of_security_support": "2027-01-15T08:00:01Z"}).support_end == given.NOW + 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [("contact", refusals.RELEASE_CONTACT_MISSING), ("cvd_policy", refusals.RELEASE_CVD_MISSING)],
)
def test_nowhere_to_report_to(name: str, kind: RefusalKind) -> None:
    assert_refused(kind, passed, draft(**{name: ""}))


@pytest.mark.parametrize("duty", DUTIES)
@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"owner": ""}, refusals.RELEASE_OWNER_MISSING),
        ({"deputy": ""}, refusals.RELEASE_DEPUTY_MISSING),
        ({"owner": "Zoe", "deputy": "Zoe"}, refusals.RELEASE_DEPUTY_MISSING),
        ({"owner": "Zoe", "deputy": "zoe"}, refusals.RELEASE_DEPUTY_MISSING),
        ({"review": None}, refusals.RELEASE_REVIEW_MISSING),
        ({"review": given.NOW}, refusals.RELEASE_REVIEW_MISSING),
    ],
)
def test_a_duty_that_nobody_has(duty: str, changes: dict[str, Any], kind: RefusalKind) -> None:
    duties = draft().duties
    refusal = assert_refused(kind, passed, draft(duties={**duties, duty: replace(duties[duty], **changes)}))
    assert refusal.place == duty


def test_blanks_are_nobody_and_no_reason() -> None:
    text = TOML.replace('"Ada Example"\ndeputy', '" "\ndeputy').replace("[documents]", 'inseparable = " "\n[documents]')
    assert (parsed(text).duties["device-identity"].owner, parsed(text).inseparable) == ("", "")
    text = TOML.replace('deputy = "Ben Example"', 'deputy = " Ada Example "')
    assert assert_refused(refusals.RELEASE_DEPUTY_MISSING, passed, parsed(text)).place == "device-identity"


def test_a_duty_that_is_not_named_at_all() -> None:
    text = TOML[: TOML.index("[duties.decommissioning]")]
    assert assert_refused(refusals.RELEASE_OWNER_MISSING, passed, parsed(text)).place == "decommissioning"


def test_an_sbom_of_another_version() -> None:
    sbom = given.sbom()
    sbom["metadata"]["component"]["version"] = "1.0.0"
    assert_refused(refusals.RELEASE_SBOM_OTHER, passed, sbom=sbom)


def test_an_envelope_of_another_version() -> None:
    other = {**given.sbom(), "metadata": {"component": {"type": "firmware", "name": "MV-100", "version": "1.2.0"}}}
    assert_refused(refusals.RELEASE_ENVELOPE_OTHER, passed, draft(version="1.2.0"), sbom=other)


def test_a_component_that_is_not_in_it() -> None:
    text = TOML.replace('["kernel"]', '["kernel", "busybox"]')
    assert assert_refused(refusals.RELEASE_COMPONENT_UNKNOWN, passed, parsed(text)).detail == "no component 'busybox'"
    assert passed(parsed(TOML.replace('["kernel"]', '["libc"]')))  # within another


def test_what_is_published_is_what_passed() -> None:
    record, shown = passed(), documents()
    files: dict[str, bytes] = {
        "release.cbor": record.encode(),
        "release.suit": shown.envelope,
        "sbom": shown.sbom,
        "vex": shown.vex,
        "advisory": shown.advisory or b"",
        "support": shown.support or b"",
    }
    check_published("1.1.0", files)
    check_published("1.1.0", {"notes.txt": b"of no record"})
    assert_refused(refusals.RELEASE_DOCUMENT_MISMATCH, check_published, "1.1.1", files)
    for name, data in files.items():
        if name != "release.cbor":
            altered = {**files, name: data + b" "}
            assert_refused(refusals.RELEASE_DOCUMENT_MISMATCH, check_published, "1.1.0", altered)


def test_no_envelope_goes_out_without_its_record() -> None:
    record, another = passed().encode(), released()
    for files in ({"x": another}, {"release.cbor": record, "notes.txt": another}):
        refused = assert_refused(refusals.RELEASE_RECORD_MISSING, check_published, "1.1.0", files)
        assert refused.place in ("x", "notes.txt")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('version = "1.1.0"', "version = 1"),
        ("epoch = 2", "epoch = true"),
        ("epoch = 2", "epoch = 1\nepoch = 2"),
        ('kind = "security"', 'kind = "urgent"'),
        ('kind = "security"', 'kind = "security"\nkinds = "all"'),
        ("mailto:psirt@devices.example", "psirt"),
        ("mailto:psirt@devices.example", "mailto: "),
        ("https://devices.example/security", "https://"),
        ("https://devices.example/security", "http://devices.example/security"),
        ("sbom.cdx.json", "../sbom.cdx.json"),
        ('vex = "vex.json"\n', ""),
        ('cve = "CVE', 'cve = "CWE'),
        ('components = ["kernel"]', "components = []"),
        ('components = ["kernel"]', 'components = ["kernel"]\nwhy = "so"'),
        ("aware = 2026-10-20", "aware = 2026-10-20T00:00:00Z"),
        ("[duties.decommissioning]", "[duties.cooking]"),
        ("review = 2027-06-01", 'review = "soon"'),
        ("review = 2027-06-01", "review = 2027-06-01T00:00:00Z"),
        ("[documents]", "[documents"),
    ],
)
def test_a_description_that_is_none(old: str, new: str) -> None:
    assert old in TOML
    assert_input_refused("release-malformed", parsed, TOML.replace(old, new))


def test_a_description_without_a_fix_by_name_or_without_end() -> None:
    text = "\n".join(line for line in TOML.splitlines() if not line.startswith(("cve", "euvd", "ghsa")))
    assert_input_refused("release-malformed", parsed, text)
    assert_input_refused("release-limit", parsed, "#" * (MAX_DRAFT_BYTES + 1))


def test_a_version_that_is_none() -> None:
    with pytest.raises(InputError, match="version-malformed"):
        passed(draft(version="1.1-rc1"))


def test_an_envelope_that_was_published_stays() -> None:
    name = "releases/1.1.0/release.suit"
    check_kept("1.1.0", {"release.suit": given.ENVELOPE}, {})
    check_kept("1.1.0", {"release.suit": given.ENVELOPE}, {name: hashlib.sha256(given.ENVELOPE).digest()})
    check_kept("1.1.0", {"release.suit": b"notes"}, {name: bytes(32)})
    refusal = assert_refused(
        refusals.RELEASE_REPLACED, check_kept, "1.1.0", {"release.suit": given.ENVELOPE}, {name: bytes(32)}
    )
    assert refusal.place == "release.suit"
