"""The life of a device as one table: from manufacture to decommissioning."""

from __future__ import annotations

import enum

from medvouch.errors import Refusal
from medvouch.lifecycle import refusals


class Life(enum.StrEnum):
    """Where in its life a device stands."""

    MANUFACTURED = "manufactured"
    ENROLLED = "enrolled"
    COMMISSIONED = "commissioned"
    FROZEN = "frozen"
    """About to be decommissioned: nothing changes any more but that."""
    DECOMMISSIONED = "decommissioned"
    """Its keys are gone, and were proven gone."""


class Cause(enum.StrEnum):
    """What moves a device on."""

    ENROL = "enrol"
    COMMISSION = "commission"
    FREEZE = "freeze"
    SANITISE = "sanitise"


TRANSITIONS: dict[tuple[Life, Cause], Life] = {
    (Life.MANUFACTURED, Cause.ENROL): Life.ENROLLED,
    (Life.ENROLLED, Cause.COMMISSION): Life.COMMISSIONED,
    (Life.ENROLLED, Cause.FREEZE): Life.FROZEN,
    (Life.COMMISSIONED, Cause.FREEZE): Life.FROZEN,
    (Life.FROZEN, Cause.SANITISE): Life.DECOMMISSIONED,
}


def advance(state: Life, cause: Cause) -> Life:
    """The state that follows; Refusal `transition-not-allowed` where the table has no such row."""
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        detail = f"no transition {cause.value!r} from {state.value!r}"
        raise Refusal(refusals.TRANSITION_NOT_ALLOWED, detail) from None
