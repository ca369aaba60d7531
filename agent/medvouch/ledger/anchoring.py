"""The device's side of checkpoints: the TPM is told of the ledger, and power may go between any two commands.

What is to be done is written to the disk first (`Intent`); from what the TPM then holds follows how far it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from medvouch.crypto.checkpoints import COUNTER, HEAD
from medvouch.errors import Refusal, TpmFault
from medvouch.formats.ledger import UNWRITTEN_HEAD, CertifiedCheckpoint, Checkpoint, Sha256, extended
from medvouch.formats.record import Record, Uint
from medvouch.formats.tpm_public import NvAttribute, NvPublic
from medvouch.ledger import refusals
from medvouch.ports import KeyHandle, Tpm


@dataclass(frozen=True)
class Reading:
    """What the two indexes hold; a counter of 0 and a head of zeros were never written."""

    counter: int
    head: bytes


@dataclass(frozen=True)
class Intent(Record):
    """A checkpoint that is to be made: the ledger of `size` entries with `root`, after what the TPM held before."""

    FORMAT = "intent"

    size: Annotated[int, Uint(2**32 - 1)]
    root: Sha256
    counter_before: Annotated[int, Uint(2**64 - 1)]
    head_before: Sha256


@dataclass(frozen=True)
class Anchor:
    """The ledger's indexes in a TPM, with their authorisations, and the key that certifies them.

    `indexes` and `auths` are by the names COUNTER and HEAD. Blocking; raises TpmFault.
    """

    tpm: Tpm
    key: KeyHandle
    indexes: Mapping[str, int]
    auths: Mapping[str, bytes]

    def reading(self) -> Reading:
        """What the TPM holds now. Raises TpmFault `tpm-not-provisioned` where an index is not there."""
        counter, head = self._read(COUNTER), self._read(HEAD)
        return Reading(int.from_bytes(counter or b"", "big"), head or UNWRITTEN_HEAD)

    def intend(self, size: int, root: bytes, last: Checkpoint | None) -> Intent:
        """What is to be made durable before `carry_out`; `last` is the checkpoint before.

        Raises Refusal `ledger-behind-tpm`, `tpm-behind-ledger` where the TPM does not hold what `last` says.
        """
        now = self.reading()
        expected = Reading(last.counter, last.head) if last else Reading(0, UNWRITTEN_HEAD)
        if now != expected:
            detail = f"the TPM is at checkpoint {now.counter}, the disk at {last.counter if last else 'none'}"
            earlier = now.counter < expected.counter
            raise Refusal(refusals.TPM_BEHIND if earlier else refusals.BEHIND_TPM, detail)
        return Intent(size, root, now.counter, now.head)

    def carry_out(self, intent: Intent, device: str) -> CertifiedCheckpoint:
        """Do what of an intent is not done yet, and have both indexes certified.

        Raises Refusal `ledger-behind-tpm` where somebody else has written to them.
        """
        before = self.reading()
        if before.head == intent.head_before:
            self.tpm.nv_extend(self.indexes[HEAD], self.auths[HEAD], intent.root)
        if before.counter == intent.counter_before:
            self.tpm.nv_increment(self.indexes[COUNTER], self.auths[COUNTER])
        now = self.reading()
        followed = intent.counter_before == 0 or now.counter == intent.counter_before + 1
        if now.head != extended(intent.head_before, intent.root) or not followed:
            raise Refusal(refusals.BEHIND_TPM, f"the TPM is at checkpoint {now.counter}, and not by this ledger")
        checkpoint = Checkpoint(device, intent.size, intent.root, now.counter, now.head)
        qualifier = checkpoint.digest()
        certified = {
            name: self.tpm.nv_certify(self.indexes[name], self.auths[name], self.key, qualifier)
            for name in (COUNTER, HEAD)
        }
        return CertifiedCheckpoint(checkpoint, certified[COUNTER], certified[HEAD])

    def _read(self, name: str) -> bytes | None:
        index = self.indexes[name]
        public = self.tpm.nv_read_public(index)
        if public is None:
            remedy = "enrol the device (again)"
            raise TpmFault("tpm-not-provisioned", f"the index of the {name} is not there", remedy=remedy)
        written = NvPublic.parse(public).attributes & NvAttribute.WRITTEN
        return self.tpm.nv_read(index, self.auths[name]) if written else None
