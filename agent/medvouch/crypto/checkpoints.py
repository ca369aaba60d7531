"""Whether a TPM confirms a checkpoint of a ledger (DESIGN §8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medvouch.crypto import refusals
from medvouch.crypto.keys import PublicKey
from medvouch.crypto.tpm import verify_attest
from medvouch.errors import InputError, Refusal
from medvouch.formats.ledger import CertifiedCheckpoint, Checkpoint
from medvouch.formats.tpm import ClockInfo, NvInfo, SignedAttest

COUNTER, HEAD = "ledger-counter", "ledger-head"
"""Names of the two NV indexes, as enrolment names them."""
COUNTER_BYTES = 8


@dataclass(frozen=True)
class VerifiedCheckpoint:
    """A checkpoint that the TPM confirmed, and its clock as it did; built by `verify_checkpoint` alone."""

    checkpoint: Checkpoint
    clock: ClockInfo


def verify_checkpoint(
    certified: CertifiedCheckpoint, attestation_key: PublicKey, names: Mapping[str, bytes]
) -> VerifiedCheckpoint:
    """Check both certifications of a checkpoint; `names` are the indexes' Names by COUNTER and HEAD.

    Raises Refusal `checkpoint-not-certified` with the index in its place.
    """
    checkpoint = certified.checkpoint
    counter = checkpoint.counter.to_bytes(COUNTER_BYTES, "big")
    digest = checkpoint.digest()
    _check(certified.counter, attestation_key, names.get(COUNTER), counter, digest, COUNTER)
    clock = _check(certified.head, attestation_key, names.get(HEAD), checkpoint.head, digest, HEAD)
    return VerifiedCheckpoint(checkpoint, clock)


def _check(
    signed: SignedAttest, key: PublicKey, name: bytes | None, contents: bytes, qualifier: bytes, place: str
) -> ClockInfo:
    try:
        attest = verify_attest(signed, key).attest
    except (Refusal, InputError) as cause:
        raise Refusal(refusals.CHECKPOINT_NOT_CERTIFIED, f"{cause.code}: {cause.detail}", place=place) from cause
    found = attest.attested
    if not isinstance(found, NvInfo) or found.index_name != name:
        raise Refusal(refusals.CHECKPOINT_NOT_CERTIFIED, "another object was certified than the index", place=place)
    if found.offset != 0 or found.contents != contents:
        detail = f"the index holds {found.contents.hex()}, the checkpoint says {contents.hex()}"
        raise Refusal(refusals.CHECKPOINT_NOT_CERTIFIED, detail, place=place)
    if attest.extra_data != qualifier:
        raise Refusal(refusals.CHECKPOINT_NOT_CERTIFIED, "it was certified for another checkpoint", place=place)
    return attest.clock_info
