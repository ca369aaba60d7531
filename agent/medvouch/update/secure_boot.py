"""What a signed change of db or dbx must be before the firmware is asked to take it: there is no way back from it.

Whether KEK signed it only the firmware can tell; it refuses what is not.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from medvouch.errors import InputError, Refusal
from medvouch.formats.der import SEQUENCE
from medvouch.formats.secure_boot import APPEND, SignedUpdate
from medvouch.formats.uefi import CERT_SHA256, CERT_X509, SignatureList
from medvouch.update import refusals

FORBIDDEN_DATABASE = "dbx"
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


def check_keeps_booting(update: SignedUpdate, boots: Collection[bytes], place: str) -> None:
    """Refusal `secure-boot-update-locks-out` where dbx would forbid an image of `boots` (SHA-256, Authenticode)."""
    hashes = {data for each in update.lists if each.type == CERT_SHA256 for _, data in each.signatures}
    if locked := hashes & set(boots):
        detail = f"it forbids {min(locked).hex()}, which this device boots"
        raise Refusal(refusals.SECURE_BOOT_UPDATE_LOCKS_OUT, detail, place=place)
