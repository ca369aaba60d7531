"""A ledger's checkpoints, held against its entries: the TPM saw them all, in this order, and saw nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from medvouch.crypto import merkle
from medvouch.crypto.checkpoints import VerifiedCheckpoint, verify_checkpoint
from medvouch.crypto.keys import PublicKey
from medvouch.errors import Refusal
from medvouch.formats.claims import LedgerHead
from medvouch.formats.ledger import UNWRITTEN_HEAD, CertifiedCheckpoint, extended
from medvouch.ledger import refusals
from medvouch.ledger.statements import VerifiedEntry


def verify_checkpoints(
    checkpoints: Sequence[CertifiedCheckpoint],
    entries: Sequence[VerifiedEntry],
    attestation_key: PublicKey,
    names: Mapping[str, bytes],
) -> tuple[VerifiedCheckpoint, ...]:
    """Check all checkpoints of a ledger from its first on.

    1. The TPM certified each.
    2. Counter and extend index lead from one to the next without a gap.
    3. The TPM's clock rises.
    4. The entries are the ones that the TPM was told.

    Raises Refusal `checkpoint-not-certified`, `ledger-checkpoint-gap`, `ledger-clock-went-back`, `ledger-truncated`,
    `ledger-forked`; the place of the last two is the first entry that nothing confirms.
    """
    verified = tuple(_certified(number, each, attestation_key, names) for number, each in enumerate(checkpoints))  # 1
    head, counter = UNWRITTEN_HEAD, None
    for number, each in enumerate(verified):  # 2
        found = each.checkpoint
        expected = found.counter if counter is None else counter + 1
        head = extended(head, found.root)
        if found.counter != expected or found.head != head:
            detail = f"checkpoint {number} has counter {found.counter}, or a head that does not follow"
            raise Refusal(refusals.CHECKPOINT_GAP, detail, place=f"checkpoint {number}")
        counter = found.counter
    for number, (one, other) in enumerate(itertools.pairwise(verified), 1):  # 3
        if other.clock.moment < one.clock.moment or other.checkpoint.size < one.checkpoint.size:
            detail = f"{other.clock} follows {one.clock}"
            raise Refusal(refusals.CHECKPOINT_CLOCK, detail, place=f"checkpoint {number}")
    check_heads([(each.checkpoint.size, each.checkpoint.root) for each in verified], entries)  # 4
    return verified


def _certified(
    number: int, certified: CertifiedCheckpoint, attestation_key: PublicKey, names: Mapping[str, bytes]
) -> VerifiedCheckpoint:
    try:
        return verify_checkpoint(certified, attestation_key, names)
    except Refusal as cause:
        raise Refusal(cause.kind, f"{cause.place}: {cause.detail}", place=f"checkpoint {number}") from cause


def check_heads(heads: Sequence[tuple[int, bytes]], entries: Sequence[VerifiedEntry]) -> None:
    """Check that the entries lead through all (size, root), sizes ascending.

    Raises Refusal `ledger-truncated`, `ledger-forked`; their place is the first entry that no earlier head confirms.
    """
    tree, confirmed = merkle.Frontier(), 0
    for size, root in heads:
        if size > len(entries):
            detail = f"{len(entries)} entries, {size} were confirmed"
            raise Refusal(refusals.LEDGER_TRUNCATED, detail, place=f"entry {len(entries)}")
        for entry in entries[tree.size : size]:
            tree.append(entry.leaf)
        if tree.root != root:
            detail = f"entries {confirmed} to {size - 1} are not the ones confirmed"
            raise Refusal(refusals.LEDGER_FORKED, detail, place=f"entry {confirmed}")
        confirmed = size


def head_of(entries: Sequence[VerifiedEntry], counter: int) -> LedgerHead:
    """The head that these entries make at a checkpoint counter."""
    return LedgerHead(len(entries), merkle.root([entry.leaf for entry in entries]), counter)
