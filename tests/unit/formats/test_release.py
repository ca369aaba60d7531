"""The record of a release, as bytes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.release import DUTIES, MAX_FIXES, Duty, Fix, ReleaseRecord
from support.truncation import assert_every_truncation_refused

DUTY = Duty("Ada", "Ben", 1_900_000_000)
RECORD = ReleaseRecord(
    version="1.1.0",
    security_epoch=2,
    kind="security",
    fixes=(Fix("CVE-2026-34155", "", "", 1_792_454_400),),
    envelope=bytes(32),
    sbom=bytes([1]) * 32,
    vex=bytes([2]) * 32,
    advisory=bytes([3]) * 32,
    support=bytes([4]) * 32,
    support_end=1_956_527_999,
    contact="mailto:psirt@devices.example",
    cvd_policy="https://devices.example/security",
    duties=dict.fromkeys(DUTIES, DUTY),
)
ID = st.text(min_size=1, max_size=60)
AWARE = st.none() | st.integers(0, 2**63 - 1)
FIXES = st.builds(Fix, ID.map("CVE-{}".format), ID.map("EUVD-{}".format), st.just(""), AWARE)
DIGESTS = st.binary(min_size=32, max_size=32)
RECORDS = st.builds(
    ReleaseRecord,
    version=st.text(min_size=1, max_size=64),
    security_epoch=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["security", "mixed"]),
    fixes=st.lists(FIXES, min_size=1, max_size=4).map(tuple),
    envelope=DIGESTS,
    sbom=DIGESTS,
    vex=DIGESTS,
    advisory=DIGESTS,
    support=DIGESTS,
    support_end=st.integers(0, 2**63 - 1),
    contact=st.text(min_size=1, max_size=80),
    cvd_policy=st.text(min_size=1, max_size=80),
    duties=st.fixed_dictionaries({name: st.builds(Duty, ID, ID, st.integers(0, 2**63 - 1)) for name in DUTIES}),
)


def plain() -> dict[str, Any]:
    value: dict[str, Any] = cbor.decode(RECORD.encode())
    return value


def test_there_and_back() -> None:
    data = RECORD.encode()
    assert data.startswith(b"\xae\x63vex\x58\x20" + bytes([2]) * 32)  # a map of fourteen, the shortest name first
    assert ReleaseRecord.parse(data) == RECORD
    assert_every_truncation_refused(ReleaseRecord.parse, data)


@given(RECORDS)
def test_any_record_comes_back(record: ReleaseRecord) -> None:
    assert ReleaseRecord.parse(record.encode()) == record


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with suppress(InputError):
        assert ReleaseRecord.parse(data).encode() == data


@pytest.mark.parametrize(
    ("name", "wrong", "fault"),
    [
        ("type", "medvouch-bundle", "malformed"),
        ("version", "", "malformed"),
        ("version", "1" * 65, "limit"),
        ("security_epoch", 2**32, "limit"),
        ("kind", "urgent", "malformed"),
        ("kind", "feature", "malformed"),
        ("fixes", [], "malformed"),
        ("fixes", [{"cve": "", "euvd": "", "ghsa": "", "aware": None}], "malformed"),
        ("fixes", [{"cve": "EUVD-1", "euvd": "", "ghsa": "", "aware": None}], "malformed"),
        ("fixes", [{"cve": "CVE-1", "euvd": "", "ghsa": ""}], "malformed"),
        ("fixes", [{"cve": "CVE-1", "euvd": "", "ghsa": "", "aware": -1}], "malformed"),
        ("fixes", [{"cve": "CVE-1", "euvd": "", "ghsa": "", "aware": None}] * (MAX_FIXES + 1), "limit"),
        ("envelope", bytes(31), "malformed"),
        ("advisory", None, "malformed"),
        ("support_end", -1, "malformed"),
        ("contact", "", "malformed"),
        ("cvd_policy", "x" * 1025, "limit"),
        ("duties", {}, "malformed"),
        ("reason", "because", "malformed"),
    ],
)
def test_fields_that_are_wrong(name: str, wrong: object, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        ReleaseRecord.parse(cbor.encode({**plain(), name: wrong}))
    assert caught.value.code == f"release-{fault}"


@pytest.mark.parametrize("name", [name for name in plain() if name != "type"])
def test_fields_that_are_missing(name: str) -> None:
    value = plain()
    del value[name]
    with pytest.raises(InputError, match="release-malformed"):
        ReleaseRecord.parse(cbor.encode(value))
