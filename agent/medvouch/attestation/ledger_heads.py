"""The ledger as evidence shows it: does it continue what is known, and does the TPM confirm it (DESIGN §6, §8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medvouch.attestation import refusals
from medvouch.crypto import merkle
from medvouch.crypto.checkpoints import verify_checkpoint
from medvouch.crypto.keys import PublicKey
from medvouch.errors import Refusal
from medvouch.formats.eat import Eat, LedgerHead
from medvouch.formats.ledger import LedgerRecord
from medvouch.formats.tpm import Attest


@dataclass(frozen=True)
class LedgerExpectation:
    """What the appraiser knows of a device's ledger: the NV indexes' Names, and the head it last confirmed, if any."""

    nv_names: Mapping[str, bytes]
    last: LedgerHead | None = None


def consistent_head(
    record: bytes | None, claims: Eat, quote: Attest, attestation_key: PublicKey, expected: LedgerExpectation
) -> LedgerHead:
    """The head that signed claims name, once it is found to hold.

    1. There is a head, and the checkpoint that it names.
    2. The TPM certified that checkpoint of this device, in its past.
    3. Neither entries nor checkpoints are fewer than those known.
    4. The known ledger is the beginning of this one; so is the checkpoint's.

    Raises InputError `checkpoint-*`, Refusal `ledger-missing`, `checkpoint-not-certified`, `checkpoint-mismatch`,
    `ledger-rolled-back`, `ledger-history-changed`.
    """
    head = claims.ledger_head
    if record is None or head is None:  # 1
        raise Refusal(refusals.LEDGER_MISSING, "the claims name no head, or no checkpoint comes with them")
    shown = LedgerRecord.parse(record)
    verified = verify_checkpoint(shown.latest, attestation_key, expected.nv_names)  # 2
    checkpoint = verified.checkpoint
    if (
        checkpoint.counter != head.counter
        or checkpoint.size > head.size
        or verified.clock.moment > quote.clock_info.moment
    ):
        shows = f"checkpoint {checkpoint.counter} of {checkpoint.size} entries"
        detail = f"{shows} comes with it, the claims name {head.counter} of {head.size}"
        raise Refusal(refusals.CHECKPOINT_MISMATCH, detail)
    last = expected.last or LedgerHead(0, merkle.EMPTY_ROOT, 0)
    if head.size < last.size or head.counter < last.counter:  # 3
        detail = f"{head.size} entries at checkpoint {head.counter}, {last.size} at {last.counter} are known"
        raise Refusal(refusals.LEDGER_ROLLED_BACK, detail)
    for size, root, proof in (  # 4
        (last.size, last.root, shown.growth),
        (checkpoint.size, checkpoint.root, shown.anchoring),
    ):
        try:
            merkle.verify_consistency(size, root, head.size, head.root, proof)
        except Refusal as cause:
            raise Refusal(refusals.LEDGER_FORKED, cause.detail, place=f"entry {size}") from cause
    return head
