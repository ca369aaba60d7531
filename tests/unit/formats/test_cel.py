"""The Canonical Event Log in CBOR and TLV."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor, cel
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cel import CelRecord, ContentType
from support.refusing import assert_input_refused
from support.truncation import assert_every_truncation_refused

SHA1, SHA256 = HashAlg.SHA1, HashAlg.SHA256
DIGESTS = {SHA1: b"1" * 20, SHA256: b"2" * 32}
RECORD = CelRecord(5, DIGESTS, ContentType.PC_CLIENT, {0: 4, 1: bytes(4)}, pcr=7)
INDEX = CelRecord(6, {SHA256: b"3" * 32}, ContentType.SYSTEMD, '{"a":1}', nv_index=0x01C10201)


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(4, "big") + value


def record(number: int = 5, place: bytes = tlv(1, b"\0\0\0\7"), kind: int = 5, content: bytes | None = None) -> bytes:
    digests = tlv(4, b"1" * 20) + tlv(11, b"2" * 32)
    inside = tlv(0, b"\0\0\0\4") + tlv(1, bytes(4)) if content is None else content
    return tlv(0, number.to_bytes(4, "big")) + place + tlv(3, digests) + tlv(kind, inside)


def test_cbor_round_trip_in_the_bytes_of_the_standard() -> None:
    data = cel.encode([RECORD, INDEX])
    assert cel.parse(data) == (RECORD, INDEX)
    digest = {0: 11, 1: b"3" * 32}
    assert cbor.decode(data)[1] == {0: 6, 2: 0x01C10201, 3: [digest], 9: 9, 10: '{"a":1}'}
    assert_every_truncation_refused(cel.parse, data)
    assert_input_refused("cbor-trailing", cel.parse, data + b"\0")


@pytest.mark.parametrize(
    "change",
    [
        {0: -1},
        {0: True},
        {0: None},
        {1: 24},
        {2: 1},
        {3: []},
        {3: {}},
        {3: [7]},
        {3: [{0: 11, 1: b"2" * 31}]},
        {3: [{0: 11, 1: "2" * 32}]},
        {3: [{0: 12345, 1: b"2" * 32}]},
        {3: [{0: True, 1: b"2" * 32}]},
        {3: [{0: 11}]},
        {3: [{0: 11, 1: b"2" * 32, 2: 0}]},
        {3: [{0: 11, 1: b"2" * 32}, {0: 11, 1: b"2" * 32}]},
        {9: 256},
        {9: "cel"},
        {8: 0},
    ],
)
def test_records_that_are_none(change: dict[int, Any]) -> None:
    (item,) = cbor.decode(cel.encode([RECORD]))
    assert_input_refused("cel-malformed", cel.parse, cbor.encode([item | change]))


@pytest.mark.parametrize("missing", [0, 1, 3, 9, 10])
def test_every_field_is_needed(missing: int) -> None:
    (item,) = cbor.decode(cel.encode([RECORD]))
    del item[missing]
    assert_input_refused("cel-malformed", cel.parse, cbor.encode([item]))


def test_what_is_no_log() -> None:
    for value in ([], {}, [1], 7):
        assert_input_refused("cel-malformed", cel.parse, cbor.encode(value))
    indexed = cel.encode([replace(INDEX, nv_index=2**32)])
    assert_input_refused("cel-malformed", cel.parse, indexed)


@pytest.mark.parametrize("second", [4, 5, 7])
def test_numbers_ascend_one_by_one(second: int) -> None:
    assert_input_refused("cel-malformed", cel.parse, cel.encode([RECORD, replace(RECORD, number=second)]))
    assert_input_refused("cel-malformed", cel.parse_tlv, record(5) + record(second))


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    two, pair = cel.encode([RECORD, INDEX]), record(5) + record(6)
    monkeypatch.setattr(cel, "MAX_RECORDS", 1)
    assert_input_refused("cel-limit", cel.parse, two)
    assert_input_refused("cel-limit", cel.parse_tlv, pair)
    monkeypatch.setattr(cel, "MAX_LOG_BYTES", 10)
    assert_input_refused("cel-limit", cel.parse, two)
    assert_input_refused("cel-limit", cel.parse_tlv, pair)


def test_tlv_says_the_same() -> None:
    index = record(6, tlv(2, b"\x01\xc1\x02\x01"), 9, b'{"a":1}')
    first, second = cel.parse_tlv(record() + index)
    assert first == RECORD
    assert second == replace(INDEX, digests=DIGESTS)
    (template,) = cel.parse_tlv(record(content=tlv(0, b"ima-ng") + tlv(1, b"data"), kind=7))
    assert template.content == {0: "ima-ng", 1: b"data"}
    (other,) = cel.parse_tlv(record(kind=8, content=b"raw"))
    assert (other.content_type, other.content) == (8, b"raw")
    assert cel.parse_tlv(b"") == ()


def test_every_cut_within_a_record_is_refused() -> None:
    data = record(5) + record(6)
    for size in set(range(1, len(data))) - {len(record(5))}:
        with pytest.raises(InputError, match="cel-truncated"):
            cel.parse_tlv(data[:size])


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (record(place=tlv(1, b"\x18")), "malformed"),
        (record(place=tlv(4, b"\7")), "malformed"),
        (record(place=tlv(1, b"")), "malformed"),
        (record(place=tlv(1, bytes(9))), "malformed"),
        (tlv(1, b"\0"), "malformed"),
        (record(kind=5, content=tlv(0, b"\4") + tlv(1, b"")), "malformed"),
        (record(kind=5, content=tlv(1, b"\0\0\0\4") + tlv(1, b"")), "malformed"),
        (record(kind=5, content=tlv(0, b"\0\0\0\4") + tlv(1, b"") + b"x"), "trailing"),
        (record(kind=7, content=tlv(0, b"\xff") + tlv(1, b"")), "malformed"),
        (record(kind=9, content=b"\xff"), "malformed"),
        (tlv(0, b"\5") + tlv(1, b"\7") + tlv(3, b"") + tlv(5, b""), "malformed"),
        (tlv(0, b"\5") + tlv(1, b"\7") + tlv(3, tlv(11, b"short")) + tlv(5, b""), "malformed"),
        (b"\0\xff\xff\xff\xff", "limit"),
    ],
)
def test_tlv_refusals(data: bytes, fault: str) -> None:
    assert_input_refused(f"cel-{fault}", cel.parse_tlv, data)


@given(st.integers(0, 23), st.binary(min_size=32, max_size=32), st.binary(max_size=40))
def test_records_round_trip(pcr: int, digest: bytes, content: bytes) -> None:
    made = CelRecord(0, {SHA256: digest}, ContentType.CEL, content, pcr=pcr)
    assert cel.parse(cel.encode([made])) == (made,)


@given(st.binary(max_size=120))
def test_whatever_comes_in(data: bytes) -> None:
    for parse in (cel.parse, cel.parse_tlv):
        with suppress(InputError):
            parse(data)
