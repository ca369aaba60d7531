"""How far an update has come, as one table (DESIGN §7)."""

from __future__ import annotations

import enum

from medvouch.errors import Refusal
from medvouch.formats.directive import RECOVERY, ROLLBACK, UPDATE
from medvouch.update import refusals


class Update(enum.StrEnum):
    """Where an update stands."""

    NONE = "none"
    NOTIFIED = "notified"
    """A release was directed to this device, and admitted."""
    STAGED = "staged"
    """It is whole in the other slot, and was read back from there; or where parts wait to be installed."""
    ACTIVATED = "activated"
    """The next start tries it, once."""
    BOOTED = "booted"
    """It is running."""
    SELF_CHECKED = "self_checked"
    """It booted as its own reference values say; every start boots it now. Nobody else has confirmed that yet."""
    CLOSED = "closed"
    """An appraiser has."""
    FAILED = "failed"
    """Another slot is running, and goes on to; of what has no slot, the next release has to mend it."""
    WITHDRAWN = "withdrawn"
    """The director took it back before it was to be started. That is no failure: it may be directed again."""


class Cause(enum.StrEnum):
    """What moves an update on."""

    NOTIFY = "notify"
    ROLL_BACK = "rollback"
    """As NOTIFY, to a release before the one that is installed."""
    RECOVER = "recover"
    """As NOTIFY, to a way out."""
    STAGE = "stage"
    ACTIVATE = "activate"
    BOOT = "boot"
    SELF_CHECK = "self-check"
    CLOSE = "close"
    FAIL = "fail"
    WITHDRAW = "withdraw"
    FALL_BACK = "fall-back"
    """The device started from the old slot again before the new one was confirmed."""


BEGINNINGS = {UPDATE: Cause.NOTIFY, ROLLBACK: Cause.ROLL_BACK, RECOVERY: Cause.RECOVER}
"""What an update begins with, by the purpose of its directive."""

TRANSITIONS: dict[tuple[Update, Cause], Update] = {
    (Update.NONE, Cause.NOTIFY): Update.NOTIFIED,
    (Update.CLOSED, Cause.NOTIFY): Update.NOTIFIED,
    (Update.FAILED, Cause.NOTIFY): Update.NOTIFIED,
    (Update.WITHDRAWN, Cause.NOTIFY): Update.NOTIFIED,
    (Update.NOTIFIED, Cause.NOTIFY): Update.NOTIFIED,
    (Update.STAGED, Cause.NOTIFY): Update.NOTIFIED,
    (Update.NONE, Cause.ROLL_BACK): Update.NOTIFIED,
    (Update.CLOSED, Cause.ROLL_BACK): Update.NOTIFIED,
    (Update.FAILED, Cause.ROLL_BACK): Update.NOTIFIED,
    (Update.WITHDRAWN, Cause.ROLL_BACK): Update.NOTIFIED,
    (Update.NOTIFIED, Cause.ROLL_BACK): Update.NOTIFIED,
    (Update.STAGED, Cause.ROLL_BACK): Update.NOTIFIED,
    (Update.SELF_CHECKED, Cause.ROLL_BACK): Update.NOTIFIED,
    (Update.NONE, Cause.RECOVER): Update.NOTIFIED,
    (Update.CLOSED, Cause.RECOVER): Update.NOTIFIED,
    (Update.FAILED, Cause.RECOVER): Update.NOTIFIED,
    (Update.WITHDRAWN, Cause.RECOVER): Update.NOTIFIED,
    (Update.NOTIFIED, Cause.RECOVER): Update.NOTIFIED,
    (Update.STAGED, Cause.RECOVER): Update.NOTIFIED,
    (Update.SELF_CHECKED, Cause.RECOVER): Update.NOTIFIED,
    (Update.NOTIFIED, Cause.STAGE): Update.STAGED,
    (Update.STAGED, Cause.ACTIVATE): Update.ACTIVATED,
    (Update.ACTIVATED, Cause.BOOT): Update.BOOTED,
    (Update.BOOTED, Cause.SELF_CHECK): Update.SELF_CHECKED,
    (Update.SELF_CHECKED, Cause.CLOSE): Update.CLOSED,
    (Update.BOOTED, Cause.FALL_BACK): Update.STAGED,
    (Update.NOTIFIED, Cause.FAIL): Update.FAILED,
    (Update.STAGED, Cause.FAIL): Update.FAILED,
    (Update.ACTIVATED, Cause.FAIL): Update.FAILED,
    (Update.BOOTED, Cause.FAIL): Update.FAILED,
    (Update.NOTIFIED, Cause.WITHDRAW): Update.WITHDRAWN,
    (Update.STAGED, Cause.WITHDRAW): Update.WITHDRAWN,
}

OUTCOMES = {
    Update.SELF_CHECKED: "installed_unattested",
    Update.CLOSED: "attested",
    Update.FAILED: "failed",
    Update.WITHDRAWN: "withdrawn",
}
"""What has come of it, for whoever asks only that."""

REPLACEABLE = frozenset({Update.NONE, Update.NOTIFIED, Update.CLOSED, Update.FAILED, Update.WITHDRAWN})
"""Where another release may take its place, and so it may of one that is staged. One that waits for its verdict gets no
successor.
"""
ESCAPABLE = REPLACEABLE | {Update.SELF_CHECKED}
"""Where a rollback or a recovery may: the verdict on what they lead away from may never come."""


def advance(state: Update, cause: Cause) -> Update:
    """The state that follows; Refusal `update-not-allowed` where the table has no such row."""
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        raise Refusal(refusals.UPDATE_NOT_ALLOWED, f"no transition {cause.value!r} from {state.value!r}") from None
