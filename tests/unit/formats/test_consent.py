"""The user's wish, as bytes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.consent import AUTOMATIC, OPTED_OUT, POSTPONED, ConsentRecord
from support.truncation import assert_every_truncation_refused

POSTPONEMENT = ConsentRecord(POSTPONED, 1_800_000_000)
# Written by hand from RFC 8949: a map of three, keys in bytewise order of their encodings.
VECTOR = b"\xa3\x64wish\x69postponed\x65until\x1a\x6b\x49\xd2\x00\x67release\xf6"
RECORDS = st.builds(
    ConsentRecord,
    st.sampled_from([AUTOMATIC, OPTED_OUT, POSTPONED]),
    st.integers(0, 2**63 - 1),
    st.none() | st.binary(min_size=32, max_size=32),
)


def test_the_bytes() -> None:
    assert POSTPONEMENT.encode() == VECTOR
    assert ConsentRecord.parse(VECTOR) == POSTPONEMENT
    assert_every_truncation_refused(ConsentRecord.parse, VECTOR)
    assert_every_truncation_refused(ConsentRecord.parse, ConsentRecord(OPTED_OUT, 0, bytes(32)).encode())


def test_nobody_has_said_anything() -> None:
    assert ConsentRecord() == ConsentRecord(AUTOMATIC, 0, None)


@given(RECORDS)
def test_any_record_comes_back(record: ConsentRecord) -> None:
    assert ConsentRecord.parse(record.encode()) == record


@given(st.binary(max_size=100))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with suppress(InputError):
        assert ConsentRecord.parse(data).encode() == data


@pytest.mark.parametrize(
    ("name", "wrong", "fault"),
    [
        ("wish", "never", "malformed"),
        ("until", -1, "malformed"),
        ("until", 2**63, "limit"),
        ("release", bytes(31), "malformed"),
        ("reason", "because", "malformed"),
    ],
)
def test_fields_that_are_wrong(name: str, wrong: object, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        ConsentRecord.parse(cbor.encode({**cbor.decode(VECTOR), name: wrong}))
    assert caught.value.code == f"consent-{fault}"


@pytest.mark.parametrize("name", ["wish", "until", "release"])
def test_fields_that_are_missing(name: str) -> None:
    value = cbor.decode(VECTOR)
    del value[name]
    with pytest.raises(InputError, match="consent-malformed"):
        ConsentRecord.parse(cbor.encode(value))


def test_bytes_behind_it() -> None:
    with pytest.raises(InputError, match="cbor-trailing"):
        ConsentRecord.parse(VECTOR + b"\0")
