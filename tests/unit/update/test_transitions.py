from __future__ import annotations

import pytest

from medvouch.update import refusals
from medvouch.update.transitions import ESCAPABLE, OUTCOMES, REPLACEABLE, TRANSITIONS, Cause, Update, advance
from support.refusing import assert_refused


def test_the_way_of_an_update_that_goes_well() -> None:
    state = Update.NONE
    seen = []
    for cause in (Cause.NOTIFY, Cause.STAGE, Cause.ACTIVATE, Cause.BOOT, Cause.SELF_CHECK, Cause.CLOSE):
        state = advance(state, cause)
        seen.append(state.value)
    assert seen == ["notified", "staged", "activated", "booted", "self_checked", "closed"]


@pytest.mark.parametrize("state", Update)
@pytest.mark.parametrize("cause", Cause)
def test_what_the_table_has_no_row_for(state: Update, cause: Cause) -> None:
    if (state, cause) in TRANSITIONS:
        assert advance(state, cause) is TRANSITIONS[state, cause]
    else:
        assert_refused(refusals.UPDATE_NOT_ALLOWED, advance, state, cause)


def test_the_next_update_waits_for_the_end_of_the_last() -> None:
    held_up = {Update.STAGED}
    assert {state for state, cause in TRANSITIONS if cause is Cause.NOTIFY} == REPLACEABLE | held_up
    assert not {Update.STAGED, Update.ACTIVATED, Update.BOOTED, Update.SELF_CHECKED} & REPLACEABLE


@pytest.mark.parametrize("cause", [Cause.ROLL_BACK, Cause.RECOVER])
def test_a_way_out_waits_for_no_verdict(cause: Cause) -> None:
    held_up = {Update.STAGED}
    assert {state for state, each in TRANSITIONS if each is cause} == ESCAPABLE | held_up
    assert {Update.SELF_CHECKED} == ESCAPABLE - REPLACEABLE


def test_only_a_verdict_makes_it_attested() -> None:
    assert OUTCOMES[Update.SELF_CHECKED] == "installed_unattested"
    assert {state for state, outcome in OUTCOMES.items() if outcome == "attested"} == {Update.CLOSED}
    assert {state for (state, cause), after in TRANSITIONS.items() if after is Update.CLOSED} == {Update.SELF_CHECKED}
