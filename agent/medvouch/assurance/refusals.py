"""Refusals of what joins several cores: bundles of a whole life, rollouts, and what is said of a whole fleet."""

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

# --- rollouts --------------------------------------------------------------------------------------------------------

ROLLOUT_OVER = RefusalKind(
    "rollout-over",
    "The rollout would be over before it begins.",
    "set a later day as `until` in the plan",
)
ROLLOUT_DEVICE_UNKNOWN = RefusalKind(
    "rollout-device-unknown",
    "A cohort names a device that the fleet file does not have.",
    "correct the UEID in the plan, or add the device to the fleet file",
)
ROLLOUT_COHORT_EMPTY = RefusalKind(
    "rollout-cohort-empty",
    "No device belongs to a cohort, so its waves would count without having proven anything.",
    "correct what the cohort takes: earlier cohorts take first",
)
ROLLOUT_NAME_TAKEN = RefusalKind(
    "rollout-name-taken",
    "There was a rollout of this name already.",
    "give the new one a name of its own",
)
ROLLOUT_OVERLAP = RefusalKind(
    "rollout-overlap",
    "Some of the devices are in another rollout that runs, and each device has one directive.",
    "halt the other rollout, or leave its devices out of this one",
)
ROLLOUT_NOT_RUNNING = RefusalKind(
    "rollout-not-running",
    "The rollout cannot be halted: it does not run.",
    "look at it with `medvouch release rollout status`",
)
ROLLOUT_NOT_HALTED = RefusalKind(
    "rollout-not-halted",
    "The rollout cannot be resumed: it was not halted.",
    "look at it with `medvouch release rollout status`",
)

# --- fleets ----------------------------------------------------------------------------------------------------------

FLEET_INCOMPLETE = RefusalKind(
    "fleet-incomplete",
    "A device proves its life and is not on the list of all devices, so no share of that list would be true.",
    "add it to the fleet file; where it is no device of that fleet, take its ledger out of the folder",
)

TABLE = refusal_table(globals())
