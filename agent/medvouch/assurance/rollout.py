"""What a rollout does next: direct the next wave, wait, halt, or be done. Pure: whoever calls it does it (ADR 45)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from medvouch.assurance import refusals
from medvouch.assurance.reports import DeviceReport
from medvouch.assurance.rollout_results import (
    FAILURES,
    HAS_IT,
    OUT,
    STILL_DIRECTED,
    Reports,
    Result,
    Tally,
    is_ours,
    results,
    stale_until,
    tallies,
)
from medvouch.errors import Refusal
from medvouch.formats.directive import RECOVERY, UPDATE, Directive
from medvouch.formats.rollout import (
    DIRECTED,
    DONE,
    ENDED,
    HALT,
    HALTED,
    MAX_REASON,
    PASSED,
    RESUMED,
    RUNNING,
    Note,
    Rollout,
    Terms,
)


class Act(enum.StrEnum):
    """What is to be done."""

    DIRECT = "direct"
    WAIT = "wait"
    HALT = "halt"
    DONE = "done"


@dataclass(frozen=True)
class Decision:
    """What a step decided, and why; `devices` are those that are directed now."""

    act: Act
    because: str
    devices: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Orders:
    """What the repository has to be changed by, so that it says what the rollout does.

    `elsewhere` are devices of it that something else directs, which is left as it is.
    """

    direct: tuple[Directive, ...]
    withdraw: tuple[bytes, ...]
    elsewhere: tuple[bytes, ...]


def step(rollout: Rollout, reports: Reports, now: int, actor: str) -> tuple[Rollout, Decision]:
    """The rollout as it is after `now`, and what that comes to.

    1. What does not run stays as it is: only a person takes back a halt.
    2. It is over when its time is.
    3. It halts where too many failed, of all waves or of the last one.
    4. The last wave counts from when enough of it reported.
    5. After the soak the next one is directed.
    6. It is done when there is no other, and nobody is awaited any more.
    """
    if rollout.stage != RUNNING:  # 1
        act = Act.HALT if rollout.stage == HALTED else Act.DONE
        return rollout, Decision(act, rollout.log[-1].reason)
    if now >= rollout.terms.until:  # 2
        return _ended(rollout, now, actor, "its time is over")
    waves = tallies(rollout, reports, now)
    everybody = Tally.of(results(rollout, reports, now).values())
    for what, tally in ((f"wave {len(waves)}", waves[-1] if waves else everybody), ("all waves", everybody)):
        if tally.too_many_failed(rollout.terms):  # 3
            return halt(rollout, now, actor, f"{what}: {_rate(tally, rollout.terms)}")
    if waves and not rollout.begun[-1].passed:  # 4
        if (lacking := waves[-1].enough(rollout.terms) - waves[-1].reported) > 0:
            return rollout, Decision(Act.WAIT, _lacking(waves[-1], len(waves), lacking))
        rollout = _passed(rollout, now, actor, waves[-1])
    return _go_on(rollout, reports, now, actor, everybody)


def _go_on(rollout: Rollout, reports: Reports, now: int, actor: str, everybody: Tally) -> tuple[Rollout, Decision]:
    number, last = len(rollout.begun), rollout.begun[-1] if rollout.begun else None
    due = last.passed + rollout.terms.soak_s if last else now
    if now < due:
        return rollout, Decision(Act.WAIT, f"wave {number} soaks for {due - now} s more")
    if number < len(rollout.waves):  # 5
        return _direct(rollout, number, reports, now, actor)
    if everybody.awaited:  # 6
        return rollout, Decision(Act.WAIT, f"{everybody.awaited} of {everybody.directed} devices are awaited")
    return _ended(rollout, now, actor, f"all {number} waves are through")


def _direct(rollout: Rollout, number: int, reports: Reports, now: int, actor: str) -> tuple[Rollout, Decision]:
    """The next wave, without those whom quarantine lets have nothing but a recovery."""
    recovers = rollout.target.purpose == RECOVERY
    devices = rollout.of_wave(number)
    skipped = tuple(ueid for ueid in devices if not recovers and reports.get(ueid, DeviceReport()).quarantined)
    known = [stale_until(rollout, reports[ueid], now) + 1 for ueid in devices if ueid in reports]
    since = max([now, *known])
    wave = replace(rollout.waves[number], directed=since, skipped=skipped)
    waves = (*rollout.waves[:number], wave, *rollout.waves[number + 1 :])
    chosen = tuple(ueid for ueid in devices if ueid not in set(skipped))
    because = f"wave {number + 1} of {len(waves)}: {len(chosen)} devices"
    because += f", {len(skipped)} left out in quarantine" if skipped else ""
    moved = _noted(replace(rollout, waves=waves), Note(now, actor, DIRECTED, because))
    return moved, Decision(Act.DIRECT, because, chosen)


def _passed(rollout: Rollout, now: int, actor: str, tally: Tally) -> Rollout:
    number = len(rollout.begun)
    wave = replace(rollout.waves[number - 1], passed=now)
    waves = (*rollout.waves[: number - 1], wave, *rollout.waves[number:])
    reason = f"wave {number}: {_rate(tally, rollout.terms)}"
    return _noted(replace(rollout, waves=waves), Note(now, actor, PASSED, reason))


def _ended(rollout: Rollout, now: int, actor: str, because: str) -> tuple[Rollout, Decision]:
    moved = _noted(replace(rollout, stage=DONE), Note(now, actor, ENDED, because))
    return moved, Decision(Act.DONE, because)


def halt(rollout: Rollout, now: int, actor: str, reason: str) -> tuple[Rollout, Decision]:
    """Nobody is directed any more. Raises Refusal `rollout-not-running`."""
    if rollout.stage != RUNNING:
        raise Refusal(refusals.ROLLOUT_NOT_RUNNING, f"it is {rollout.stage}", place=rollout.name)
    moved = _noted(replace(rollout, stage=HALTED), Note(now, actor, HALT, reason[:MAX_REASON]))
    return moved, Decision(Act.HALT, reason)


def resume(rollout: Rollout, reports: Reports, now: int, actor: str, reason: str) -> Rollout:
    """It runs again; who has failed by now is not held against it any more. Raises Refusal `rollout-not-halted`."""
    if rollout.stage != HALTED:
        raise Refusal(refusals.ROLLOUT_NOT_HALTED, f"it is {rollout.stage}", place=rollout.name)
    failed = (ueid for ueid, result in results(rollout, reports, now).items() if result in FAILURES)
    forgiven = (*rollout.forgiven, *failed)
    moved = replace(rollout, stage=RUNNING, resumed=now, forgiven=forgiven)
    return _noted(moved, Note(now, actor, RESUMED, reason))


def _noted(rollout: Rollout, note: Note) -> Rollout:
    return replace(rollout, log=(*rollout.log, note))


def _rate(tally: Tally, terms: Terms) -> str:
    limit = f"at most {terms.max_failures / 100:g} % may"
    lost = tally.counts.get(Result.LOST, 0)
    silent = f", {lost} by falling silent" if lost else ""
    return f"{tally.failed} of {tally.reported} that reported failed{silent}, of {tally.directed} directed ({limit})"


def _lacking(tally: Tally, number: int, lacking: int) -> str:
    said = f"wave {number} lacks {lacking} of {tally.reported + lacking} reports"
    out = [f"{count} {result}" for result, count in sorted(tally.counts.items()) if count and result in OUT]
    return said + (f" ({', '.join(out)})" if out else "")


# --- what the repository has to say ----------------------------------------------------------------------------------


def orders(rollout: Rollout, reports: Reports, now: int, published: Mapping[bytes, Directive]) -> Orders:
    """What makes the repository say what the rollout does, whatever was interrupted before: nothing, where it does.

    `published` are the directives that stand, by UEID. While it runs, those of its devices stand that have not settled;
    where it was halted, none does of a device that has not installed the release.
    """
    found = results(rollout, reports, now)
    if rollout.stage == HALTED:
        ours = [ueid for ueid in rollout.devices if ueid in published and is_ours(rollout, published[ueid])]
        return Orders((), tuple(ueid for ueid in ours if found.get(ueid) not in HAS_IT), ())
    if rollout.stage == DONE:
        return Orders((), (), ())
    direct, elsewhere = [], []
    for ueid in (ueid for ueid, result in found.items() if result in STILL_DIRECTED):
        made, standing = _directive(rollout, ueid, now), published.get(ueid)
        if standing is None or (not is_ours(rollout, standing) and _gives_way(standing, made, now)):
            direct.append(made)
        elif not is_ours(rollout, standing):
            elsewhere.append(ueid)
    return Orders(tuple(direct), (), tuple(elsewhere))


def _directive(rollout: Rollout, ueid: bytes, now: int) -> Directive:
    target, terms = rollout.target, rollout.terms
    return Directive(
        ueid=ueid,
        release=target.release,
        digest=target.digest,
        length=target.length,
        sequence=target.sequence,
        expires=terms.until,
        purpose=target.purpose,
        defer_until=min(now + terms.defer_s, terms.until) if terms.defer_s else 0,
    )


def _gives_way(standing: Directive, made: Directive, now: int) -> bool:
    """Whether a directive may be replaced: it has run out, or is less than what replaces it."""
    return now >= standing.expires or _rank(standing) <= _rank(made)


def _rank(directive: Directive) -> tuple[bool, int]:
    """An update gives way to a way back or out, and never the other way; else the higher sequence goes."""
    return directive.purpose != UPDATE, directive.sequence
