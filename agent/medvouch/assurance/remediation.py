"""What became of an advisory in a fleet: one record for each device that its maker knows, and whether it is closed.

Seven times: its maker was aware of it, it was public, a fix was available, the device was notified of that, had it
downloaded, installed, and attested. A time that nothing proves is None. Of the device's own times its ledger tells,
where its clock was synchronised; attested is the appraiser's time. Closed is an advisory by attestation alone (ADR 48).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from medvouch.assurance import refusals
from medvouch.assurance.lineage import ATTESTED_FIXED, ENVELOPE, FAILED, UNATTESTED, UNDER_WAY
from medvouch.assurance.remediation_case import Advised, Case, Heard
from medvouch.errors import Refusal
from medvouch.formats.consent import OPTED_OUT, POSTPONED
from medvouch.formats.fleet import Fleet, FleetDevice
from medvouch.update.consent import Cause
from medvouch.update.transitions import Update

NOT_AFFECTED, UNSUPPORTED, UNREACHABLE = "not_affected", "unsupported", "unreachable"
OPEN = "open"
"""No outcome yet: it was heard of since the fix was available, if there is one, and has it not."""
OUTCOMES = (
    ATTESTED_FIXED, UNATTESTED, POSTPONED, OPTED_OUT, FAILED, UNREACHABLE, NOT_AFFECTED, UNSUPPORTED
)  # fmt: skip
UNCONCERNED = (NOT_AFFECTED, UNSUPPORTED)
"""Of the known devices, those that are in no denominator but that of all."""

LATENCIES = (
    ("aware", "available"),
    ("public", "available"),
    ("available", "notified"),
    ("available", "downloaded"),
    ("available", "installed"),
    ("available", "attested"),
    ("public", "attested"),
    ("aware", "attested"),
)


@dataclass(frozen=True)
class Times:
    """In s since 1970; None where nothing proves it."""

    aware: int | None = None
    public: int | None = None
    available: int | None = None
    notified: int | None = None
    downloaded: int | None = None
    installed: int | None = None
    attested: int | None = None


@dataclass(frozen=True)
class DeviceRecord:
    """One device: `running` is the version that it says to run, `fixed_by` the one that brought the fix."""

    device: FleetDevice
    outcome: str
    reason: str
    running: str
    fixed_by: str
    times: Times


@dataclass(frozen=True)
class Latency:
    """Seconds from one time to another: nearest-rank percentiles of `known` devices `of` all that are concerned."""

    start: str
    end: str
    known: int
    of: int
    median: int | None
    p90: int | None
    longest: int | None


@dataclass(frozen=True)
class Remediation:
    """The whole record. `counts` by outcome, and OPEN; `concerned` devices are affected and supported."""

    public: int
    aware: int | None
    devices: tuple[DeviceRecord, ...]
    counts: Mapping[str, int]
    concerned: int
    latencies: tuple[Latency, ...]

    @property
    def closed(self) -> bool:
        """Whether a verdict proves the fix on every device that is affected and supported."""
        return self.counts[ATTESTED_FIXED] == self.concerned

    @property
    def closed_at(self) -> int | None:
        """When the last of them was attested; None where it is not closed, or none was concerned."""
        times = [each.times.attested for each in self.devices if each.outcome == ATTESTED_FIXED]
        return max((time for time in times if time), default=None) if self.closed else None


def remediate(advised: Advised, fleet: Fleet, heard: Mapping[bytes, Heard]) -> Remediation:
    """The record of a fleet; `heard` by UEID. Refusal `fleet-incomplete` where it has a device that the fleet has not.

    For each device the first of these that holds: it was never affected, or is decommissioned; it runs a fix, proven or
    not; its support had ended before the advisory was public; it was not heard of since a fix was available; its user
    opted out, or put it off; the last attempt failed. If none does, it is open.
    """
    if unlisted := sorted(heard.keys() - {device.ueid for device in fleet.devices}):
        raise Refusal(refusals.FLEET_INCOMPLETE, f"{len(unlisted)} of them, the first {unlisted[0].hex()}")
    devices = tuple(_record(Case(advised, each, heard.get(each.ueid, Heard()))) for each in fleet.devices)
    concerned = [each.times for each in devices if each.outcome not in UNCONCERNED]
    counts = Counter(each.outcome for each in devices)
    return Remediation(
        public=advised.public,
        aware=advised.aware,
        devices=devices,
        counts={outcome: counts[outcome] for outcome in (*OUTCOMES, OPEN)},
        concerned=len(concerned),
        latencies=tuple(_latency(start, end, concerned) for start, end in LATENCIES),
    )


# --- one device ------------------------------------------------------------------------------------------------------


def _record(case: Case) -> DeviceRecord:
    found = ((outcome, reason) for outcome, rule in _RULES if (reason := rule(case)))
    outcome, reason = next(found, (OPEN, _still_open(case)))
    fix = case.fix if outcome != NOT_AFFECTED else None
    delivered = case.device.version if case.heard.life else ""
    return DeviceRecord(
        device=case.device,
        outcome=outcome,
        reason=reason,
        running=case.version(case.installed[-1]) if case.installed else delivered,
        fixed_by=case.version(fix) if fix else "",
        times=_times(case) if outcome != NOT_AFFECTED else Times(),
    )


def _still_open(case: Case) -> str:
    if not case.remedies:
        return "no release fixes it yet"
    if case.heard.life is None:
        return "it was heard of, and its ledger is not at hand"
    if case.attempt in case.installed:
        return f"it has left the fix, and runs {case.version(case.installed[-1]) or 'what nobody released'}"
    if case.attempt is None:
        return "it has not been notified of a fix"
    held = f", and waits: {case.held_by}" if case.held_by else ""
    return f"the fix is {case.attempt.steps[-1].state}{held}"


def _times(case: Case) -> Times:
    shown = case.fix or case.attempt
    at = {step.state: step.time_ms // 1000 for step in shown.steps if step.clock_ok} if shown else {}
    return Times(
        aware=case.advised.aware,
        public=case.advised.public,
        available=case.available,
        notified=at.get(Update.NOTIFIED),
        downloaded=at.get(Update.STAGED),
        installed=at.get(Update.SELF_CHECKED),
        attested=case.proof.ear.issued_at if case.proof else None,
    )


def _not_affected(case: Case) -> str:
    if case.heard.life and case.heard.life.sanitisation:
        return "it is decommissioned, and its keys are gone"
    return "" if case.affecting else "no version that it ran was affected"


def _attested(case: Case) -> str:
    return f"a verdict proves that {case.version(case.fix)} booted" if case.fix and case.proof else ""


def _unattested(case: Case) -> str:
    said = f"it says that it runs {case.version(case.fix)}, and " if case.fix else ""
    return said and said + (f"the last verdict found {case.found}" if case.found else "nothing proves it")


def _unsupported(case: Case) -> str:
    end = case.advised.support_end
    return "its support had ended before the advisory" if end is not None and end <= case.advised.public else ""


def _unreachable(case: Case) -> str:
    if case.heard.broken:
        return f"its ledger does not hold: {case.heard.broken}"
    if case.heard.life is None and not case.heard.at:
        return "there is no ledger of it"
    silent = case.available is not None and case.last_heard < case.available and case.attempt is None
    return "nothing was heard of it since the fix was available" if silent else ""


def _opted_out(case: Case) -> str:
    """Unless the user asked for this remedy nevertheless."""
    said = case.consent
    wants = said is not None and said.cause == Cause.INSTALL_NOW and case.is_remedy(said.digests.get(ENVELOPE))
    return "its user opted out" if said and said.after == OPTED_OUT and not wants else ""


def _postponed(case: Case) -> str:
    """A postponement holds what comes next, too: so a remedy that waits, whatever release it was said of.

    What failed meanwhile, or was withdrawn, is put off by nobody.
    """
    if case.consent is None or case.consent.after != POSTPONED:
        return ""
    attempt, said_of = case.attempt, case.is_remedy(case.consent.digests.get(ENVELOPE))
    return "its user put it off" if (attempt.outcome == UNDER_WAY if attempt else said_of) else ""


def _failed(case: Case) -> str:
    attempt = case.attempt
    return attempt.detail or "it says no more" if attempt and attempt.outcome == FAILED else ""


_RULES: Sequence[tuple[str, Callable[[Case], str]]] = (
    (NOT_AFFECTED, _not_affected),
    (ATTESTED_FIXED, _attested),
    (UNATTESTED, _unattested),
    (UNSUPPORTED, _unsupported),
    (UNREACHABLE, _unreachable),
    (OPTED_OUT, _opted_out),
    (POSTPONED, _postponed),
    (FAILED, _failed),
)
"""Each gives the reason why its outcome holds, or nothing; the first that holds is the device's."""


# --- the fleet -------------------------------------------------------------------------------------------------------


def _latency(start: str, end: str, concerned: Sequence[Times]) -> Latency:
    found = sorted(_between(concerned, start, end))
    median, p90, longest = (_percentile(found, percent) for percent in (50, 90, 100))
    return Latency(start, end, len(found), len(concerned), median, p90, longest)


def _between(concerned: Iterable[Times], start: str, end: str) -> Iterator[int]:
    """What came before it was awaited, or by a clock that is a little behind, took no time."""
    for times in concerned:
        begun, ended = getattr(times, start), getattr(times, end)
        if begun is not None and ended is not None:
            yield max(0, ended - begun)


def _percentile(values: Sequence[int], percent: int) -> int | None:
    return values[-(-len(values) * percent // 100) - 1] if values else None
