"""CMS by hand; what openssl and sign-file make is in tests/unit/crypto/test_appended_signatures.py."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import der
from medvouch.formats.cms import MAX_KEY_ID_BYTES, MAX_SIGNATURE_BYTES, Algorithm, IssuerAndSerial, SignedData
from support.refusing import assert_input_refused
from support.truncation import assert_every_truncation_refused

SEQUENCE, SET, OCTETS, INSIDE = 0x30, 0x31, 0x04, 0xA0
NULL = b"\5\0"
SHA256, RSA = der.oid("2.16.840.1.101.3.4.2.1"), der.oid("1.2.840.113549.1.1.1")
COMMON_NAME = der.oid("2.5.4.3")


def name(*values: bytes) -> bytes:
    attributes = (der.encode(SEQUENCE, COMMON_NAME, der.encode(0x0C, value)) for value in values)
    return der.encode(SEQUENCE, *(der.encode(SET, attribute) for attribute in attributes))


SIGNED = SignedData(IssuerAndSerial(name(b"modules"), 7), Algorithm(SHA256), Algorithm(RSA, NULL), b"signature")
BY_HAND = bytes.fromhex(
    "3075 06092a864886f70d010702 a068 3066 020101"
    "310d 300b 0609608648016503040201"
    "300b 06092a864886f70d010701"
    "3145 3043 020101"
    "3017 3012 3110 300e 0603550403 0c07 6d6f64756c6573 020107"
    "300b 0609608648016503040201"
    "300d 06092a864886f70d010101 0500"
    "0409 7369676e6174757265"
)


def test_by_hand() -> None:
    assert SignedData.parse(BY_HAND) == SIGNED
    assert SIGNED.encode() == BY_HAND


def test_by_key_identifier() -> None:
    """Versions 3 and 3, and [0] in place of the certificate."""
    data = replace(SIGNED, signer=b"key").encode()
    assert data.count(b"\2\1\3") == 2
    assert b"\x80\3key" in data
    assert SignedData.parse(data).describe_signer() == "6b6579"


@pytest.mark.parametrize("serial", [0, 127, 128, 1 << 159, -1, -128, -129])
def test_serial_numbers(serial: int) -> None:
    signed = replace(SIGNED, signer=IssuerAndSerial(name(b"modules"), serial))
    assert SignedData.parse(signed.encode()) == signed


def test_round_trip_and_truncation() -> None:
    for signed in (SIGNED, replace(SIGNED, signer=b"key"), replace(SIGNED, signed_attributes=der.encode(INSIDE))):
        assert SignedData.parse(signed.encode()) == signed
        assert_every_truncation_refused(SignedData.parse, signed.encode())
        assert_input_refused("cms-trailing", SignedData.parse, signed.encode() + b"\0")


def changed(old: bytes, new: bytes) -> bytes:
    """`BY_HAND` with its lengths as they were: both are of one size."""
    assert (BY_HAND.count(old), len(old)) == (1, len(new))
    return BY_HAND.replace(old, new)


def rebuilt(
    *, serial: bytes = b"\7", before: bytes = b"", inside: bytes = b"", after: bytes = b"", signers: int = 1
) -> bytes:
    """`BY_HAND` with something else for the serial, between content and signers, after the signature or the signers."""
    digest = Algorithm(SHA256).encode()
    signer = der.encode(SEQUENCE, name(b"modules"), der.encode(2, serial))
    value = der.encode(OCTETS, b"signature")
    info = der.encode(SEQUENCE, der.integer(1), signer, digest, Algorithm(RSA, NULL).encode(), value, inside)
    data = der.encode(SEQUENCE, der.oid("1.2.840.113549.1.7.1"))
    signed = der.encode(
        SEQUENCE, der.integer(1), der.encode(SET, digest), data, before, der.encode(SET, *[info] * signers), after
    )
    return der.encode(SEQUENCE, der.oid("1.2.840.113549.1.7.2"), der.encode(INSIDE, signed))


LONG = replace(SIGNED, signature=bytes(MAX_SIGNATURE_BYTES + 1))
REFUSED = {
    "another content type": (changed(b"\7\2\xa0", b"\7\3\xa0"), "malformed"),
    "signed content of another type": (changed(b"\7\1\x31\x45", b"\7\2\x31\x45"), "malformed"),
    "version 3 without a key identifier": (changed(b"\2\1\1\x31", b"\2\1\3\x31"), "malformed"),
    "a signer of version 3 without one": (changed(b"\2\1\1\x30", b"\2\1\3\x30"), "malformed"),
    "another digest than is declared": (changed(b"\4\2\1\x30\x0b", b"\4\2\2\x30\x0b"), "malformed"),
    "another tag": (changed(b"\4\x09sig", b"\3\x09sig"), "malformed"),
    "a length that is not the shortest": (b"\x30\x81" + BY_HAND[1:], "malformed"),
    "an indefinite length": (b"\x30\x80" + BY_HAND[2:] + bytes(2), "malformed"),
    "a serial number of no bytes": (rebuilt(serial=b""), "malformed"),
    "a serial number with a zero before it": (rebuilt(serial=b"\0\7"), "malformed"),
    "a serial number with ones before it": (rebuilt(serial=b"\xff\xff"), "malformed"),
    "certificates": (rebuilt(before=der.encode(INSIDE, der.encode(SEQUENCE))), "malformed"),
    "unsigned attributes": (rebuilt(inside=der.encode(0xA1)), "trailing"),
    "two signers": (rebuilt(signers=2), "trailing"),
    "no signer": (rebuilt(signers=0), "truncated"),
    "more after the signers": (rebuilt(after=der.encode(0xA2)), "trailing"),
    "a signature of more bytes than any key has": (LONG.encode(), "limit"),
    "no key identifier": (replace(SIGNED, signer=b"").encode(), "limit"),
    "a long key identifier": (replace(SIGNED, signer=bytes(MAX_KEY_ID_BYTES + 1)).encode(), "limit"),
}


@pytest.mark.parametrize(("data", "fault"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_signature_of_a_file(data: bytes, fault: str) -> None:
    assert_input_refused(f"cms-{fault}", SignedData.parse, data)


def test_what_is_refused_is_else_well_formed() -> None:
    assert rebuilt() == BY_HAND


@pytest.mark.parametrize(
    ("issuer", "said"),
    [
        (name(b"Maker", b"modules"), "serial ff of Maker, modules"),
        (name(b"\xff\n"), r"serial ff of \xff\n"),
        (name(), "serial ff of "),
        (der.encode(SEQUENCE, b"\4\0"), "serial ff of 30020400"),
        (name(*[b"x"] * 17), f"serial ff of {name(*[b'x'] * 17).hex()}"),
    ],
)
def test_signers_are_described_in_one_line(issuer: bytes, said: str) -> None:
    described = replace(SIGNED, signer=IssuerAndSerial(issuer, 255)).describe_signer()
    assert described == said if len(said) < 240 else described.startswith(said[:200])
    assert described.isprintable()


def test_parameters() -> None:
    assert Algorithm(SHA256).is_plain
    assert Algorithm(SHA256, NULL).is_plain
    assert not Algorithm(SHA256, der.encode(SEQUENCE)).is_plain


@given(st.binary(max_size=200) | st.binary(max_size=40).map(lambda data: rebuilt(before=data)))
def test_any_bytes(data: bytes) -> None:
    with suppress(InputError):
        assert SignedData.parse(data).encode() == data
