"""SBOM, VEX, advisory, support statement and catalogue: what is read of them, and what is none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import csaf, cyclonedx, openeox
from medvouch.formats.csaf import ADVISORY, VEX, Csaf
from medvouch.formats.cyclonedx import Sbom
from medvouch.formats.json_object import MAX_DOCUMENT_BYTES
from medvouch.formats.kev import MAX_TEXT, parse_known_exploited
from medvouch.formats.openeox import SupportStatement
from support import release_documents as made
from support.refusing import assert_input_refused
from support.release_documents import BEFORE, CVE, EUVD, EXPLOITED, PRODUCT, encoded
from support.truncation import assert_every_truncation_refused

Document = dict[str, Any]


def parse_vex(data: bytes) -> Csaf:
    return Csaf.parse(data, VEX)


PARSERS: dict[str, tuple[Callable[[bytes], object], Callable[[], Document]]] = {
    "csaf": (parse_vex, made.vex),
    "cyclonedx": (Sbom.parse, made.sbom),
    "openeox": (SupportStatement.parse, made.support),
    "kev": (parse_known_exploited, made.known_exploited),
}


def test_what_they_say() -> None:
    vex = parse_vex(encoded(made.vex()))
    assert (vex.products, vex.tracking_id) == ({BEFORE, PRODUCT}, "DEV-2026-001")
    assert vex.vulnerabilities == (
        csaf.Vulnerability(frozenset({CVE, EUVD}), frozenset({BEFORE}), frozenset({PRODUCT}), frozenset()),
    )
    assert vex.versions == {("MV-100", "1.0.0"): {BEFORE}, ("MV-100", "1.1.0"): {PRODUCT}}
    assert vex.released == 1_793_491_200
    assert Csaf.parse(encoded(made.advisory()), ADVISORY).names(frozenset({EUVD}))
    sbom = Sbom.parse(encoded(made.sbom()))
    assert sbom == Sbom("MV-100", "1.1.0", frozenset({"kernel", "gatewayd", "libc"}))
    statement = SupportStatement.parse(encoded(made.support()))
    assert statement == SupportStatement(None, 1_956_527_999, 1_795_104_000)
    assert parse_known_exploited(encoded(made.known_exploited())) == {EXPLOITED}


def test_products_of_all_three_kinds() -> None:
    vex = made.vex()
    vex["product_tree"]["full_product_names"] = [{"name": "n", "product_id": "by name"}]
    related = {"full_product_name": {"name": "n", "product_id": "by relationship"}, "category": "installed_on"}
    vex["product_tree"]["relationships"] = [related]
    assert parse_vex(encoded(vex)).products == {BEFORE, PRODUCT, "by name", "by relationship"}


def test_versions_of_products() -> None:
    """Several ids may be of one version; what is within other branches, or is no version, is only an id."""
    vex = made.vex()
    tree = vex["product_tree"]["branches"]
    hardware = {"category": "host_name", "name": "arm64", "product": {"name": "n", "product_id": "for arm64"}}
    tree[0]["branches"][1]["branches"] = [hardware]
    tree.append({"category": "product_name", "name": "MV-200", "product": {"name": "n", "product_id": "any MV-200"}})
    tree.append({"category": "product_version", "name": "3.0", "product": {"name": "n", "product_id": "of nothing"}})
    vex["vulnerabilities"][0]["product_status"] = {"known_not_affected": ["for arm64", "any MV-200"]}
    found = parse_vex(encoded(vex))
    assert found.versions == {("MV-100", "1.0.0"): {BEFORE}, ("MV-100", "1.1.0"): {PRODUCT, "for arm64"}}
    assert found.products == {BEFORE, PRODUCT, "for arm64", "any MV-200", "of nothing"}
    assert found.vulnerabilities[0].not_affected == {"for arm64", "any MV-200"}


@pytest.mark.parametrize("format", PARSERS)
def test_cut_off_or_no_json(format: str) -> None:
    parse, document = PARSERS[format]
    assert_every_truncation_refused(parse, encoded(document()))
    for data in (b"", b"[]", b'{"a": 1, "a": 1}', b"\xff", b'{"a": NaN}', b"[" * 50_000, encoded(document()) + b"{}"):
        assert_input_refused(f"{format}-malformed", parse, data)
    assert_input_refused(f"{format}-limit", parse, b" " * (4 * MAX_DOCUMENT_BYTES + 1))


@pytest.mark.parametrize("format", PARSERS)
@given(st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_any_json_is_parsed_or_refused(format: str, value: object) -> None:
    with suppress(InputError):
        PARSERS[format][0](encoded({"document": value, "metadata": value, "vulnerabilities": value}))


def _at(document: Document, path: str) -> tuple[Any, Any]:
    *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in way:
        document = document[step]  # type: ignore[index]
    return document, last


@pytest.mark.parametrize(
    ("format", "path", "wrong", "fault"),
    [
        ("csaf", "document/csaf_version", "2.1", "malformed"),
        ("csaf", "document/category", "csaf_base", "malformed"),
        ("csaf", "document/category", 7, "malformed"),
        ("csaf", "document/tracking", {}, "malformed"),
        ("csaf", "document/tracking/id", "x" * 1025, "limit"),
        ("csaf", "document/tracking/initial_release_date", "2026-11-01", "malformed"),
        ("csaf", "product_tree/branches/0/name", 7, "malformed"),
        ("csaf", "product_tree", None, "malformed"),
        ("csaf", "product_tree/branches", {}, "malformed"),
        ("csaf", "product_tree/branches/0/branches/0/product", {"name": "n"}, "malformed"),
        ("csaf", "vulnerabilities", {}, "malformed"),
        ("csaf", "vulnerabilities", [{}] * (csaf.MAX_VULNERABILITIES + 1), "limit"),
        ("csaf", "vulnerabilities/0", "CVE", "malformed"),
        ("csaf", "vulnerabilities/0", {"product_status": {}}, "malformed"),
        ("csaf", "vulnerabilities/0/cve", "", "malformed"),
        ("csaf", "vulnerabilities/0/ids", [{"text": "x"}] * (csaf.MAX_IDS + 1), "limit"),
        ("csaf", "vulnerabilities/0/product_status", None, "malformed"),
        ("csaf", "vulnerabilities/0/product_status", {"fixed": ["stranger"]}, "malformed"),
        ("csaf", "vulnerabilities/0/product_status", {"fixed": [1]}, "malformed"),
        ("csaf", "vulnerabilities/0/product_status", {"fixed": [PRODUCT], "known_affected": [PRODUCT]}, "malformed"),
        ("csaf", "vulnerabilities/0/product_status", {"fixed": [BEFORE], "known_not_affected": [BEFORE]}, "malformed"),
        (
            "csaf",
            "vulnerabilities/0/product_status",
            {"last_affected": [BEFORE], "known_not_affected": [BEFORE]},
            "malformed",
        ),
        ("cyclonedx", "bomFormat", "SPDX", "malformed"),
        ("cyclonedx", "specVersion", "1.3", "malformed"),
        ("cyclonedx", "metadata", {}, "malformed"),
        ("cyclonedx", "metadata/component/version", 1, "malformed"),
        ("cyclonedx", "components", [{"name": "n", "type": "library"}] * (cyclonedx.MAX_COMPONENTS + 1), "limit"),
        ("cyclonedx", "components/0/bom-ref", "gatewayd", "malformed"),
        ("cyclonedx", "components/0/name", None, "malformed"),
        ("openeox", "$schema", "https://devices.example/core.json", "malformed"),
        ("openeox", "end_of_life", None, "malformed"),
        ("openeox", "end_of_security_support", "2031-12-31", "malformed"),
        ("openeox", "end_of_security_support", "2031-12-31T00:00:00", "malformed"),
        ("openeox", "end_of_security_support", "never", "malformed"),
        ("openeox", "last_updated", "tba", "malformed"),
        ("openeox", "last_updated", "9" * (openeox.MAX_TEXT + 1), "limit"),
        ("kev", "vulnerabilities", [], "malformed"),
        ("kev", "vulnerabilities/0", {}, "malformed"),
        ("kev", "vulnerabilities/0/cveID", "C" * (MAX_TEXT + 1), "limit"),
    ],
)
def test_fields_that_are_wrong(format: str, path: str, wrong: object, fault: str) -> None:
    parse, document = PARSERS[format]
    altered = document()
    within, last = _at(altered, path)
    within[last] = wrong
    assert_input_refused(f"{format}-{fault}", parse, encoded(altered))


@pytest.mark.parametrize(
    ("format", "depth", "path"),
    [
        ("csaf", csaf.MAX_BRANCH_DEPTH, ("product_tree", "branches")),
        ("cyclonedx", cyclonedx.MAX_DEPTH, ("components",)),
    ],
)
def test_branches_without_end(format: str, depth: int, path: tuple[str, ...]) -> None:
    parse, document = PARSERS[format]

    def nested(levels: int) -> bytes:
        altered, inner = document(), []
        for _ in range(levels):
            inner = [{"name": "n", "type": "library", path[-1]: inner}]
        within = altered
        for step in path[:-1]:
            within = within[step]
        within[path[-1]] += inner
        return encoded(altered)

    parse(nested(depth))
    assert_input_refused(f"{format}-limit", parse, nested(depth + 1))
