"""The messages of enrolment as bytes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.enrolment import (
    Answer,
    Challenge,
    Proof,
    Refused,
    Request,
    certify_qualifier,
    device_id,
    parse_verdict,
    ueid,
)
from medvouch.formats.identity import DeviceIdentity, OwnershipAuths
from medvouch.formats.record import Record
from medvouch.formats.tpm import SignedAttest
from support.truncation import assert_every_truncation_refused

D32 = bytes(range(32))
SIGNED = SignedAttest(b"attest", b"signature")
REQUEST = Request("S1", "gw", b"c", (b"i",), b"e", b"d", b"dc", (), b"k", b"l", b"v", b"spki", D32)
UEID = ueid(D32)
SAMPLES: list[Record] = [
    REQUEST,
    Challenge(D32, b"credential", b"secret", D32, b"approval"),
    Proof(D32, D32, SIGNED, SIGNED, SIGNED, SIGNED, {"counter": b"nv"}, b"escrow"),
    Answer(
        D32, UEID, device_id(UEID), D32, "1", b"lak", b"ldevid", b"client", (b"ca",),
        {"counter": b"n"}, 3, 17, b"iak", "Owner",
    ),
    Refused(D32, "ek-not-on-manifest", ""),
    OwnershipAuths(b"owner", b"lockout"),
    DeviceIdentity(
        UEID, device_id(UEID), D32, "S1", "gw", "1", b"p", b"q", b"lak", b"ld", b"cl", (b"ca",),
        {"a": b"b"}, {"a": b"c"}, 0, 17, b"iak", "Owner", b"answer",
    ),
]  # fmt: skip


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_there_and_back(sample: Record) -> None:
    assert type(sample).parse(sample.encode()) == sample
    assert_every_truncation_refused(type(sample).parse, sample.encode())


def test_an_authority_says_one_of_three_things() -> None:
    for sample in SAMPLES:
        if isinstance(sample, Challenge | Answer | Refused):
            assert parse_verdict(sample.encode()) == sample
        else:
            with pytest.raises(InputError, match="enrolment-malformed"):
                parse_verdict(sample.encode())
    for other in ([], 1, {}, {"type": ["answer"]}):
        with pytest.raises(InputError, match="enrolment-malformed"):
            parse_verdict(cbor.encode(other))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_verdict(data)


@given(st.integers(0, len(SAMPLES[3].encode()) - 1), st.integers(0, 255))
def test_any_change(place: int, value: int) -> None:
    data = bytearray(SAMPLES[3].encode())
    data[place] = value
    try:
        assert parse_verdict(bytes(data)).encode() == bytes(data)
    except InputError:
        return


def test_identifiers() -> None:
    assert UEID == b"\x01" + D32
    assert device_id(UEID) == "01000102030405060708090a0b0c0d0e"
    assert certify_qualifier(D32) == hashlib.sha256(b"\x82\x70medvouch/enrol/1\x58\x20" + D32).digest()
