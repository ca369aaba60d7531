"""The user's say: which wishes follow on which, what a postponement is bounded by, and what waits for what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medvouch.formats.consent import AUTOMATIC, OPTED_OUT, POSTPONED, ConsentRecord
from medvouch.formats.directive import RECOVERY, ROLLBACK, UPDATE
from medvouch.update import refusals
from medvouch.update.consent import (
    HOLDERS,
    TRANSITIONS,
    WAITING,
    Cause,
    Directed,
    Hold,
    Reason,
    Situation,
    Wish,
    advance,
    changed,
    decide,
    interrupts,
    lapsed,
)
from medvouch.update.transitions import Update
from medvouch.update.windows import Windows
from support.refusing import assert_refused

NOW, LIMIT = 1_800_000_000, 1_800_600_000  # a Friday, 08:00 UTC
RELEASE = Directed(Update.STAGED, bytes(range(32)), UPDATE, LIMIT)
NEVER = ConsentRecord(OPTED_OUT)
LATER = ConsentRecord(POSTPONED, NOW + 60)
CLOSED = Windows.parse(["Fri 09:00-10:00"])


# --- wishes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", Wish)
@pytest.mark.parametrize("cause", Cause)
def test_what_the_table_has_no_row_for(wish: Wish, cause: Cause) -> None:
    if (wish, cause) in TRANSITIONS:
        assert advance(wish, cause) is TRANSITIONS[wish, cause]
    else:
        assert_refused(refusals.CONSENT_NOT_ALLOWED, advance, wish, cause)


def test_only_a_postponement_lapses_and_who_has_opted_out_postpones_nothing() -> None:
    assert {wish for wish, cause in TRANSITIONS if cause is Cause.LAPSE} == {Wish.POSTPONED}
    assert (Wish.OPTED_OUT, Cause.POSTPONE) not in TRANSITIONS
    assert TRANSITIONS[Wish.OPTED_OUT, Cause.INSTALL_NOW] is Wish.OPTED_OUT, "for this release only"


@pytest.mark.parametrize(
    ("before", "cause", "after"),
    [
        (ConsentRecord(), Cause.OPT_OUT, NEVER),
        (NEVER, Cause.OPT_IN, ConsentRecord()),
        (NEVER, Cause.INSTALL_NOW, ConsentRecord(OPTED_OUT, release=RELEASE.manifest)),
        (ConsentRecord(), Cause.POSTPONE, LATER),
        (LATER, Cause.LAPSE, ConsentRecord()),
        (LATER, Cause.INSTALL_NOW, ConsentRecord(AUTOMATIC, release=RELEASE.manifest)),
        (ConsentRecord(OPTED_OUT, release=RELEASE.manifest), Cause.OPT_OUT, NEVER),
        (ConsentRecord(AUTOMATIC, release=RELEASE.manifest), Cause.POSTPONE, LATER),
    ],
)
def test_what_is_remembered(before: ConsentRecord, cause: Cause, after: ConsentRecord) -> None:
    assert changed(before, cause, LATER.until, RELEASE, NOW) == after


@pytest.mark.parametrize("cause", WAITING)
def test_what_is_said_of_a_release_needs_one_that_waits(cause: Cause) -> None:
    assert_refused(refusals.UPDATE_NOT_WAITING, changed, ConsentRecord(), cause, NOW + 1, None, NOW)
    for state in set(Update) - WAITING[cause]:
        release = replace(RELEASE, state=state)
        assert_refused(refusals.UPDATE_NOT_WAITING, changed, ConsentRecord(), cause, NOW + 1, release, NOW)
    for state in WAITING[cause]:
        changed(ConsentRecord(), cause, NOW + 1, replace(RELEASE, state=state), NOW)


def postponed(until: int, release: Directed = RELEASE) -> ConsentRecord:
    return changed(ConsentRecord(), Cause.POSTPONE, until, release, NOW)


def test_a_postponement_within_the_signed_limit() -> None:
    assert postponed(LIMIT).until == LIMIT
    assert postponed(NOW + 1, replace(RELEASE, purpose=ROLLBACK)).until == NOW + 1


def test_a_postponement_beyond_the_limit() -> None:
    assert_refused(refusals.POSTPONE_BEYOND_LIMIT, postponed, LIMIT + 1)


def test_a_postponement_that_nobody_allows() -> None:
    assert_refused(refusals.POSTPONE_NOT_ALLOWED, postponed, NOW + 1, replace(RELEASE, defer_until=0))
    assert_refused(refusals.POSTPONE_NOT_ALLOWED, postponed, NOW + 1, replace(RELEASE, purpose=RECOVERY))


@pytest.mark.parametrize("state", Update)
def test_until_when_a_release_may_be_put_off(state: Update) -> None:
    waits = replace(RELEASE, state=state)
    assert waits.deferrable_until == (LIMIT if state in (Update.NOTIFIED, Update.STAGED) else 0)
    assert replace(waits, purpose=RECOVERY).deferrable_until == 0


def test_a_postponement_to_yesterday() -> None:
    assert_refused(refusals.POSTPONE_NOT_AHEAD, postponed, NOW)


@pytest.mark.parametrize(
    ("consent", "release", "over"),
    [
        (LATER, RELEASE, False),
        (replace(LATER, until=NOW), RELEASE, True),
        (replace(LATER, until=NOW), None, True),
        (LATER, None, False),
        (LATER, replace(RELEASE, defer_until=NOW), True),
        (LATER, replace(RELEASE, defer_until=0), True),
        (LATER, replace(RELEASE, defer_until=0, purpose=RECOVERY), False),
        (LATER, replace(RELEASE, defer_until=0, state=Update.CLOSED), False),
        (ConsentRecord(), RELEASE, False),
        (NEVER, RELEASE, False),
    ],
)
def test_when_a_postponement_is_over(consent: ConsentRecord, release: Directed | None, over: bool) -> None:
    assert lapsed(consent, release, NOW) is over


# --- what is held up -------------------------------------------------------------------------------------------------

PLAIN = Situation(RELEASE, ConsentRecord(), NOW, sure=True)
OPTED_OUT_HOLD, BUSY_HOLD = Hold(Reason.OPTED_OUT), Hold(Reason.BUSY)
WINDOW_HOLD = Hold(Reason.WINDOW, NOW + 3600)
ALL = replace(PLAIN, consent=NEVER, windows=CLOSED, busy=True)


@pytest.mark.parametrize(
    ("around", "hold"),
    [
        (PLAIN, None),
        (replace(PLAIN, sure=False), None),
        (replace(PLAIN, consent=NEVER), OPTED_OUT_HOLD),
        (replace(PLAIN, consent=LATER), Hold(Reason.POSTPONED, NOW + 60)),
        (replace(PLAIN, consent=LATER, now=NOW + 60), None),
        (replace(PLAIN, consent=replace(LATER, until=LIMIT + 60)), Hold(Reason.POSTPONED, LIMIT)),
        (replace(PLAIN, consent=replace(LATER, until=LIMIT + 60), now=LIMIT), None),
        (replace(PLAIN, windows=CLOSED), WINDOW_HOLD),
        (replace(PLAIN, windows=CLOSED, now=NOW + 3600), None),
        (replace(PLAIN, windows=CLOSED, now=NOW + 3600, sure=False), Hold(Reason.CLOCK)),
        (replace(PLAIN, busy=True), BUSY_HOLD),
        (ALL, OPTED_OUT_HOLD),
        (replace(ALL, consent=ConsentRecord()), WINDOW_HOLD),
    ],
)
def test_what_holds_a_staged_release(around: Situation, hold: Hold | None) -> None:
    assert decide(around) == hold


@pytest.mark.parametrize(
    ("state", "held_by"),
    [
        (Update.NOTIFIED, [Reason.OPTED_OUT]),
        (Update.STAGED, [Reason.OPTED_OUT, Reason.POSTPONED, Reason.WINDOW, Reason.BUSY]),
        (Update.ACTIVATED, [Reason.WINDOW, Reason.BUSY]),
        (Update.FAILED, [Reason.BUSY]),
        (Update.BOOTED, [Reason.BUSY]),
    ],
)
def test_each_step_is_held_by_its_own(state: Update, held_by: list[Reason]) -> None:
    plain = replace(PLAIN, release=replace(RELEASE, state=state))
    alone = [
        replace(plain, consent=NEVER),
        replace(plain, consent=LATER),
        replace(plain, windows=CLOSED),
        replace(plain, busy=True),
    ]
    assert [hold.reason for each in alone if (hold := decide(each))] == held_by
    assert interrupts(state) is (state is not Update.NOTIFIED)


@pytest.mark.parametrize(
    "around",
    [
        replace(ALL, release=replace(RELEASE, purpose=RECOVERY)),
        replace(ALL, consent=ConsentRecord(OPTED_OUT, release=RELEASE.manifest)),
        replace(ALL, consent=ConsentRecord(AUTOMATIC, release=RELEASE.manifest), sure=False),
    ],
)
def test_a_way_out_and_what_is_wanted_at_once_wait_for_the_workload_alone(around: Situation) -> None:
    assert decide(around) == BUSY_HOLD
    assert decide(replace(around, busy=False)) is None
    notified = replace(around, release=replace(around.release, state=Update.NOTIFIED))
    assert decide(notified) is None, "nothing is interrupted by a download"


def test_whoever_keeps_an_update_waiting_has_a_name() -> None:
    assert set(HOLDERS) == set(Reason)


def test_what_is_wanted_at_once_is_this_release_and_no_other() -> None:
    other = ConsentRecord(OPTED_OUT, release=bytes(32))
    assert decide(replace(PLAIN, consent=other)) == OPTED_OUT_HOLD


def test_a_rollback_waits_as_an_update_does() -> None:
    assert decide(replace(PLAIN, release=replace(RELEASE, purpose=ROLLBACK), consent=NEVER)) == OPTED_OUT_HOLD
