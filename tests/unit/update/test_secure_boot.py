"""What a change of db or dbx must be before the firmware is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from medvouch.formats.secure_boot import APPENDING, REPLACING, SignedUpdate
from medvouch.formats.uefi import CERT_SHA256, CERT_X509, SignatureList
from medvouch.update import refusals
from medvouch.update.secure_boot import check_keeps_booting, check_update, in_force
from support.refusing import assert_refused
from support.secure_boot import BY_HAND, OWNER

UPDATE = SignedUpdate.parse(BY_HAND)
ONE, OTHER = bytes(range(32)), bytes(32)


def hashes(*found: bytes) -> SignatureList:
    return SignatureList(CERT_SHA256, b"", 48, tuple((UUID(bytes_le=OWNER), each) for each in found))


def test_taken() -> None:
    for attributes in (REPLACING, APPENDING):
        assert check_update(BY_HAND, attributes, None, "dbx") == UPDATE


@pytest.mark.parametrize(
    "data",
    [
        BY_HAND[:-1],
        replace(UPDATE, lists=(SignatureList(CERT_SHA256, b"", 47, ((UUID(int=1), bytes(31)),)),)).encode(),
        replace(UPDATE, lists=(replace(hashes(ONE), header=b"h"),)).encode(),
    ],
)
def test_malformed(data: bytes) -> None:
    assert_refused(refusals.SECURE_BOOT_UPDATE_MALFORMED, check_update, data, REPLACING, None, "dbx")


def test_lists_of_nothing() -> None:
    data = replace(UPDATE, lists=(hashes(),)).encode()
    assert_refused(refusals.SECURE_BOOT_UPDATE_MALFORMED, check_update, data, REPLACING, None, "dbx")


def test_a_certificate_that_is_no_der() -> None:
    data = replace(UPDATE, lists=(SignatureList(CERT_X509, b"", 20, ((UUID(int=1), b"cert"),)),)).encode()
    assert_refused(refusals.SECURE_BOOT_UPDATE_MALFORMED, check_update, data, REPLACING, None, "db")


def test_certificates_and_what_is_unknown_here() -> None:
    lists = (
        SignatureList(CERT_X509, b"", 19, ((UUID(int=1), b"\x30\1\0"),)),
        SignatureList(UUID(int=7), b"", 17, ((UUID(int=1), b"x"),)),
    )
    check_update(replace(UPDATE, lists=lists).encode(), REPLACING, None, "db")


def test_a_change_that_replaces_comes_later_than_the_last() -> None:
    last = datetime(2026, 11, 26, 6, 7, 8, tzinfo=UTC)
    check_update(BY_HAND, REPLACING, last - timedelta(seconds=1), "dbx")
    check_update(BY_HAND, APPENDING, last, "dbx")
    assert_refused(refusals.SECURE_BOOT_UPDATE_OLD, check_update, BY_HAND, REPLACING, last, "dbx")


def test_in_force() -> None:
    """A list that is appended may stand anywhere in what is there; one that replaces is all that is there."""
    value = hashes(OTHER).encode() + hashes(ONE).encode()
    assert in_force(value, UPDATE, APPENDING)
    assert not in_force(value, UPDATE, REPLACING)
    assert not in_force(hashes(OTHER).encode(), UPDATE, APPENDING)
    assert not in_force(b"no lists", UPDATE, APPENDING)
    assert in_force(UPDATE.content, UPDATE, REPLACING)


def test_what_is_booted_is_not_forbidden() -> None:
    check_keeps_booting(UPDATE, [OTHER], "dbx")
    check_keeps_booting(
        replace(UPDATE, lists=(SignatureList(CERT_X509, b"", 48, hashes(ONE).signatures),)), [ONE], "dbx"
    )
    assert_refused(refusals.SECURE_BOOT_UPDATE_LOCKS_OUT, check_keeps_booting, UPDATE, [OTHER, ONE], "dbx")
