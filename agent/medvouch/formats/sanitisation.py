"""That a device was sanitised (DESIGN §8): what was done, and the quote that proves when."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated

from medvouch.formats import cbor
from medvouch.formats.enrolment import Certified, DeviceId, Digest, Owner, Ueid
from medvouch.formats.manufacturing import Serial
from medvouch.formats.record import Flag, Octets, OneOf, Record, Uint

CONTEXT = "medvouch/sanitised/1"
TPM2_CLEAR = "TPM2_Clear"
"""The one method: new storage seeds, so nothing that was ever sealed or wrapped by the TPM opens again."""
MAX_SANITISED_BYTES = 16 * 1024
"""Of an encoded Sanitised: its certificate and two TPM structures."""
MAX_CERTIFICATE_BYTES = 4096
"""Of an encoded SanitisationCertificate; the longest texts, four bytes a character, take less than half."""


@dataclass(frozen=True)
class SanitisationCertificate(Record):
    """What was sanitised, how and when, for whom; `ledger_*` are the head of its ledger, which ends there.

    `ledger_root` is zero where there is no ledger, `time_ms` milliseconds since 1970 (UTC) by the device's clock, which
    has reason to be believed where `clock_ok`.
    """

    FORMAT = "sanitisation"
    KIND = "certificate"

    ueid: Ueid
    device_id: DeviceId
    serial: Serial
    ledger_size: Annotated[int, Uint()]
    ledger_root: Digest
    ledger_counter: Annotated[int, Uint()]
    method: Annotated[str, OneOf((TPM2_CLEAR,))]
    time_ms: Annotated[int, Uint()]
    clock_ok: Annotated[bool, Flag()]
    accountable_owner: Owner


@dataclass(frozen=True)
class Sanitised(Record):
    """A device's last message: an encoded SanitisationCertificate and the IAK's quote over `qualifier` of it."""

    FORMAT = "sanitisation"
    KIND = "sanitised"

    certificate: Annotated[bytes, Octets(MAX_CERTIFICATE_BYTES)]
    quote: Certified


@dataclass(frozen=True)
class Released(Record):
    """Enrolment authority: the device's last message, by its digest, was taken; it has nothing more to say.

    The payload of a COSE_Sign1 as the messages of enrolment are.
    """

    FORMAT = "sanitisation"
    KIND = "released"

    about: Digest


def qualifier(certificate: bytes, nonce: bytes) -> bytes:
    """The quote's qualifyingData: SHA-256 of deterministic CBOR [context, SHA-256(certificate), nonce].

    `nonce` is the collector's, fresh.
    """
    return hashlib.sha256(cbor.encode([CONTEXT, hashlib.sha256(certificate).digest(), nonce])).digest()
