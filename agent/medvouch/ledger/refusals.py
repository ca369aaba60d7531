"""Refusals of a ledger: which entry is the first that does not hold, and why."""

from __future__ import annotations

from medvouch.errors import RefusalKind, refusal_table

ENTRY_FORGED = RefusalKind(
    "ledger-entry-forged",
    "An entry of the ledger was not signed by the device it is of, or was changed afterwards.",
    "believe nothing from this entry on; get the ledger again from the device or from the collector",
)
ENTRY_MISSING = RefusalKind(
    "ledger-entry-missing",
    "An entry of the ledger was taken out, put in or moved.",
    "believe nothing from this entry on; get the ledger again from the device or from the collector",
)
ATTACHMENT_MISMATCH = RefusalKind(
    "ledger-attachment-mismatch",
    "What is attached to an entry is not what the entry names.",
    "get the ledger again from the device or from the collector",
)
TRANSITION_BROKEN = RefusalKind(
    "ledger-transition-broken",
    "An entry begins in another state than the entry before it left.",
    "treat the device as compromised: its agent records no such transition",
)
LEDGER_TRUNCATED = RefusalKind(
    "ledger-truncated",
    "The ledger ends before entries that the TPM or an appraiser has confirmed.",
    "get the whole ledger from the device; if it has no more, its state was put back or destroyed",
)
LEDGER_FORKED = RefusalKind(
    "ledger-forked",
    "The entries are not the ones that the TPM or an appraiser has confirmed.",
    "treat the device as compromised; keep both ledgers, they are the evidence",
)
CHECKPOINT_GAP = RefusalKind(
    "ledger-checkpoint-gap",
    "A checkpoint of the ledger is missing: the TPM counted more, or extended something else.",
    "get the whole ledger from the device; if it has no more, its state was put back or destroyed",
)
CHECKPOINT_CLOCK = RefusalKind(
    "ledger-clock-went-back",
    "A checkpoint was certified before the one it follows.",
    "treat the ledger as put together from parts",
)
BEHIND_TPM = RefusalKind(
    "ledger-behind-tpm",
    "The TPM has seen more of the ledger than the disk holds: the disk was put back to an earlier state, or changed.",
    "find out who had access to the disk; restore the newest state, or have the owner clear and enrol the device again",
)
TPM_BEHIND = RefusalKind(
    "tpm-behind-ledger",
    "The disk holds checkpoints that the TPM knows nothing of: the TPM was cleared, replaced or put back.",
    "find out who had physical access; have the owner clear the TPM and enrol the device again",
)

TABLE = refusal_table(globals())
