"""What a change of db or dbx must be before the firmware is asked."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest

from medvouch.formats.reference import Mode, PcrReference, ReferenceEvent, ReferenceValues
from medvouch.formats.secure_boot import APPENDING, REPLACING, SignedUpdate
from medvouch.formats.uefi import (
    CERT_SHA256,
    CERT_X509,
    GLOBAL_VARIABLE,
    IMAGE_SECURITY_DATABASE,
    SignatureList,
    Variable,
)
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


def predicted(*, images: Sequence[bytes] = (), policy: Sequence[Variable] = ()) -> ReferenceValues:
    """Of a boot that starts these, Authenticode hashes, and measures these variables."""
    measured = {4: images, 7: [sha256(each.encode()).digest() for each in policy]}
    rows = (
        PcrReference(pcr, Mode.EXACT, tuple(ReferenceEvent("event", {"sha256": each}) for each in found))
        for pcr, found in measured.items()
    )
    return ReferenceValues("model", "1.0.1", 1, (), tuple(rows))


def certificates(*found: bytes) -> SignatureList:
    return SignatureList(CERT_X509, b"", 16 + len(found[0]), tuple((UUID(int=1), each) for each in found))


def changing(*lists: SignatureList) -> SignedUpdate:
    return replace(UPDATE, lists=lists)


CA, OTHER_CA = b"\x30\1\0", b"\x30\1\1"
ON = Variable(GLOBAL_VARIABLE, "SecureBoot", b"\1")
OFF = replace(ON, data=b"\0")
BY_CA = Variable(IMAGE_SECURITY_DATABASE, "db", UUID(int=1).bytes_le + CA)


def test_what_is_booted_is_not_forbidden() -> None:
    check = functools.partial(check_keeps_booting, variable="dbx", attributes=APPENDING, place="dbx")
    check(UPDATE, values=predicted(images=[OTHER]))
    check(changing(replace(hashes(ONE), type=CERT_X509)), values=predicted(images=[ONE]))
    values = predicted(images=[OTHER, ONE])
    assert_refused(refusals.SECURE_BOOT_UPDATE_LOCKS_OUT, check, UPDATE, values=values)


def test_what_lets_images_start_is_not_forbidden() -> None:
    check = functools.partial(check_keeps_booting, variable="dbx", attributes=APPENDING, place="dbx")
    values = predicted(policy=[ON, BY_CA])
    check(changing(certificates(OTHER_CA)), values=values)
    assert_refused(refusals.SECURE_BOOT_UPDATE_LOCKS_OUT, check, changing(certificates(OTHER_CA, CA)), values=values)


def test_what_lets_images_start_stays_in_db() -> None:
    """Where db is replaced, and where it is looked at."""
    check = functools.partial(check_keeps_booting, variable="db", place="db")
    values, without = predicted(policy=[ON, BY_CA]), changing(certificates(OTHER_CA))
    check(changing(certificates(OTHER_CA, CA)), attributes=REPLACING, values=values)
    check(without, attributes=APPENDING, values=values)
    check(without, attributes=REPLACING, values=predicted(policy=[OFF, BY_CA]))
    assert_refused(refusals.SECURE_BOOT_UPDATE_LOCKS_OUT, check, without, attributes=REPLACING, values=values)
