"""From a plan, a fleet and a published release to a rollout: who belongs to which cohort, and who comes when.

The order follows from the release and the UEIDs, so that nobody chooses who goes first (ADR 45).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from medvouch.assurance import refusals
from medvouch.errors import Refusal
from medvouch.formats import cbor
from medvouch.formats.fleet import Fleet
from medvouch.formats.rollout import RUNNING, STARTED, Cohort, Note, Rollout, Target, Terms, Wave
from medvouch.formats.rollout_plan import Plan

ORDER = "medvouch/rollout/1"
QUARANTINED = "quarantined"
"""The cohort of a recovery."""


def plan_rollout(plan: Plan, target: Target, fleet: Fleet, now: int, actor: str, reason: str) -> Rollout:
    """A rollout that has directed nobody yet.

    Raises Refusal `rollout-over`, `rollout-device-unknown`, `rollout-cohort-empty`.
    """
    if plan.terms.until <= now:
        raise Refusal(refusals.ROLLOUT_OVER, f"it ends {now - plan.terms.until} s ago", place="until")
    known = {device.ueid for device in fleet.devices}
    for cohort in plan.cohorts:
        if unknown := sorted(cohort.ueids - known):
            raise Refusal(refusals.ROLLOUT_DEVICE_UNKNOWN, f"{unknown[0].hex()} is not in the fleet", place=cohort.name)
    cohorts = tuple(Cohort(name, in_order(target.digest, devices)) for name, devices in _members(plan, fleet).items())
    waves = tuple(Wave(sizes) for sizes in _sizes(plan, cohorts))
    note = Note(now, actor, STARTED, reason)
    return Rollout(plan.name, target, plan.terms, cohorts, waves, RUNNING, 0, (), (note,))


def plan_recovery(name: str, target: Target, devices: Iterable[bytes], terms: Terms, note: Note) -> Rollout:
    """A rollout of one wave, to all devices that are in quarantine."""
    cohort = Cohort(QUARANTINED, in_order(target.digest, devices))
    wave = Wave((len(cohort.devices),))
    return Rollout(name, target, terms, (cohort,), (wave,), RUNNING, 0, (), (note,))


def in_order(digest: bytes, ueids: Iterable[bytes]) -> tuple[bytes, ...]:
    """By SHA-256 of [ORDER, the envelope's digest, UEID]: known to all, and chosen by nobody."""
    return tuple(sorted(ueids, key=lambda ueid: hashlib.sha256(cbor.encode([ORDER, digest, ueid])).digest()))


def _members(plan: Plan, fleet: Fleet) -> dict[str, list[bytes]]:
    members: dict[str, list[bytes]] = {cohort.name: [] for cohort in plan.cohorts}
    for device in fleet.devices:
        takes = (cohort for cohort in plan.cohorts if cohort.takes(device.ueid, device.model, device.labels))
        if cohort := next(takes, None):
            members[cohort.name].append(device.ueid)
    for name, devices in members.items():
        if not devices:
            raise Refusal(refusals.ROLLOUT_COHORT_EMPTY, "no device of the fleet belongs to it", place=name)
    return members


def _sizes(plan: Plan, cohorts: Sequence[Cohort]) -> Iterator[tuple[int, ...]]:
    """Cumulative: no wave takes back what one before it directed."""
    reached = dict.fromkeys((cohort.name for cohort in cohorts), 0)
    for wave in plan.waves:
        for cohort in cohorts:
            share = wave.get(cohort.name)
            reached[cohort.name] = max(reached[cohort.name], share.of(len(cohort.devices)) if share else 0)
        yield tuple(reached.values())


def set_apart(rollout: Rollout, others: Iterable[Rollout]) -> Rollout:
    """The same, told apart from all others: directives are a rollout's own by release, purpose and expiry.

    Raises Refusal `rollout-name-taken`, `rollout-overlap`.
    """
    others = list(others)
    if rollout.name in {other.name for other in others}:
        raise Refusal(refusals.ROLLOUT_NAME_TAKEN, "it stays, with its log", place=rollout.name)
    check_apart(rollout, others)
    same = [other for other in others if (other.target.digest, other.target.purpose) == _aim(rollout)]
    until, taken = rollout.terms.until, {other.terms.until for other in same}
    while until in taken:
        until -= 1
    return replace(rollout, terms=replace(rollout.terms, until=until))


def check_apart(rollout: Rollout, others: Iterable[Rollout]) -> None:
    """That no device is in two rollouts that run, of one purpose: Refusal `rollout-overlap`."""
    devices = set(rollout.devices)
    for other in others:
        runs = other.stage == RUNNING and other.target.purpose == rollout.target.purpose
        if runs and other.name != rollout.name and (shared := devices & set(other.devices)):
            raise Refusal(refusals.ROLLOUT_OVERLAP, f"{len(shared)} devices are in both", place=other.name)


def _aim(rollout: Rollout) -> tuple[bytes, str]:
    return rollout.target.digest, rollout.target.purpose
