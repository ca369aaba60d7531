"""Refusals of what joins several cores: bundles of a whole life."""

from __future__ import annotations

from medvouch.errors import RefusalKind, refusal_table

BUNDLE_ANSWER_UNTRUSTED = RefusalKind(
    "bundle-answer-untrusted",
    "The bundle does not begin with an enrolment that a trusted authority answered for.",
    "find out who enrolled the device; where that authority is to be trusted, use a trust document that names it",
)
BUNDLE_OTHER_DEVICE = RefusalKind(
    "bundle-other-device",
    "A part of the bundle is about another device.",
    "get the bundle again from the device or from the collector; whoever put this one together is not to be believed",
)
BUNDLE_ATTACHMENT_MISSING = RefusalKind(
    "bundle-attachment-missing",
    "A verdict or a command that an entry names was left out of the bundle.",
    "get the whole bundle from the device or from the collector",
)
BUNDLE_VERDICT_UNTRUSTED = RefusalKind(
    "bundle-verdict-untrusted",
    "What the bundle shows as a verdict is none of a trusted appraiser, or another one than the entry says.",
    "do not believe what the device says of its verdicts; where the appraiser is to be trusted, use a trust document"
    " that names it",
)
BUNDLE_COMMAND_UNTRUSTED = RefusalKind(
    "bundle-command-untrusted",
    "What the bundle shows as a command was not signed by a trusted commander.",
    "do not believe that anybody ordered it; where the commander is to be trusted, use a trust document that names it",
)
BUNDLE_RECEIPT_MISMATCH = RefusalKind(
    "bundle-receipt-mismatch",
    "The receipt is not for this ledger as it stands: entries or checkpoints were left out or added at its end.",
    "get the bundle again from the device or from the collector",
)
BUNDLE_SANITISATION_UNPROVEN = RefusalKind(
    "bundle-sanitisation-unproven",
    "Nothing proves that the keys and data of the device were destroyed.",
    "treat the device as if it still held them: have it cleared, and have it prove that",
)

TABLE = refusal_table(globals())
