"""What a signed change of db or dbx must be before the firmware is asked to take it: there is no way back from it.

Whether KEK signed it only the firmware can tell; it refuses what is not.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from medvouch.errors import InputError, Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.der import SEQUENCE
from medvouch.formats.hashing import digest
from medvouch.formats.reference import ReferenceValues
from medvouch.formats.secure_boot import APPEND, SignedUpdate
from medvouch.formats.uefi import (
    CERT_SHA256,
    CERT_X509,
    GLOBAL_VARIABLE,
    IMAGE_SECURITY_DATABASE,
    SignatureList,
    Variable,
)
from medvouch.update import refusals

FORBIDDEN_DATABASE = "dbx"
_BOOT_APPLICATIONS, _SECURE_BOOT_POLICY = 4, 7
"""PCRs (PFP 1.06, 2.3.4)."""
_HASH_ENTRY_BYTES = 48
"""Owner and SHA-256 (UEFI 2.10, 32.4.1)."""


def check_update(data: bytes, attributes: int, last: datetime | None, place: str) -> SignedUpdate:
    """The change, if it is well-formed and says something, and is later than the `last` one that replaced the database.

    Raises Refusal `secure-boot-update-malformed`, `secure-boot-update-old`.
    """
    try:
        update = SignedUpdate.parse(data)
    except InputError as error:
        raise _malformed(f"{error.code}: {error.detail}", place) from error
    if not any(each.signatures for each in update.lists):
        raise _malformed("nothing is in its signature lists", place)
    for each in update.lists:
        _check_entries(each, place)
    if not attributes & APPEND and last is not None and update.time <= last:
        detail = f"it was signed at {update.time:%F %T}, what is in force at {last:%F %T}"
        raise Refusal(refusals.SECURE_BOOT_UPDATE_OLD, detail, place=place)
    return update


def _check_entries(each: SignatureList, place: str) -> None:
    if each.type == CERT_SHA256 and (each.signature_size != _HASH_ENTRY_BYTES or each.header):
        raise _malformed(f"hashes in entries of {each.signature_size} bytes", place)
    if each.type == CERT_X509 and any(data[:1] != SEQUENCE for _, data in each.signatures):
        raise _malformed("a certificate that is no DER", place)


def _malformed(detail: str, place: str) -> Refusal:
    return Refusal(refusals.SECURE_BOOT_UPDATE_MALFORMED, detail, place=place)


def in_force(value: bytes, update: SignedUpdate, attributes: int) -> bool:
    """Whether the database, of this `value`, is as the change makes it."""
    try:
        return update.applied(value, attributes) == value
    except InputError:
        return False


def check_keeps_booting(
    update: SignedUpdate, variable: str, attributes: int, values: ReferenceValues, place: str
) -> None:
    """Whether the boot that `values` predict can come about after a change of `variable`.

    Refusal `secure-boot-update-locks-out` where

    1. dbx forbids an image that it starts (SHA-256, Authenticode);
    2. dbx forbids an entry of db, in its very words, that lets images start;
    3. db, replaced, is without any entry that does, and Secure Boot is on.
    """
    images, policy = (_measured(values, pcr) for pcr in (_BOOT_APPLICATIONS, _SECURE_BOOT_POLICY))
    authorities = {_authority(owner, data) for each in update.lists for owner, data in each.signatures} & policy
    if variable == FORBIDDEN_DATABASE:
        hashes = {data for each in update.lists if each.type == CERT_SHA256 for _, data in each.signatures}
        if locked := hashes & images:  # 1
            raise _locks_out(f"it forbids {min(locked).hex()}, which this device boots", place)
        if authorities:  # 2
            raise _locks_out("it forbids what lets this device's images start", place)
    elif not attributes & APPEND and _ENFORCED in policy and not authorities:  # 3
        raise _locks_out("nothing is left in it that lets this device's images start", place)


def _measured(values: ReferenceValues, pcr: int) -> set[bytes]:
    label = HashAlg.SHA256.label
    events = (event for row in values.pcrs if row.pcr == pcr for event in row.events)
    return {event.digests[label] for event in events if label in event.digests}


def _authority(owner: UUID, data: bytes) -> bytes:
    """What is measured of the entry of db by which an image is started (PFP 1.06, EV_EFI_VARIABLE_AUTHORITY)."""
    return _hash(Variable(IMAGE_SECURITY_DATABASE, "db", owner.bytes_le + data))


def _hash(variable: Variable) -> bytes:
    return digest(HashAlg.SHA256, variable.encode())


_ENFORCED = _hash(Variable(GLOBAL_VARIABLE, "SecureBoot", b"\1"))
"""What is measured where Secure Boot is on."""


def _locks_out(detail: str, place: str) -> Refusal:
    return Refusal(refusals.SECURE_BOOT_UPDATE_LOCKS_OUT, detail, place=place)
