"""The ledger of one device: statements, checkpoints, and the bundle that carries a whole life (DESIGN §8).

A statement is the payload of a COSE_Sign1 by the device's LDevID, whose protected header names issuer and subject as
CWT claims (SCITT shape; RFC 9597): {15: {1: device id, 2: UEID in hex}}. That COSE_Sign1 is a leaf of the Merkle tree.
What a statement is about is attached to it and named in it by digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Self

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.cose import Header
from medvouch.formats.enrolment import Certified, DeviceId
from medvouch.formats.record import Embedded, Many, Named, Nested, Octets, Place, Record, Text, Uint

CONTENT_TYPE = "application/vnd.medvouch.statement+cbor"
CWT_CLAIMS = 15
"""COSE header parameter (RFC 9597)."""
_ISSUER, _SUBJECT = 1, 2

MAX_STATEMENT_BYTES = 8 * 1024
"""Of the whole COSE_Sign1."""
MAX_ATTACHMENTS = 8
MAX_ATTACHMENT_BYTES = 1 << 20
MAX_ENTRIES = 8192
MAX_CHECKPOINTS = 8192
MAX_BUNDLE_BYTES = 32 << 20
MAX_NONCE_BYTES = 64

Sha256 = Annotated[bytes, Octets(32, exact=True)]
Word = Annotated[str, Text(64)]
Attachments = Mapping[str, bytes]

_ATTACHMENTS = Named(Octets(MAX_ATTACHMENT_BYTES), MAX_ATTACHMENTS)


class Transition(NamedTuple):
    """A state machine's step; `before` is empty where the machine begins."""

    machine: str
    before: str
    after: str
    cause: str


@dataclass(frozen=True)
class Statement(Record):
    """One thing that happened: `machine` (life, update, trust, ...) went from `before` to `after`, because of `cause`.

    `index` counts from 0. `actor` did it, `owner` answers for it. `time_ms` since 1970, by `time_source`: `clock` (it
    was synchronised) or `unsynchronised`. `boot` is resetCount.restartCount. `digests` are SHA-256 by name.
    """

    FORMAT = "ledger"

    index: Annotated[int, Uint(2**32 - 1)]
    machine: Word
    before: Annotated[str, Text(64, empty=True)]
    after: Word
    cause: Word
    actor: Annotated[str, Text(128)]
    owner: Annotated[str, Text(256, empty=True)]
    time_ms: Annotated[int, Uint()]
    time_source: Word
    boot: Word
    detail: Annotated[str, Text(1024, empty=True)]
    digests: Annotated[Mapping[str, bytes], Named(Octets(32, exact=True), 2 * MAX_ATTACHMENTS)]


def statement_header(device: str, ueid: bytes) -> Header:
    """The protected header that says whose statement it is."""
    return {CWT_CLAIMS: {_ISSUER: device, _SUBJECT: ueid.hex()}}


@dataclass(frozen=True)
class Entry(Record):
    """A signed statement with what it names by digest, or as much of that as was kept."""

    FORMAT = "ledger"

    statement: Annotated[bytes, Octets(MAX_STATEMENT_BYTES)]
    attachments: Annotated[Attachments, _ATTACHMENTS]


@dataclass(frozen=True)
class Checkpoint(Record):
    """The ledger at one moment, as the TPM was told it: `size` entries with Merkle `root`.

    `counter` is what the counter index holds with it, `head` the extend index: SHA-256(its value before || root).
    """

    FORMAT = "checkpoint"

    device: DeviceId
    size: Annotated[int, Uint(2**32 - 1)]
    root: Sha256
    counter: Annotated[int, Uint(2**64 - 1)]
    head: Sha256

    def digest(self) -> bytes:
        """The qualifyingData of its certifications."""
        return hashlib.sha256(self.encode()).digest()


@dataclass(frozen=True)
class CertifiedCheckpoint(Record):
    """A checkpoint, and the TPM's word for it: TPM2_NV_Certify of both indexes by the LAK."""

    FORMAT = "checkpoint"

    checkpoint: Annotated[Checkpoint, Nested(Checkpoint)]
    counter: Certified
    head: Certified


MAX_PROOF = 64
"""Hashes of a proof: no tree has more levels than a size has bits."""
Proof = Annotated[tuple[bytes, ...], Many(Octets(32, exact=True), MAX_PROOF)]


@dataclass(frozen=True)
class LedgerRecord(Record):
    """The record `checkpoint` of evidence: the latest checkpoint, and two consistency proofs to the head claimed.

    `since` is the size that the challenge named; `growth` leads from there, `anchoring` from the checkpoint.
    """

    FORMAT = "checkpoint"

    latest: Annotated[CertifiedCheckpoint, Nested(CertifiedCheckpoint)]
    since: Annotated[int, Uint(2**32 - 1)]
    growth: Proof
    anchoring: Proof


@dataclass(frozen=True)
class Bundle(Record):
    """The ledger of a device from its enrolment on, to be judged without the device and without its maker.

    Entries and checkpoints stand in it as they are kept, encoded. `receipt` is the appraiser's result (EAR) on the last
    head, `sanitisation` the proof that the TPM was cleared, `nonce` what it was asked with; empty where there is none.
    """

    FORMAT = "bundle"
    KIND = "medvouch-bundle"

    device: DeviceId
    entries: Annotated[tuple[Entry, ...], Many(Embedded(Entry), MAX_ENTRIES)]
    checkpoints: Annotated[tuple[CertifiedCheckpoint, ...], Many(Embedded(CertifiedCheckpoint), MAX_CHECKPOINTS)]
    receipt: Annotated[bytes, Octets(MAX_ATTACHMENT_BYTES)]
    sanitisation: Annotated[bytes, Octets(MAX_ATTACHMENT_BYTES)]
    nonce: Annotated[bytes, Octets(MAX_NONCE_BYTES)]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Refuses more than MAX_BUNDLE_BYTES before it reads them; what is wrong inside `entry N` is placed there."""
        if len(data) > MAX_BUNDLE_BYTES:
            raise Place(cls.FORMAT).over(len(data), MAX_BUNDLE_BYTES)
        try:
            return super().parse(data)
        except InputError as error:
            raise InputError(error.code, error.detail, place=_part(error.place)) from error

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Refuses a nonce without what it is for, and the reverse: nothing would vouch for it."""
        bundle = super().from_map(value, place)
        if bool(bundle.sanitisation) != bool(bundle.nonce):
            raise (place / "nonce").malformed("sanitisation and its nonce, or neither of them")
        return bundle


def extended(head: bytes, root: bytes) -> bytes:
    """What an extend index (SHA-256) holds after TPM2_NV_Extend of `root` (Part 3, 31.9); it begins as zeros."""
    return hashlib.sha256(head + root).digest()


UNWRITTEN_HEAD = bytes(32)
"""What an extend index counts as before it is first written."""


def _part(place: str) -> str:
    """`entry N` for what the path `/entries/N` leads to, likewise for checkpoints."""
    for name, part in (("entries", "entry"), ("checkpoints", "checkpoint")):
        place = place.replace(f"/{name}/", f"{part} ")
    return place


_MARK = cbor.encode("type") + cbor.encode(Bundle.KIND)
"""The shortest name comes first in deterministic CBOR (RFC 8949, 4.2.1), after the head of the map."""


def is_bundle(data: bytes) -> bool:
    """Whether these bytes begin as one, be it whole or not."""
    return data[1 : 1 + len(_MARK)] == _MARK
