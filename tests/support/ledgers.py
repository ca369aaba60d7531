"""Ledgers made byte for byte with software keys, as an agent and its TPM make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medvouch.crypto import merkle
from medvouch.crypto.checkpoints import COUNTER, HEAD
from medvouch.crypto.keys import SoftwareSigner
from medvouch.formats.ledger import UNWRITTEN_HEAD, CertifiedCheckpoint, Checkpoint, Entry, Statement, extended
from medvouch.formats.tpm import Attest, AttestType, ClockInfo, NvInfo, SignedAttest
from medvouch.ledger.statements import Author, digests, sign_entry
from support.authorities import key
from support.evidence import DEVICE, QUALIFIED_SIGNER, UEID, signed

LDEVID, LAK = SoftwareSigner(key("ldevid")), key("lak")
AUTHOR = Author(DEVICE, UEID)
NAMES = {COUNTER: b"\x00\x0b" + b"c" * 32, HEAD: b"\x00\x0b" + b"h" * 32}
FIRST_COUNTER = 7
"""Where a TPM's counters begin is not ours to choose."""


def statement(index: int, **changes: Any) -> Statement:
    """`note` goes from one number to the next."""
    before = "" if index == 0 else str(index - 1)
    plain = Statement(
        index, "note", before, str(index), "time", "somebody", "Owner", 1_800_000_000_000, "clock", "1.0", "", {}
    )  # fmt: skip
    return replace(plain, **changes)


def entry(index: int, attachments: Mapping[str, bytes] | None = None, **changes: Any) -> Entry:
    kept = attachments or {}
    named = {"digests": digests(kept), **changes}
    return sign_entry(statement(index, **named), kept, LDEVID, AUTHOR)


def entries(count: int) -> list[Entry]:
    return [entry(index) for index in range(count)]


def root(of: Sequence[Entry]) -> bytes:
    return merkle.root([merkle.leaf_hash(each.statement) for each in of])


@dataclass
class Notary:
    """A TPM with the two indexes; `clock` moves with every command."""

    clock: ClockInfo = field(default_factory=lambda: ClockInfo(1000, 3, 0, True))
    counter: int = FIRST_COUNTER - 1
    head: bytes = UNWRITTEN_HEAD

    def certify(
        self, name: str, contents: bytes, qualifier: bytes, *, offset: int = 0, index: str | None = None
    ) -> SignedAttest:
        info = NvInfo(NAMES[index or name], offset, contents)
        self.clock = replace(self.clock, clock=self.clock.clock + 1)
        return signed(Attest(AttestType.NV, QUALIFIED_SIGNER, qualifier, self.clock, 1, info), LAK)

    def certified(self, checkpoint: Checkpoint) -> CertifiedCheckpoint:
        counter, qualifier = checkpoint.counter.to_bytes(8, "big"), checkpoint.digest()
        by = self.certify(COUNTER, counter, qualifier), self.certify(HEAD, checkpoint.head, qualifier)
        return CertifiedCheckpoint(checkpoint, *by)

    def checkpoint(self, of: Sequence[Entry]) -> CertifiedCheckpoint:
        """Of a ledger as it is now."""
        self.counter, self.head = self.counter + 1, extended(self.head, root(of))
        return self.certified(Checkpoint(DEVICE, len(of), root(of), self.counter, self.head))
