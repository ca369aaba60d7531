"""Sanitisation as bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.enrolment import device_id, ueid
from medvouch.formats.record import MAX_TPM_STRUCTURE, Record
from medvouch.formats.sanitisation import (
    MAX_CERTIFICATE_BYTES,
    MAX_SANITISED_BYTES,
    TPM2_CLEAR,
    Released,
    SanitisationCertificate,
    Sanitised,
    qualifier,
)
from medvouch.formats.tpm import SignedAttest
from support.truncation import assert_every_truncation_refused

D32 = bytes(range(32))
UEID = ueid(D32)
CERTIFICATE = SanitisationCertificate(
    UEID, device_id(UEID), "SN-1", 7, D32, 3, TPM2_CLEAR, 1_800_000_000_000, True, "Owner"
)
SAMPLES: list[Record] = [
    CERTIFICATE,
    Sanitised(CERTIFICATE.encode(), SignedAttest(b"attest", b"signature")),
    Released(D32),
]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_there_and_back(sample: Record) -> None:
    assert type(sample).parse(sample.encode()) == sample
    assert_every_truncation_refused(type(sample).parse, sample.encode())
    with pytest.raises(InputError, match="cbor-trailing"):
        type(sample).parse(sample.encode() + b"\0")


def test_the_longest_certificate_has_room() -> None:
    wide, most = "\U0001f3e5", 2**63 - 1
    longest = SanitisationCertificate(
        UEID, wide * 32, wide * 64, most, D32, most, TPM2_CLEAR, most, False, wide * 256
    )  # fmt: skip
    assert SanitisationCertificate.parse(longest.encode()) == longest
    assert len(longest.encode()) < MAX_CERTIFICATE_BYTES / 2
    structures = SignedAttest(bytes(MAX_TPM_STRUCTURE), bytes(MAX_TPM_STRUCTURE))
    assert len(Sanitised(bytes(MAX_CERTIFICATE_BYTES), structures).encode()) < MAX_SANITISED_BYTES


@pytest.mark.parametrize("change", [{"type": "sanitised"}, {"about": D32[1:]}, {"about": "text"}, {"nonce": D32}])
def test_what_releases_nobody(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="sanitisation-malformed"):
        Released.parse(cbor.encode({**SAMPLES[2].to_map(), **change}))


@given(st.binary(max_size=200), st.sampled_from([SanitisationCertificate, Sanitised, Released]))
def test_any_bytes(data: bytes, kind: type[Record]) -> None:
    with pytest.raises(InputError):
        kind.parse(data)


@given(st.integers(0, len(SAMPLES[1].encode()) - 1), st.integers(0, 255))
def test_any_change(place: int, value: int) -> None:
    data = bytearray(SAMPLES[1].encode())
    data[place] = value
    try:
        assert Sanitised.parse(bytes(data)).encode() == bytes(data)
    except InputError:
        return


@pytest.mark.parametrize(
    "change",
    [
        {"type": "sanitised"},
        {"method": "shredded"},
        {"method": 1},
        {"clock_ok": 1},
        {"ledger_root": b""},
        {"ueid": D32},
        {"time_ms": -1},
        {"serial": ""},
        {"nonce": D32},
    ],
)
def test_what_is_no_certificate(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="sanitisation-malformed"):
        SanitisationCertificate.parse(cbor.encode({**CERTIFICATE.to_map(), **change}))


def test_the_qualifier() -> None:
    inner = hashlib.sha256(b"certificate").digest()
    wanted = hashlib.sha256(b"\x83\x74medvouch/sanitised/1\x58\x20" + inner + b"\x58\x20" + D32).digest()
    assert qualifier(b"certificate", D32) == wanted
