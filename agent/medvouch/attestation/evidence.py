"""Evidence as it travels: one CMW collection of records (RFC 9999), and what binds them together.

The attester makes the records in this order, so that each covers what stands before it: the EAT payload, then the quote
over its digest, then the logs, which may grow meanwhile; the verifier drops what came after the quote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from medvouch.attestation import refusals
from medvouch.attestation.quotes import PcrValues
from medvouch.errors import InputError, Refusal
from medvouch.formats import cbor
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cmw import Collection, Indicator, Record
from medvouch.formats.cose import Sign1
from medvouch.formats.eat import Eat, LedgerHead
from medvouch.formats.tpm import SignedAttest

COLLECTION_TYPE = "urn:uuid:157fd125-3352-41e4-9c9c-1a6a7e973da7"

EAT_CONTENT_TYPE = "application/eat+cwt"
MEDIA_TYPES = {
    "eat": EAT_CONTENT_TYPE,
    "quote": "application/vnd.medvouch.tpm-quote+cbor",
    "uefi": "application/vnd.medvouch.tcg2-log",
    "systemd": "application/vnd.medvouch.systemd-tpm2-measure",
    "ima": "application/vnd.medvouch.ima-binary",
    "checkpoint": "application/vnd.medvouch.checkpoint+cbor",
    "suit-report": "application/vnd.medvouch.suit-report+cbor",
}
REQUIRED_LABELS = frozenset({"eat", "quote", "uefi"})
MAX_EVIDENCE_BYTES = 32 * 1024 * 1024
MAX_CERTIFICATE_BYTES = 8192
MAX_STRUCTURE_BYTES = 2048
"""Bound of a TPMS_ATTEST, TPMT_SIGNATURE or TPMT_PUBLIC; real ones stay under 1 KiB."""


def qualifying_data(appraiser: str, nonce: bytes, eat_payload: bytes) -> bytes:
    """What the quote signs over: this appraiser, this challenge, exactly these claims. 32 bytes."""
    claims = hashlib.sha256(eat_payload).digest()
    return hashlib.sha256(cbor.encode(["medvouch/1", appraiser, nonce, claims])).digest()


def evidence_digest(evidence: bytes) -> bytes:
    """SHA-256 over encoded evidence, as results refer to it."""
    return hashlib.sha256(evidence).digest()


@dataclass(frozen=True)
class QuoteRecord:
    """The record `quote`: a CBOR map of what TPM2_Quote gave and who says whose key it is.

    ::

        1: TPMS_ATTEST of the quote        4: LAK certificate (DER)
        2: TPMT_SIGNATURE of the quote     5: TPMT_PUBLIC of the LDevID
        3: {bank: {pcr: value}}            6: TPMS_ATTEST, 7: TPMT_SIGNATURE of TPM2_Certify(LDevID) by the LAK
    """

    quote: SignedAttest
    pcrs: PcrValues
    lak_certificate: bytes
    ldevid_public: bytes
    ldevid_certify: SignedAttest

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        return cbor.encode(
            {
                1: self.quote.attest,
                2: self.quote.signature,
                3: {int(bank): dict(values) for bank, values in self.pcrs.items()},
                4: self.lak_certificate,
                5: self.ldevid_public,
                6: self.ldevid_certify.attest,
                7: self.ldevid_certify.signature,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> QuoteRecord:
        """From CBOR; InputError `quote-*` where it is not of this form."""
        fields = cbor.decode(data)
        if not isinstance(fields, dict) or list(fields) != [1, 2, 3, 4, 5, 6, 7]:
            raise InputError("quote-malformed", "not a map of the keys 1 to 7")
        return cls(
            quote=SignedAttest(_bytes(fields, 1, MAX_STRUCTURE_BYTES), _bytes(fields, 2, MAX_STRUCTURE_BYTES)),
            pcrs=_parse_pcrs(fields[3]),
            lak_certificate=_bytes(fields, 4, MAX_CERTIFICATE_BYTES),
            ldevid_public=_bytes(fields, 5, MAX_STRUCTURE_BYTES),
            ldevid_certify=SignedAttest(_bytes(fields, 6, MAX_STRUCTURE_BYTES), _bytes(fields, 7, MAX_STRUCTURE_BYTES)),
        )


def _bytes(fields: Mapping[object, object], key: int, limit: int) -> bytes:
    value = fields[key]
    if not isinstance(value, bytes):
        raise InputError("quote-malformed", "not a byte string", place=f"key {key}")
    if len(value) > limit:
        raise InputError("quote-limit", f"{len(value)} bytes where at most {limit} are allowed", place=f"key {key}")
    return value


def _parse_pcrs(value: object) -> PcrValues:
    if not isinstance(value, dict):
        raise InputError("quote-malformed", "PCR values are not a map", place="key 3")
    return {_parse_bank(bank): _parse_values(bank, values) for bank, values in value.items()}


def _parse_bank(value: object) -> HashAlg:
    if type(value) is not int or value not in HashAlg.__members__.values():
        raise InputError("quote-malformed", f"{value!r} is no PCR bank that we know", place="key 3")
    return HashAlg(value)


def _parse_values(bank: int, values: object) -> dict[int, bytes]:
    size = HashAlg(bank).size
    if not isinstance(values, dict):
        raise InputError("quote-malformed", "a bank is not a map", place="key 3")
    for pcr, digest in values.items():
        if type(pcr) is not int or not 0 <= pcr < 24 or not isinstance(digest, bytes) or len(digest) != size:
            raise InputError("quote-malformed", "not a PCR number with a digest of its bank", place=f"PCR {pcr!r}")
    return values


@dataclass(frozen=True)
class UnverifiedEvidence:
    """Parsed evidence that nothing vouches for yet; `data` is the encoded whole that results refer to by digest."""

    eat: bytes
    quote: QuoteRecord
    uefi: bytes
    systemd: bytes | None
    ima: bytes | None
    data: bytes
    checkpoint: bytes | None = None
    suit_report: bytes | None = None

    @classmethod
    def parse(cls, data: bytes) -> UnverifiedEvidence:
        """From a CMW collection.

        Raises InputError where it is malformed, Refusal `evidence-label-unknown`, `evidence-label-missing` or
        `evidence-media-type` where its records are not the ones of this profile.
        """
        if len(data) > MAX_EVIDENCE_BYTES:
            raise InputError("evidence-limit", f"{len(data)} bytes where at most {MAX_EVIDENCE_BYTES} are allowed")
        collection = Collection.parse(data)
        if collection.type != COLLECTION_TYPE:
            raise Refusal(refusals.EVIDENCE_MEDIA_TYPE, f"a collection of type {collection.type!r}", place="collection")
        records = collection.records
        for label in records:
            if label not in MEDIA_TYPES:
                raise Refusal(refusals.EVIDENCE_LABEL_UNKNOWN, f"{label!r} is bound by nothing", place=str(label))
        for label in sorted(REQUIRED_LABELS - records.keys()):
            raise Refusal(refusals.EVIDENCE_LABEL_MISSING, f"there is no record {label!r}", place=label)
        values = {str(label): _value(str(label), record) for label, record in records.items()}
        return cls(
            eat=values["eat"],
            quote=QuoteRecord.parse(values["quote"]),
            uefi=values["uefi"],
            systemd=values.get("systemd"),
            ima=values.get("ima"),
            data=data,
            checkpoint=values.get("checkpoint"),
            suit_report=values.get("suit-report"),
        )


def _value(label: str, record: Record | Collection) -> bytes:
    if (
        not isinstance(record, Record)
        or record.media_type != MEDIA_TYPES[label]
        or record.indicator != Indicator.EVIDENCE
    ):
        raise Refusal(refusals.EVIDENCE_MEDIA_TYPE, f"not evidence of type {MEDIA_TYPES[label]}", place=label)
    return record.value


def encode_evidence(
    eat: bytes,
    quote: QuoteRecord,
    uefi: bytes,
    systemd: bytes | None,
    ima: bytes | None,
    checkpoint: bytes | None = None,
    suit_report: bytes | None = None,
) -> bytes:
    """The CMW collection of these records."""
    values = {
        "eat": eat,
        "quote": quote.encode(),
        "uefi": uefi,
        "systemd": systemd,
        "ima": ima,
        "checkpoint": checkpoint,
        "suit-report": suit_report,
    }
    return collect(values)


def collect(values: Mapping[str, bytes | None]) -> bytes:
    """The CMW collection of these records, encoded, by label; those that are None are left out."""
    records: dict[str | int, Record | Collection] = {
        label: Record(MEDIA_TYPES[label], value, Indicator.EVIDENCE)
        for label, value in values.items()
        if value is not None
    }
    return Collection(COLLECTION_TYPE, records).encode()


def claimed_head(evidence: bytes) -> LedgerHead | None:
    """The ledger head that one's own evidence claims. Raises InputError, Refusal as `UnverifiedEvidence.parse`."""
    message = Sign1.parse(UnverifiedEvidence.parse(evidence).eat)
    return Eat.parse(message.payload or b"").ledger_head
