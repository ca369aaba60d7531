"""Signed changes of Secure Boot databases."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import secure_boot
from medvouch.formats.secure_boot import APPENDING, REPLACING, SignedUpdate
from medvouch.formats.uefi import CERT_SHA256, IMAGE_SECURITY_DATABASE, SignatureList
from support.refusing import assert_input_refused
from support.secure_boot import BY_HAND, OWNER, SBVARSIGN
from support.truncation import assert_every_truncation_refused

TIME = datetime(2026, 11, 26, 6, 7, 8, tzinfo=UTC)
LISTS = (SignatureList(CERT_SHA256, b"", 48, ((UUID(bytes_le=OWNER), bytes(range(32))),)),)


def test_by_hand() -> None:
    assert SignedUpdate.parse(BY_HAND) == SignedUpdate(TIME, b"\x30\3\2\1\1", LISTS)
    assert SignedUpdate.parse(BY_HAND).encode() == BY_HAND
    assert_every_truncation_refused(SignedUpdate.parse, BY_HAND)


def test_as_sbvarsign_makes_it() -> None:
    update = SignedUpdate.parse(SBVARSIGN)
    assert update.encode() == SBVARSIGN
    assert update.lists[0].signatures[0][1] == hashlib.sha256(b"a forbidden loader").digest()
    assert_every_truncation_refused(SignedUpdate.parse, SBVARSIGN)


def test_what_is_signed() -> None:
    update = SignedUpdate(TIME, b"", LISTS)
    head = b"d\0b\0x\0" + IMAGE_SECURITY_DATABASE.bytes_le + b"\x67\0\0\0" + BY_HAND[:16]
    assert update.covered("dbx", APPENDING) == head + LISTS[0].encode()
    assert update.covered("dbx", REPLACING) != update.covered("dbx", APPENDING)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(9999, 1, 1)),
    st.binary(max_size=100),
    st.lists(st.binary(min_size=32, max_size=32), max_size=3),
)
def test_round_trip(time: datetime, signed: bytes, hashes: list[bytes]) -> None:
    entries = tuple((UUID(bytes_le=OWNER), each) for each in hashes)
    signature = b"\x30" + bytes([len(signed)]) + signed
    made = SignedUpdate(
        time.replace(microsecond=0, tzinfo=UTC), signature, (SignatureList(CERT_SHA256, b"", 48, entries),)
    )
    assert SignedUpdate.parse(made.encode()) == made


def altered(at: int, data: bytes) -> bytes:
    return BY_HAND[:at] + data + BY_HAND[at + len(data) :]


@pytest.mark.parametrize(
    "data",
    [
        altered(0, b"\x6b\7"),  # the year 1899
        altered(2, b"\0"),  # month 0
        altered(3, b"\x1f"),  # 31 November
        altered(7, b"\1"),  # padding
        altered(8, b"\1"),  # nanoseconds
        altered(12, b"\1"),  # a time zone
        altered(14, b"\1"),  # daylight saving
        altered(20, b"\0\1"),  # revision 1.0
        altered(22, b"\2\0"),  # WIN_CERT_TYPE_PKCS_SIGNED_DATA
        altered(24, bytes(16)),  # another certificate type
        altered(40, b"\x31"),  # a SET where SignedData is a SEQUENCE
        BY_HAND[: -len(LISTS[0].encode())],
    ],
)
def test_malformed(data: bytes) -> None:
    assert_input_refused("secure-boot-malformed", SignedUpdate.parse, data)


def test_signed_data_is_as_long_as_the_certificate_says() -> None:
    assert_input_refused("secure-boot-trailing", SignedUpdate.parse, altered(41, b"\2"))
    assert_input_refused("secure-boot-truncated", SignedUpdate.parse, altered(41, b"\4"))
    assert_input_refused("secure-boot-truncated", SignedUpdate.parse, altered(16, b"\x10"))


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secure_boot, "MAX_UPDATE_BYTES", len(BY_HAND))
    SignedUpdate.parse(BY_HAND)
    assert_input_refused("secure-boot-limit", SignedUpdate.parse, BY_HAND + b"\0")


def test_lists_are_those_of_the_databases() -> None:
    with pytest.raises(InputError, match="uefi-malformed"):
        SignedUpdate.parse(altered(45 + 16, b"\x4d"))


def test_applied() -> None:
    """Entries that are there are not appended once more, and a list of which nothing is left is not."""
    update, (one,) = SignedUpdate.parse(BY_HAND), LISTS
    other = SignatureList(CERT_SHA256, b"", 48, ((UUID(int=1), bytes(32)), one.signatures[0]))
    assert update.applied(b"anything", REPLACING) == one.encode()
    assert update.applied(b"", APPENDING) == one.encode()
    assert update.applied(other.encode(), APPENDING) == other.encode()
    both = SignedUpdate(TIME, b"", (other, one)).applied(one.encode(), APPENDING)
    assert both == one.encode() + SignatureList(CERT_SHA256, b"", 48, ((UUID(int=1), bytes(32)),)).encode()
    with pytest.raises(InputError):
        update.applied(b"no lists", APPENDING)
