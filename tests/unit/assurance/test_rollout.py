"""What a rollout decides: each decision, each result of a device, each halt, and what the repository has to say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest

from medvouch.assurance import refusals
from medvouch.assurance.reports import DeviceReport
from medvouch.assurance.rollout import Act, Decision, Orders, halt, orders, resume, step
from medvouch.assurance.rollout_planning import check_apart, in_order, plan_recovery, set_apart
from medvouch.assurance.rollout_results import AHEAD_S, Result, Tally, results, tallies
from medvouch.formats import cbor
from medvouch.formats.directive import RECOVERY, ROLLBACK, UPDATE, Directive
from medvouch.formats.ear import Tier
from medvouch.formats.fleet import Fleet
from medvouch.formats.rollout import DONE, HALTED, RUNNING, Note, Rollout, Terms
from medvouch.update.transitions import Update
from support.refusing import assert_refused
from support.rollouts import (
    ACTOR,
    DAY,
    HOUR,
    NOW,
    PLAN,
    TARGET,
    UNTIL,
    all_of,
    attested,
    condemned,
    entry,
    fleet_file,
    planned,
    said,
    ueid,
)

Reports = Mapping[bytes, DeviceReport]
NOBODY: Reports = {}


def stepped(rollout: Rollout, reports: Reports = NOBODY, now: int = NOW) -> tuple[Rollout, Decision]:
    """One step; what it leaves can be kept."""
    moved, decision = step(rollout, reports, now, ACTOR)
    assert Rollout.parse(moved.encode()) == moved
    assert moved.log[: len(rollout.log)] == rollout.log
    return moved, decision


def first_wave(**plan: str) -> Rollout:
    text = PLAN
    for name, value in plan.items():
        old = next(line for line in text.splitlines() if line.startswith(f"{name} ="))
        text = text.replace(old, f"{name} = {value}")
    moved, decision = stepped(planned(text))
    assert decision.act is Act.DIRECT
    return moved


def second_wave() -> Rollout:
    rollout = first_wave()
    reports = all_of(rollout.of_wave(0), attested(NOW + 10))
    rollout, decision = stepped(rollout, reports, NOW + 20)
    assert (decision.act, decision.because) == (Act.WAIT, "wave 1 soaks for 3600 s more")
    rollout, decision = stepped(rollout, reports, NOW + 20 + HOUR)
    assert (decision.act, len(decision.devices)) == (Act.DIRECT, 2)
    return rollout


# --- planning --------------------------------------------------------------------------------------------------------


def test_who_goes_first_follows_from_the_release_and_the_ueid() -> None:
    rollout = planned()
    lab, sites = rollout.cohorts
    assert (lab.name, sites.name) == ("lab", "sites")
    assert set(lab.devices) == {ueid(0), ueid(1)}
    assert set(sites.devices) == {ueid(number) for number in range(2, 10)}

    def key(device: bytes) -> bytes:
        return hashlib.sha256(cbor.encode(["medvouch/rollout/1", TARGET.digest, device])).digest()

    assert list(sites.devices) == sorted(sites.devices, key=key)
    assert in_order(TARGET.digest, reversed(sites.devices)) == sites.devices
    assert planned(digest=bytes(32)).cohorts[1].devices != sites.devices
    assert [wave.sizes for wave in rollout.waves] == [(2, 0), (2, 2), (2, 8)]
    assert rollout.log == (Note(NOW, ACTOR, "started", "it is time"),)


def test_waves_take_nothing_back() -> None:
    text = PLAN.replace('sites = "25%"', "sites = 5").replace('sites = "100%"', 'sites = "25%"')
    assert [wave.sizes for wave in planned(text).waves] == [(2, 0), (2, 5), (2, 5)]


def test_a_plan_that_is_over() -> None:
    assert assert_refused(refusals.ROLLOUT_OVER, planned, now=UNTIL).place == "until"
    assert planned(now=UNTIL - 1).stage == RUNNING


def test_a_plan_for_a_device_that_is_not_in_the_fleet() -> None:
    stranger = PLAN.replace('labels = ["lab"]', f'ueids = ["{ueid(0).hex()}", "{ueid(77).hex()}"]')
    assert assert_refused(refusals.ROLLOUT_DEVICE_UNKNOWN, planned, stranger).place == "lab"


def test_a_plan_for_nobody() -> None:
    nobody = PLAN.replace('labels = ["lab"]', 'models = ["MV-9"]')
    assert assert_refused(refusals.ROLLOUT_COHORT_EMPTY, planned, nobody).place == "lab"


def test_who_belongs_to_no_cohort_is_left_out() -> None:
    some = PLAN.replace('name = "sites"', 'name = "sites"\nmodels = ["MV-200"]')
    of = Fleet.parse(fleet_file(entry(0, labels=["lab"]), entry(1), entry(2, model="MV-200")))
    assert planned(some, of).devices == (ueid(0), ueid(2))


def test_a_name_that_is_taken() -> None:
    rollout = planned()
    refusal = assert_refused(refusals.ROLLOUT_NAME_TAKEN, set_apart, rollout, [replace(rollout, stage=DONE)])
    assert refusal.place == "all"


def test_rollouts_keep_apart() -> None:
    rollout = planned()
    other = replace(rollout, name="other")
    assert assert_refused(refusals.ROLLOUT_OVERLAP, set_apart, rollout, [other]).place == "other"
    assert_refused(refusals.ROLLOUT_OVERLAP, check_apart, rollout, [rollout, other])
    check_apart(rollout, [rollout])
    recovers = replace(other, target=replace(TARGET, purpose=RECOVERY))
    assert set_apart(rollout, [recovers]) == rollout
    halted = replace(other, stage=HALTED)
    apart = set_apart(rollout, [halted, replace(halted, name="third", terms=replace(halted.terms, until=UNTIL - 1))])
    assert apart.terms.until == UNTIL - 2


# --- results ---------------------------------------------------------------------------------------------------------

LATER = NOW + 10


@pytest.mark.parametrize(
    ("report", "result"),
    [
        (attested(LATER), Result.ATTESTED),
        (attested(NOW - DAY), Result.ATTESTED),
        (attested(LATER, "1.0.0"), Result.UNDER_WAY),
        (attested(NOW - DAY, "1.0.0"), Result.SILENT),
        (replace(attested(LATER), verdict=Tier.WARNING), Result.FAILED),
        (replace(attested(LATER), verdict=Tier.NONE), Result.UNDER_WAY),
        (condemned(LATER), Result.FAILED),
        (condemned(NOW), Result.FAILED),
        (condemned(NOW - 1), Result.SILENT),
        (said(Update.FAILED, LATER), Result.FAILED),
        (said(Update.FAILED, NOW - 1), Result.SILENT),
        (said(Update.FAILED, LATER, sequence=2), Result.UNDER_WAY),
        (said(Update.SELF_CHECKED, LATER), Result.UNATTESTED),
        (said(Update.CLOSED, LATER), Result.UNATTESTED),
        (replace(attested(LATER, "1.0.0"), state="closed", sequence=3, said_at=LATER), Result.UNATTESTED),
        (replace(attested(LATER), state="failed", sequence=3, said_at=LATER), Result.ATTESTED),
        (said(Update.STAGED, LATER), Result.UNDER_WAY),
        (said(Update.NONE, LATER, consent="postponed"), Result.POSTPONED),
        (said(Update.NONE, LATER, consent="opted_out"), Result.OPTED_OUT),
        (said(Update.NONE, NOW - 1, consent="opted_out"), Result.SILENT),
        (DeviceReport(), Result.SILENT),
    ],
)
def test_what_has_come_of_a_device(report: DeviceReport, result: Result) -> None:
    rollout = first_wave()
    first = rollout.of_wave(0)[0]
    assert results(rollout, {first: report}, NOW + HOUR)[first] is result


def directive(rollout: Rollout, device: bytes) -> Directive:
    given = orders(rollout, NOBODY, NOW, {}).direct
    return next(each for each in given if each.ueid == device)


def test_what_a_ledger_says_is_told_apart_by_its_directive() -> None:
    """Its clock says nothing: an entry of long ago counts, one of another rollout of the same release does not."""
    rollout = first_wave()
    first = rollout.of_wave(0)[0]
    ours = directive(rollout, first)
    report = DeviceReport(state="failed", sequence=3, directive=ours)
    assert results(rollout, {first: report}, NOW)[first] is Result.FAILED
    for other in (
        replace(ours, purpose=RECOVERY),
        replace(ours, expires=UNTIL - 1),
        replace(ours, digest=bytes(32)),
    ):
        found = results(rollout, {first: replace(report, directive=other, said_at=LATER)}, NOW)
        assert found[first] is Result.SILENT


def test_who_is_silent_for_too_long_is_unreachable() -> None:
    rollout = first_wave()
    first, second = rollout.of_wave(0)
    reports = {first: attested(NOW - 1, "1.0.0")}
    assert set(results(rollout, reports, NOW + 48 * HOUR - 1).values()) == {Result.SILENT}
    assert set(results(rollout, reports, NOW + 48 * HOUR).values()) == {Result.UNREACHABLE}
    reports[second] = attested(NOW + 5, "1.0.0")
    assert results(rollout, reports, NOW + 4 + 48 * HOUR)[second] is Result.UNDER_WAY
    assert results(rollout, reports, NOW + 5 + 48 * HOUR)[second] is Result.UNREACHABLE
    reports[second] = said(Update.NOTIFIED, NOW + 5, consent="postponed")
    assert results(rollout, reports, NOW + 5 + 48 * HOUR)[second] is Result.POSTPONED


@pytest.mark.parametrize(
    ("state", "result"),
    [
        (Update.NOTIFIED, Result.UNREACHABLE),
        (Update.STAGED, Result.UNREACHABLE),
        (Update.ACTIVATED, Result.LOST),
        (Update.BOOTED, Result.LOST),
        (Update.SELF_CHECKED, Result.LOST),
        (Update.CLOSED, Result.LOST),
        (Update.FAILED, Result.FAILED),
        (Update.WITHDRAWN, Result.UNREACHABLE),
    ],
)
def test_who_took_the_release_and_fell_silent_is_lost(state: Update, result: Result) -> None:
    """Unless it was proven before; what is said of another release says nothing of this one."""
    rollout = first_wave()
    first, second = rollout.of_wave(0)
    reports = {first: said(state, NOW + 5), second: said(state, NOW + 5, sequence=2)}
    assert results(rollout, reports, NOW + 4 + 48 * HOUR)[first] is not Result.LOST
    found = results(rollout, reports, NOW + 5 + 48 * HOUR)
    assert (found[first], found[second]) == (result, Result.UNREACHABLE)
    reports[first] = replace(reports[first], verdict=Tier.AFFIRMING, judged_at=NOW + 5, proven="1.1.0")
    assert results(rollout, reports, NOW + 5 + 48 * HOUR)[first] is Result.ATTESTED


def test_a_release_that_devices_do_not_come_back_from_halts_though_nobody_says_so() -> None:
    """One is proven, and all that can report have: the next wave would have been directed."""
    rollout = second_wave()
    now = rollout.begun[1].directed
    first, second = rollout.of_wave(1)
    reports = {**all_of(rollout.of_wave(0), attested(now)), first: said(Update.ACTIVATED, now + 5)}
    reports[second] = attested(now + 5)
    halted, decision = stepped(rollout, reports, now + 5 + 48 * HOUR)
    assert (halted.stage, decision.act) == (HALTED, Act.HALT)
    assert decision.because == (
        "wave 2: 1 of 2 that reported failed, 1 by falling silent, of 2 directed (at most 20 % may)"
    )
    resumed = resume(halted, reports, now + 6 + 48 * HOUR, ACTOR, "a power cut")
    assert resumed.forgiven == (first,)


# --- the way through -------------------------------------------------------------------------------------------------


def test_from_the_first_wave_to_the_last_device() -> None:
    rollout = second_wave()
    now = NOW + 20 + HOUR
    assert [note.deed for note in rollout.log] == ["started", "directed", "passed", "directed"]
    done = all_of((*rollout.of_wave(0), *rollout.of_wave(1)), attested(now + 1))
    rollout, decision = stepped(rollout, done, now + 10)
    assert decision.act is Act.WAIT
    rollout, decision = stepped(rollout, done, now + 10 + HOUR)
    assert (decision.act, len(decision.devices)) == (Act.DIRECT, 6)
    assert decision.because == "wave 3 of 3: 6 devices"
    late, *others = rollout.of_wave(2)
    now += 10 + HOUR
    done = {**done, **all_of(others, attested(now + 1))}
    rollout, decision = stepped(rollout, done, now + 10)
    assert decision.because == "wave 3 soaks for 3600 s more"
    rollout, decision = stepped(rollout, done, now + 10 + HOUR)
    assert (decision.act, decision.because) == (Act.WAIT, "1 of 10 devices are awaited")
    over, decision = stepped(rollout, done, now + 48 * HOUR)
    assert (over.stage, decision.act, decision.because) == (DONE, Act.DONE, "all 3 waves are through")
    assert results(over, done, now + 48 * HOUR)[late] is Result.UNREACHABLE
    assert stepped(over, done, now + 49 * HOUR) == (over, Decision(Act.DONE, "all 3 waves are through"))


@pytest.mark.parametrize("report", [DeviceReport(), said(Update.SELF_CHECKED, LATER), said(Update.STAGED, LATER)])
def test_a_wave_counts_by_what_is_proven(report: DeviceReport) -> None:
    rollout = first_wave()
    first, second = rollout.of_wave(0)
    same, decision = stepped(rollout, {first: attested(LATER), second: report}, NOW + HOUR)
    assert same == rollout
    assert (decision.act, decision.because) == (Act.WAIT, "wave 1 lacks 1 of 2 reports")


def test_a_wave_waits_for_no_more_than_can_report() -> None:
    rollout = first_wave(min_reports="5")
    first, second = rollout.of_wave(0)
    _, decision = stepped(rollout, {first: attested(LATER)}, NOW + HOUR)
    assert decision.because == "wave 1 lacks 1 of 2 reports"
    _, decision = stepped(rollout, {}, NOW + 48 * HOUR)
    assert decision.because == "wave 1 lacks 1 of 1 reports (2 unreachable)"
    passed, decision = stepped(rollout, {first: attested(LATER)}, NOW + 48 * HOUR)
    assert (passed.begun[0].passed, decision.act) == (NOW + 48 * HOUR, Act.WAIT)
    out = {first: attested(LATER), second: said(Update.NONE, LATER, consent="opted_out")}
    assert stepped(rollout, out, NOW + HOUR)[0].begun[0].passed == NOW + HOUR


def test_without_soak_one_step_counts_a_wave_and_directs_the_next() -> None:
    rollout = first_wave(soak_hours="0")
    moved, decision = stepped(rollout, all_of(rollout.of_wave(0), attested(LATER)), LATER)
    assert (decision.act, [note.deed for note in moved.log[-2:]]) == (Act.DIRECT, ["passed", "directed"])
    assert moved.begun[0].passed == moved.begun[1].directed == LATER


def test_a_wave_of_nobody_is_passed_over() -> None:
    moved, decision = stepped(
        planned(PLAN.replace('lab = "100%"', "lab = 0").replace("soak_hours = 1", "soak_hours = 0"))
    )
    assert (decision.act, decision.devices) == (Act.DIRECT, ())
    moved, decision = stepped(moved)
    assert (decision.act, len(decision.devices)) == (Act.DIRECT, 2)


def test_its_time_is_over() -> None:
    rollout = first_wave()
    over, decision = stepped(rollout, {}, UNTIL)
    assert (over.stage, decision) == (DONE, Decision(Act.DONE, "its time is over"))
    assert orders(over, {}, UNTIL, {}) == Orders((), (), ())


# --- quarantine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (condemned(NOW - 1), "verdict contraindicated: event-unexpected"),
        (DeviceReport(verdict=Tier.WARNING), "verdict warning"),
        (said(Update.FAILED, NOW - 1, 2, reason="slot-fell-back"), "update failed: slot-fell-back"),
        (said(Update.FAILED, NOW - 1, 2), "update failed"),
        (attested(NOW - 1, "1.0.0"), ""),
        (said(Update.CLOSED, NOW - 1, 2), ""),
        (DeviceReport(), ""),
    ],
)
def test_who_is_in_quarantine_is_left_to_a_recovery(report: DeviceReport, why: str) -> None:
    assert report.quarantined == why
    first, second = planned().of_wave(0)
    rollout, decision = stepped(planned(), {first: report})
    assert (first in decision.devices, second in decision.devices) == (not why, True)
    assert rollout.begun[0].skipped == ((first,) if why else ())
    found = results(rollout, {first: report}, NOW)
    assert (found[first] is Result.QUARANTINED) == bool(why)
    if why:
        assert decision.because.endswith("1 devices, 1 left out in quarantine")
        assert tallies(rollout, {first: report}, NOW)[0].directed == 1
        assert results(rollout, {first: attested(LATER)}, NOW)[first] is Result.ATTESTED


def test_a_wave_in_quarantine_proves_nothing() -> None:
    reports = all_of(planned().of_wave(0), condemned(NOW - 1))
    rollout, decision = stepped(planned(), reports)
    assert decision.devices == ()
    same, decision = stepped(rollout, reports, NOW + 48 * HOUR)
    assert same == rollout
    assert decision.because == "wave 1 lacks 1 of 1 reports (2 quarantined)"


def test_what_was_known_when_it_was_directed_is_not_held_against_it() -> None:
    """Even of the same second, or of a collector whose clock is ahead; what is about something else moves nothing."""
    devices = planned().of_wave(0)
    for at in (NOW, NOW + 5):
        rollout, _ = stepped(planned(), all_of(devices, said(Update.STAGED, at)))
        assert rollout.begun[0].directed == at + 1
        assert set(results(rollout, all_of(devices, said(Update.FAILED, at)), NOW).values()) == {Result.SILENT}
        assert set(results(rollout, all_of(devices, said(Update.FAILED, at + 1)), NOW).values()) == {Result.FAILED}
        for other in (said(Update.CLOSED, at, sequence=2), attested(at, "1.0.0")):
            assert stepped(planned(), all_of(devices, other))[0].begun[0].directed == NOW
    recovers = planned(purpose=RECOVERY)
    assert stepped(recovers, all_of(devices, condemned(NOW)))[0].begun[0].directed == NOW + 1


def test_a_device_that_dates_its_claims_ahead_keeps_its_wave_from_counting_for_an_hour_at_most() -> None:
    liar, honest = planned().of_wave(0)
    ahead = said(Update.STAGED, NOW + 3650 * DAY)
    rollout, _ = stepped(planned(), {liar: ahead})
    assert rollout.begun[0].directed == NOW + AHEAD_S + 1
    reports = {liar: ahead, honest: condemned(NOW + 2 * HOUR)}
    assert results(rollout, reports, NOW + 2 * HOUR)[honest] is Result.FAILED
    assert stepped(rollout, reports, NOW + 2 * HOUR)[1].act is Act.HALT


def test_nobody_is_heard_of_in_the_future() -> None:
    rollout, _ = stepped(planned(), {})
    first = rollout.of_wave(0)[0]
    report = DeviceReport(heard_at=NOW + 3650 * DAY)
    assert results(rollout, {first: report}, NOW)[first] is Result.SILENT
    assert results(rollout, {first: report}, NOW + 48 * HOUR)[first] is Result.UNREACHABLE
    assert results(rollout, {first: DeviceReport(heard_at=NOW + AHEAD_S)}, NOW)[first] is Result.UNDER_WAY


def test_a_recovery_is_for_those_in_quarantine() -> None:
    target = replace(TARGET, purpose=RECOVERY)
    note = Note(NOW, ACTOR, "started", "they failed")
    terms = Terms(UNTIL, DAY, 0, 0, 10_000, 1)
    rollout = plan_recovery("out", target, [ueid(1), ueid(0)], terms, note)
    assert rollout.cohorts[0].devices == in_order(target.digest, [ueid(0), ueid(1)])
    reports = {ueid(0): condemned(NOW), ueid(1): said(Update.FAILED, NOW - 1)}
    rollout, decision = stepped(rollout, reports)
    assert (len(decision.devices), rollout.begun[0].skipped) == (2, ())
    given = orders(rollout, reports, NOW, {}).direct
    assert {(each.ueid, each.purpose, each.defer_until) for each in given} == {
        (ueid(0), RECOVERY, 0),
        (ueid(1), RECOVERY, 0),
    }
    reports = {ueid(0): attested(LATER), ueid(1): said(Update.FAILED, LATER)}
    assert list(results(rollout, reports, LATER).values()) == [
        Result.ATTESTED if each == ueid(0) else Result.FAILED for each in rollout.devices
    ]
    assert stepped(rollout, reports, LATER)[1].act is Act.DONE


# --- halts -----------------------------------------------------------------------------------------------------------


def test_one_failure_of_two_halts_at_once() -> None:
    """Even if all that are awaited succeed, too many have failed: nobody else has to report."""
    rollout = first_wave()
    first, _ = rollout.of_wave(0)
    halted, decision = stepped(rollout, {first: said(Update.FAILED, LATER)}, LATER)
    assert (halted.stage, decision.act) == (HALTED, Act.HALT)
    assert decision.because == "wave 1: 1 of 1 that reported failed, of 2 directed (at most 20 % may)"
    assert halted.log[-1] == Note(LATER, ACTOR, "halted", decision.because)


def test_a_halt_stays_whatever_comes_after_it() -> None:
    rollout = first_wave()
    halted, decision = stepped(rollout, {rollout.of_wave(0)[0]: condemned(LATER)}, LATER)
    reports = all_of(rollout.of_wave(0), attested(LATER + 1))
    for later in (LATER + 1, UNTIL):
        assert stepped(halted, reports, later) == (halted, decision)


@pytest.mark.parametrize(
    ("counts", "directed_too", "too_many"),
    [
        ({Result.FAILED: 1, Result.ATTESTED: 3, Result.SILENT: 6}, "", True),
        ({Result.FAILED: 1, Result.ATTESTED: 4, Result.SILENT: 5}, "", False),
        ({Result.FAILED: 1, Result.SILENT: 9}, "one report is not enough", False),
        ({Result.FAILED: 2, Result.SILENT: 8}, "", True),
        ({Result.FAILED: 2, Result.ATTESTED: 8}, "", False),
        ({Result.FAILED: 3, Result.ATTESTED: 7}, "", True),
        ({Result.FAILED: 2, Result.UNATTESTED: 8}, "what nothing proves is no success", True),
        ({Result.FAILED: 1, Result.UNREACHABLE: 9}, "nobody else can report", True),
        ({Result.LOST: 3, Result.ATTESTED: 7}, "who fell silent with it failed", True),
        ({Result.FAILED: 1, Result.LOST: 1, Result.ATTESTED: 8}, "", False),
        ({Result.LOST: 9, Result.UNREACHABLE: 1}, "", True),
        ({Result.FORGIVEN: 9, Result.ATTESTED: 1}, "", False),
        ({Result.UNREACHABLE: 10}, "", False),
        ({}, "", False),
    ],
)
def test_the_failure_rate_and_its_denominator(counts: dict[Result, int], directed_too: str, too_many: bool) -> None:
    assert Tally(counts).too_many_failed(planned().terms) is too_many, directed_too


def test_a_late_failure_of_an_early_wave_counts_in_all() -> None:
    rollout = second_wave()
    now = NOW + 2 * HOUR
    reports = {
        **all_of(rollout.of_wave(0), condemned(now)),
        **all_of(rollout.of_wave(1), attested(now)),
    }
    _, decision = stepped(rollout, reports, now)
    assert decision.because.startswith("all waves: 2 of 4 that reported failed, of 4 directed")


def test_a_zero_rate_allows_nobody_to_fail() -> None:
    rollout = first_wave(max_failure_rate='"0%"')
    reports = all_of(rollout.of_wave(0), attested(LATER))
    assert stepped(rollout, reports, LATER)[1].act is Act.WAIT
    reports = {**reports, rollout.of_wave(0)[0]: said(Update.FAILED, LATER)}
    assert stepped(rollout, reports, LATER)[1].act is Act.HALT


def test_a_person_halts_and_a_person_resumes() -> None:
    rollout = first_wave()
    first, second = rollout.of_wave(0)
    reports = {first: said(Update.FAILED, LATER)}
    assert_refused(refusals.ROLLOUT_NOT_HALTED, resume, rollout, reports, LATER, ACTOR, "why")
    halted, decision = halt(rollout, LATER, "user 7", "alarms")
    assert decision == Decision(Act.HALT, "alarms")
    assert_refused(refusals.ROLLOUT_NOT_RUNNING, halt, halted, LATER, ACTOR, "again")
    again = resume(halted, reports, LATER + 5, "user 8", "a power cut")
    assert (again.stage, again.forgiven, again.resumed) == (RUNNING, (first,), LATER + 5)
    assert again.log[-2:] == (
        Note(LATER, "user 7", "halted", "alarms"),
        Note(LATER + 5, "user 8", "resumed", "a power cut"),
    )
    found = results(again, reports, LATER + 5)
    assert (found[first], found[second]) == (Result.FORGIVEN, Result.SILENT)
    assert results(again, reports, LATER + 4 + 48 * HOUR)[second] is Result.SILENT
    assert results(again, {first: attested(LATER + 9)}, LATER + 9)[first] is Result.ATTESTED
    moved, decision = stepped(again, {**reports, second: attested(LATER + 9)}, LATER + 9)
    assert decision.act is Act.WAIT
    assert moved.begun[0].passed == LATER + 9
    _, decision = stepped(again, {**reports, second: said(Update.FAILED, LATER + 9)}, LATER + 9)
    assert decision.act is Act.HALT


def test_who_was_forgiven_is_not_waited_for() -> None:
    rollout = first_wave()
    reports = all_of(rollout.of_wave(0), condemned(LATER))
    halted, _ = stepped(rollout, reports, LATER)
    moved, _ = stepped(resume(halted, reports, LATER, ACTOR, "known"), reports, LATER)
    assert moved.begun[0].passed == LATER


# --- what the repository has to say ----------------------------------------------------------------------------------


def test_directives_of_the_waves_that_were_directed() -> None:
    rollout = first_wave()
    first, second = rollout.of_wave(0)
    given = orders(rollout, {}, NOW, {})
    assert (given.withdraw, given.elsewhere) == ((), ())
    assert {each.ueid for each in given.direct} == {first, second}
    assert given.direct[0] == Directive(
        ueid=given.direct[0].ueid,
        release=TARGET.release,
        digest=TARGET.digest,
        length=TARGET.length,
        sequence=TARGET.sequence,
        expires=UNTIL,
        purpose=UPDATE,
        defer_until=NOW + 7 * DAY,
    )
    assert orders(rollout, {}, UNTIL - 1, {}).direct[0].defer_until == UNTIL
    assert orders(first_wave(defer_days="0"), {}, NOW, {}).direct[0].defer_until == 0
    standing = {each.ueid: each for each in given.direct}
    assert orders(rollout, {}, NOW + 99, standing) == Orders((), (), ())
    del standing[second]
    assert [each.ueid for each in orders(rollout, {}, NOW + 99, standing).direct] == [second]


@pytest.mark.parametrize(
    "report", [attested(LATER), said(Update.SELF_CHECKED, LATER), said(Update.FAILED, LATER), condemned(LATER)]
)
def test_who_has_settled_is_not_directed_again(report: DeviceReport) -> None:
    rollout = first_wave()
    first, second = rollout.of_wave(0)
    assert [each.ueid for each in orders(rollout, {first: report}, LATER, {}).direct] == [second]


@pytest.mark.parametrize(
    ("purpose", "sequence", "expires", "replaced"),
    [
        (UPDATE, 2, UNTIL + 1, True),
        (UPDATE, 3, UNTIL + 1, True),
        (UPDATE, 4, UNTIL + 1, False),
        (UPDATE, 4, NOW, True),
        (ROLLBACK, 1, UNTIL + 1, False),
        (RECOVERY, 1, UNTIL + 1, False),
        (RECOVERY, 1, NOW, True),
    ],
)
def test_what_else_directs_a_device(purpose: str, sequence: int, expires: int, replaced: bool) -> None:
    rollout = first_wave()
    first, second = rollout.of_wave(0)
    other = Directive(first, "releases/x", bytes(32), 1, sequence, expires, purpose)
    given = orders(rollout, {second: attested(LATER)}, NOW, {first: other})
    assert (len(given.direct), given.elsewhere) == ((1, ()) if replaced else (0, (first,)))
    recovers = replace(rollout, target=replace(TARGET, purpose=RECOVERY))
    assert orders(recovers, {second: attested(LATER)}, NOW, {first: other}).direct


def test_a_halt_withdraws_what_was_not_taken() -> None:
    """Also of devices that no wave was known to have directed: the step that did was interrupted."""
    rollout = second_wave()
    everybody = {ueid: replace(directive(rollout, rollout.of_wave(0)[0]), ueid=ueid) for ueid in rollout.devices}
    taken, installed, failed = rollout.of_wave(0)[0], rollout.of_wave(0)[1], rollout.of_wave(1)[0]
    now = NOW + 2 * HOUR
    reports = {
        taken: attested(now),
        installed: said(Update.SELF_CHECKED, now),
        failed: said(Update.FAILED, now),
    }
    halted, _ = halt(rollout, now, ACTOR, "why")
    other = rollout.of_wave(2)[0]
    everybody[other] = replace(everybody[other], expires=UNTIL - 1)
    given = orders(halted, reports, now, everybody)
    assert (given.direct, given.elsewhere) == ((), ())
    assert set(given.withdraw) == set(rollout.devices) - {taken, installed, other}
    left = {ueid: each for ueid, each in everybody.items() if ueid not in given.withdraw}
    assert orders(halted, reports, now, left) == Orders((), (), ())
    again = resume(halted, reports, now, ACTOR, "why")
    assert {each.ueid for each in orders(again, reports, now, left).direct} == {rollout.of_wave(1)[1]}
