"""The releases of a repository, as whoever audits it reads them."""

from __future__ import annotations

import hashlib

import pytest
from tuf.api.metadata import TargetFile

from medvouch.release import refusals
from medvouch.release.published import published_releases
from medvouch.update.metadata import PUBLISHED
from support.refusing import assert_refused
from support.release_documents import ENVELOPE, documents, passed
from support.tufs import Tuf

FOLDER = "releases/1.1.0"
OUT = documents()
NAMES = {
    "release.cbor": passed().encode(),
    "release.suit": ENVELOPE,
    "sbom.json": OUT.sbom,
    "vex.json": OUT.vex,
    "advisory.json": OUT.advisory or b"",
    "support.json": OUT.support or b"",
}


def repository(*left_out: str) -> tuple[Tuf, dict[str, TargetFile]]:
    tuf = Tuf()
    tuf.delegate("releases", ["releases/*/*"], terminating=True)
    listed = {name: tuf.add(f"{FOLDER}/{name}", data, "releases") for name, data in NAMES.items()}
    listed["release.suit"].unrecognized_fields["custom"] = {PUBLISHED: 1_800_000_007}
    for name in left_out:
        del tuf.targets["releases"].signed.targets[f"{FOLDER}/{name}"]
    tuf.publish()
    return tuf, listed


def found(tuf: Tuf, *more: str) -> list[object]:
    return list(published_releases(tuf.refreshed(), [*(f"{FOLDER}/{name}" for name in NAMES), *more]))


def test_each_release_that_has_a_record() -> None:
    tuf, _ = repository()
    (release,) = published_releases(tuf.refreshed(), [f"{FOLDER}/{name}" for name in NAMES])
    assert (release.record, release.available) == (passed(), 1_800_000_007)
    assert release.vex.products


def test_a_release_without_a_record_is_none() -> None:
    assert found(repository("release.cbor")[0]) == []


@pytest.mark.parametrize("missing", [name for name in NAMES if name != "release.cbor"])
def test_a_document_that_the_record_names_and_nobody_publishes(missing: str) -> None:
    refusal = assert_refused(refusals.RELEASE_DOCUMENT_MISMATCH, found, repository(missing)[0])
    assert refusal.place == f"{FOLDER}/release.cbor"


def test_a_document_of_that_digest_elsewhere_is_not_the_one_meant() -> None:
    tuf, _ = repository("vex.json")
    tuf.add("releases/1.0.0/vex.json", NAMES["vex.json"], "releases")
    tuf.bump(*tuf.targets)
    assert hashlib.sha256(NAMES["vex.json"]).digest() == passed().vex
    assert_refused(refusals.RELEASE_DOCUMENT_MISMATCH, found, tuf, "releases/1.0.0/vex.json")
