"""What a policy demands beyond the steps that all evidence takes: a demand that is not met is a refusal of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from medvouch.attestation import refusals
from medvouch.attestation.policy import Policy
from medvouch.attestation.replay import VerifiedEvent, VerifiedEvents
from medvouch.attestation.semantics import Boot
from medvouch.crypto.ima_signatures import ImaKey, verify_file
from medvouch.crypto.keys import load_spki
from medvouch.errors import InputError, Refusal
from medvouch.formats import uefi
from medvouch.formats.ima import BOOT_AGGREGATE, Entry
from medvouch.formats.uefi import CERT_X509, IMAGE_SECURITY_DATABASE, SignatureList, Variable

_OWNER_BYTES = 16
"""SignatureOwner, a GUID, before the data of each signature (UEFI 2.10, 32.4.1)."""


@dataclass(frozen=True)
class Judged:
    """What the steps before have established. `challenged`: the evidence answers a nonce of the appraiser's own."""

    boot: Boot
    events: VerifiedEvents
    challenged: bool
    clock_safe: bool
    ledger_held: bool


def check_policy(policy: Policy, judged: Judged) -> None:
    """Raise the Refusal of the first demand that is not met.

    1. Freshness: `nonce-not-demanded`, `clock-not-safe`. The ledger: `ledger-not-judged`.
    2. Secure Boot: `authority-not-allowed`, `db-not-allowed`, `dbx-incomplete`.
    3. IMA: `ima-missing`, `ima-violation`, `ima-file-not-allowed`, `ima-file-not-signed`.
    """
    if policy.require_nonce and not judged.challenged:  # 1
        raise Refusal(refusals.NONCE_NOT_DEMANDED, "the appraiser names no challenge that it could answer")
    if policy.require_clock_safe and not judged.clock_safe:
        raise Refusal(refusals.CLOCK_NOT_SAFE, "TPMS_CLOCK_INFO.safe is NO")
    if policy.require_ledger and not judged.ledger_held:
        raise Refusal(refusals.LEDGER_NOT_JUDGED, "the appraiser knows nothing of the device's ledger")
    _check_authorities(policy, judged.boot)  # 2
    _check_databases(policy, judged.boot)
    _check_files(policy, judged.events)  # 3


def authority_digest(authority: Variable) -> bytes:
    """SHA-256 of what something was verified with: for an entry of db the certificate alone, else all of the data."""
    in_db = authority.guid == IMAGE_SECURITY_DATABASE
    return hashlib.sha256(authority.data[_OWNER_BYTES:] if in_db else authority.data).digest()


def database(variable: Variable) -> frozenset[bytes]:
    """What a signature database lists: SHA-256 of each X.509 certificate, and all other entries as they are.

    Raises InputError `uefi-*`.
    """
    return frozenset(_entries(uefi.parse_signature_lists(variable.data)))


def _entries(lists: Iterable[SignatureList]) -> Iterator[bytes]:
    for each in lists:
        for _, data in each.signatures:
            yield hashlib.sha256(data).digest() if each.type == CERT_X509 else data


def _check_authorities(policy: Policy, boot: Boot) -> None:
    if policy.authorities is None:
        return
    used = [(authority.name, authority_digest(authority)) for authority in boot.authorities]
    if not used:
        raise Refusal(refusals.AUTHORITY_NOT_ALLOWED, "no authority was measured", place="PCR 7")
    for name, digest in used:
        if digest not in policy.authorities:
            raise Refusal(refusals.AUTHORITY_NOT_ALLOWED, f"{name} entry {digest.hex()}", place="PCR 7")


def _check_databases(policy: Policy, boot: Boot) -> None:
    if policy.db is not None:
        for entry in sorted(_measured_database(boot, "db") or {b""}):
            if entry not in policy.db:
                detail = f"it holds {entry.hex()}" if entry else "it was not measured, or is empty"
                raise Refusal(refusals.DB_NOT_ALLOWED, detail, place="PCR 7")
    if policy.dbx:
        missing = sorted(policy.dbx - _measured_database(boot, "dbx"))
        if missing:
            detail = f"{len(missing)} of {len(policy.dbx)} are missing, {missing[0].hex()} among them"
            raise Refusal(refusals.DBX_INCOMPLETE, detail, place="PCR 7")


def _measured_database(boot: Boot, name: str) -> frozenset[bytes]:
    """Of the one measured variable; nothing where there is none, or not just one."""
    found = [each for each in boot.variables if (each.guid, each.name) == (IMAGE_SECURITY_DATABASE, name)]
    try:
        return database(found[0]) if len(found) == 1 else frozenset()
    except InputError:
        return frozenset()


def _check_files(policy: Policy, events: VerifiedEvents) -> None:
    files = [event for event in events if isinstance(event.source, Entry)]
    if policy.require_ima and not files:
        raise Refusal(refusals.IMA_MISSING, "no confirmed event is of an IMA list", place="PCR 10")
    judging = policy.require_ima or policy.ima_allow is not None or policy.ima_signed_by is not None
    keys = [ImaKey.of_key(load_spki(key)) for key in sorted(policy.ima_signed_by or ())]
    for event in files if judging else ():
        assert isinstance(event.source, Entry)
        if event.source.violation:
            raise Refusal(refusals.IMA_VIOLATION, event.describe(), place=_place(event))
        if not _is_left_out(event.source, policy):
            _check_file(policy, event, event.source, keys)


def _is_left_out(entry: Entry, policy: Policy) -> bool:
    """The boot aggregate, which replay has recomputed, and paths that the policy excludes."""
    if entry.index == 0 and entry.path == BOOT_AGGREGATE:
        return True
    return entry.path.startswith(policy.ima_exclude) and ".." not in entry.path.split("/")


def _check_file(policy: Policy, event: VerifiedEvent, entry: Entry, keys: Sequence[ImaKey]) -> None:
    label, digest = entry.file_digest or ("", b"")
    if policy.ima_allow is not None and digest not in policy.ima_allow:
        detail = f"{event.describe()} has {label} {digest.hex()}"
        raise Refusal(refusals.IMA_FILE_NOT_ALLOWED, detail, place=_place(event))
    if policy.ima_signed_by is not None:
        try:
            verify_file(entry, keys)
        except (Refusal, InputError) as cause:
            detail = f"{cause.code}: {cause.detail}"
            raise Refusal(refusals.IMA_FILE_NOT_SIGNED, detail, place=_place(event)) from cause


def _place(event: VerifiedEvent) -> str:
    return f"PCR {event.pcr}, ima entry {event.index}"
