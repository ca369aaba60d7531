"""Refusals of the daemon."""

from __future__ import annotations

from medvouch.errors import RefusalKind, refusal_table

COMMAND_MISADDRESSED = RefusalKind(
    "command-misaddressed",
    "A signed command stands on the topic of another command.",
    "find out who moves commands between topics",
)
COMMAND_UNKNOWN = RefusalKind(
    "command-unknown",
    "This agent knows no such command.",
    "use a command of the agent's version",
)
COMMAND_REPLAYED = RefusalKind(
    "command-replayed",
    "This command was taken before; commands run once.",
    "issue a new command; find out who replays this one",
)
COMMAND_MALFORMED = RefusalKind(
    "command-malformed",
    "The arguments of a signed command are not what the command takes.",
    "issue the command with the arguments of its documentation",
)
SLOT_FELL_BACK = RefusalKind(
    "slot-fell-back",
    "The new release did not come up; the device runs the old one again.",
    "look at the release on a device like this one; direct the device to a mended release",
)
SLOT_MISMATCH = RefusalKind(
    "slot-mismatch",
    "The slot does not hold what was written to it, or was changed since.",
    "check the device's storage; the update is tried again when it is directed anew",
)
DATA_MIGRATION_FAILED = RefusalKind(
    "data-migration-failed",
    "The new release could not make the product's data its own; the device goes back to the old one, which reads it.",
    "run the release's `migrate_command` on a copy of such data; direct the device to a mended release",
)
SLOT_LOST = RefusalKind(
    "slot-lost",
    "The slot could not be read back, time after time: what was written there is lost.",
    "replace the device's storage, or the device; the running slot goes on",
)
REFERENCE_OF_ANOTHER_SYSTEM = RefusalKind(
    "reference-of-another-system",
    "Where the release changes nothing, its reference values are not what this device measures: it would fail.",
    "predict them for the system that this device runs, or update that first; nothing was changed",
)
UPDATES_OFF = RefusalKind(
    "updates-off",
    "This device does not install updates by itself.",
    "set `repository` in `[update]` of its configuration, or update it by the means its maker provides",
)
FLOOR_APPROVAL_SPENT = RefusalKind(
    "floor-approval-spent",
    "An approval is for another value of the floor's counter than it has: it was used before, or comes too early.",
    "ask the floor authority for an approval of this device's present counter; find out who replays this one",
)
DEVICE_FROZEN = RefusalKind(
    "device-frozen",
    "The device is about to be decommissioned: it answers challenges, and changes no more.",
    "finish the decommissioning",
)
DEVICE_NOT_FROZEN = RefusalKind(
    "device-not-frozen",
    "A device is sanitised only after it was frozen.",
    "freeze the device, challenge it, then sanitise it",
)
RECEIPT_MISSING = RefusalKind(
    "receipt-missing",
    "No appraiser has confirmed the ledger as it ends, so sanitising would destroy what nobody has vouched for.",
    "challenge the frozen device, and sanitise it once the affirming verdict has come home",
)
NOT_ENROLLED = RefusalKind(
    "not-enrolled",
    "The device has no identity in service yet.",
    "wait for the enrolment to end; `medvouch status` shows what it waits for",
)

TABLE = refusal_table(globals())
