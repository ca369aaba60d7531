"""The messages of enrolment (DESIGN §3): request, challenge, proof, answer; or, from the authority, refused.

Each is the payload of a COSE_Sign1 of CONTENT_TYPE, signed by the device's IDevID or by the enrolment authority, and
names the message before it by its digest: SHA-256 of that COSE_Sign1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from medvouch.formats import cbor
from medvouch.formats.der import MAX_CERTIFICATE_BYTES
from medvouch.formats.floor import MAX_APPROVAL_BYTES
from medvouch.formats.manufacturing import EkHash, HardwareVersion, Model, Serial
from medvouch.formats.record import (
    MAX_TPM_STRUCTURE,
    Attested,
    Many,
    Named,
    Octets,
    Place,
    Record,
    Text,
    Uint,
)
from medvouch.formats.tpm import SignedAttest

CONTENT_TYPE = "application/vnd.medvouch.enrolment+cbor"
CERTIFY_CONTEXT = "medvouch/enrol/1"
UEID_RANDOM = 0x01
"""The UEID type for identifiers derived by hashing or randomness (RFC 9711, 4.2.1.1)."""
NONCE_BYTES = 32
SECRET_BYTES = 32
MAX_CHAIN = 4
MAX_NV_INDEXES = 8
MAX_ESCROW_BYTES = 4096
MAX_MESSAGE_BYTES = 256 * 1024
"""Of the whole COSE_Sign1; a request with the longest chains takes less."""

MAX_ANSWER_BYTES = 128 * 1024
"""Of the whole COSE_Sign1 of an answer."""

Digest = Annotated[bytes, Octets(32, exact=True)]
Nonce = Annotated[bytes, Octets(NONCE_BYTES, exact=True)]
Secret = Annotated[bytes, Octets(SECRET_BYTES, exact=True)]
Ueid = Annotated[bytes, Octets(33, exact=True)]
DeviceId = Annotated[str, Text(32)]
Certificate = Annotated[bytes, Octets(MAX_CERTIFICATE_BYTES)]
Chain = Annotated[tuple[bytes, ...], Many(Octets(MAX_CERTIFICATE_BYTES), MAX_CHAIN)]
TpmPublic = Annotated[bytes, Octets(MAX_TPM_STRUCTURE)]
Spki = Annotated[bytes, Octets(1024)]
Certified = Annotated[SignedAttest, Attested()]
NvPublics = Annotated[Mapping[str, bytes], Named(Octets(MAX_TPM_STRUCTURE), MAX_NV_INDEXES)]
NvNames = Annotated[Mapping[str, bytes], Named(Octets(66), MAX_NV_INDEXES)]
Escrow = Annotated[bytes, Octets(MAX_ESCROW_BYTES)]
Owner = Annotated[str, Text(256)]
Floor = Annotated[int, Uint(2**32 - 1)]
FloorBase = Annotated[int, Uint()]
GivenAnswer = Annotated[bytes, Octets(MAX_ANSWER_BYTES)]


@dataclass(frozen=True)
class Request(Record):
    """Device, signed by IDevID: who I am, by which keys. `*_public` are TPMT_PUBLIC, `client_key` an SPKI (DER).

    Chains hold the intermediates that the TPM or the image carries, nearest first.
    """

    FORMAT = "enrolment"
    KIND = "request"

    serial: Serial
    model: Model
    ek_certificate: Certificate
    ek_chain: Chain
    ek_public: TpmPublic
    idevid_public: TpmPublic
    idevid_certificate: Certificate
    idevid_chain: Chain
    iak_public: TpmPublic
    lak_public: TpmPublic
    ldevid_public: TpmPublic
    client_key: Spki
    nonce: Nonce


@dataclass(frozen=True)
class Challenge(Record):
    """Authority: what only the TPM with that EK and that LAK can open (TPM2_MakeCredential).

    `floor_approval` is a FloorApproval of the first rise, which sets the floor's counter going.
    """

    FORMAT = "enrolment"
    KIND = "challenge"

    request: Digest
    credential: TpmPublic
    encrypted_secret: TpmPublic
    nonce: Nonce
    floor_approval: Annotated[bytes, Octets(MAX_APPROVAL_BYTES)]


@dataclass(frozen=True)
class Proof(Record):
    """Device, signed by IDevID: the opened secret, the other keys certified by the LAK, and ownership taken.

    `certify_floor` is a TPM2_NV_Certify of the floor's counter, which has risen for the first time. All `certify_*`
    have `certify_qualifier` of the challenge's nonce as their qualifyingData.
    `nv_publics` are TPMS_NV_PUBLIC by name; `escrow` the owner and lockout authorisations, sealed to the owner.
    """

    FORMAT = "enrolment"
    KIND = "proof"

    challenge: Digest
    secret: Secret
    certify_ldevid: Certified
    certify_idevid: Certified
    certify_iak: Certified
    certify_floor: Certified
    nv_publics: NvPublics
    escrow: Escrow


@dataclass(frozen=True)
class Answer(Record):
    """Authority: the identity in service. `chain` leads from the certificates' issuer towards its root.

    The device enrols at the security epoch `floor`, while its floor counter stands at `floor_base`; `iak_public` is the
    TPMT_PUBLIC whose quote proves its sanitisation one day.
    """

    FORMAT = "enrolment"
    KIND = "answer"

    proof: Digest
    ueid: Ueid
    device_id: DeviceId
    ek_hash: EkHash
    hw_version: HardwareVersion
    lak_certificate: Certificate
    ldevid_certificate: Certificate
    client_certificate: Certificate
    chain: Chain
    nv_names: NvNames
    floor: Floor
    floor_base: FloorBase
    iak_public: TpmPublic
    accountable_owner: Owner


@dataclass(frozen=True)
class Refused(Record):
    """Authority: no, and why; `about` is the digest of the message refused."""

    FORMAT = "enrolment"
    KIND = "refused"

    about: Digest
    code: Annotated[str, Text(64)]
    detail: Annotated[str, Text(1024, empty=True)]


Verdict = Challenge | Answer | Refused


def parse_verdict(payload: bytes) -> Verdict:
    """Whatever an authority says. Raises InputError `enrolment-*`."""
    value = cbor.decode(payload)
    place = Place("enrolment")
    for kind in (Challenge, Answer, Refused):
        if isinstance(value, Mapping) and value.get("type") == kind.KIND:
            return kind.from_map(value, place)
    raise place.malformed("a challenge, an answer or a refusal")


def message_digest(message: bytes) -> bytes:
    """How the next message names this one (a whole COSE_Sign1)."""
    return hashlib.sha256(message).digest()


def certify_qualifier(nonce: bytes) -> bytes:
    """The qualifyingData of the certifications in a proof: SHA-256 of deterministic CBOR [context, challenge nonce]."""
    return hashlib.sha256(cbor.encode([CERTIFY_CONTEXT, nonce])).digest()


def ueid(ek_hash: bytes) -> bytes:
    """The UEID of the gateway with this EK: 0x01 and the hash."""
    return bytes([UEID_RANDOM]) + ek_hash


def device_id(ueid: bytes) -> str:
    """MQTT client id and topic segment: the UEID's first 128 bits in hex."""
    return ueid[:16].hex()
