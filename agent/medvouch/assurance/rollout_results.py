"""What has come of a rollout so far: by device, and counted.

What counts is what was heard after a device was directed. It is a success when a verdict proves that the release runs;
a failure needs less: the device's word, a bad verdict, or that it took the release and was heard of no more.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from medvouch.assurance.reports import INSTALLED, QUARANTINING, DeviceReport
from medvouch.formats.consent import OPTED_OUT, POSTPONED
from medvouch.formats.directive import Directive
from medvouch.formats.ear import Tier
from medvouch.formats.rollout import WHOLE, Rollout, Terms
from medvouch.update.transitions import Update

Reports = Mapping[bytes, DeviceReport]
"""By UEID; who is not there was never heard of."""
AHEAD_S = 3600
"""By which other clocks may be ahead of the one here."""


class Result(enum.StrEnum):
    """What has come of directing a device to the release."""

    ATTESTED = "attested"
    """A verdict proves that it runs."""
    UNATTESTED = "installed_unattested"
    """The device says that it runs, and nothing proves it."""
    FAILED = "failed"
    """The device says so, or was judged badly since it was directed."""
    LOST = "lost"
    """It had armed the release or started it, and nothing was heard of it for longer than the terms say."""
    FORGIVEN = "failed_before"
    """It had failed when somebody resumed the rollout."""
    POSTPONED = "postponed"
    OPTED_OUT = "opted_out"
    UNDER_WAY = "under_way"
    """It was heard of since, and is not there yet."""
    SILENT = "silent"
    """Nothing was heard of it yet."""
    UNREACHABLE = "unreachable"
    """Nothing was heard of it for longer than the terms say; what it runs is what it ran, as far as that is known."""
    QUARANTINED = "quarantined"
    """It was in quarantine when its wave was directed, and was not."""


SETTLED = frozenset(Result) - {Result.UNATTESTED, Result.POSTPONED, Result.UNDER_WAY, Result.SILENT}
"""Nothing more is awaited of these."""
STILL_DIRECTED = frozenset(
    {Result.POSTPONED, Result.OPTED_OUT, Result.UNDER_WAY, Result.SILENT, Result.UNREACHABLE, Result.LOST}
)
"""Whose directive is to stand, as long as the rollout runs."""
FAILURES = frozenset({Result.FAILED, Result.LOST})
OUT = frozenset({Result.UNREACHABLE, Result.OPTED_OUT, Result.QUARANTINED})
"""From whom no report can be expected."""
HAS_IT = frozenset({Result.ATTESTED, Result.UNATTESTED})
TAKEN = frozenset({Update.ACTIVATED, Update.BOOTED, *INSTALLED})
"""States of an update in which the next start is of the release, or the last one was."""


@dataclass(frozen=True)
class Tally:
    """Of devices that were directed, by what came of it."""

    counts: Mapping[Result, int]

    @classmethod
    def of(cls, results: Iterable[Result]) -> Tally:
        """Counted."""
        return cls(Counter(results))

    @property
    def directed(self) -> int:
        """How many there are, those in quarantine left out."""
        return sum(count for result, count in self.counts.items() if result is not Result.QUARANTINED)

    @property
    def failed(self) -> int:
        """How many failed, or were lost."""
        return sum(self.counts.get(result, 0) for result in FAILURES)

    @property
    def reported(self) -> int:
        """How many are known for certain to have failed or not: the denominator of the failure rate."""
        return self.failed + self.counts.get(Result.ATTESTED, 0)

    @property
    def awaited(self) -> int:
        """How many may still report."""
        return sum(count for result, count in self.counts.items() if result not in SETTLED)

    def enough(self, terms: Terms) -> int:
        """How many have to report before it counts: no more than can, and one at least wherever there are devices."""
        counted = sum(self.counts.values()) - self.counts.get(Result.FORGIVEN, 0)
        out = sum(self.counts.get(result, 0) for result in OUT)
        return min(terms.min_reports, counted, max(counted - out, 1))

    def too_many_failed(self, terms: Terms) -> bool:
        """Whether the rate is over the limit: of those that reported, once they are enough, or of all in any case."""
        over = self.failed * WHOLE > terms.max_failures * self.reported
        certain = self.failed * WHOLE > terms.max_failures * self.directed
        return certain or (over and self.reported >= self.enough(terms))


def results(rollout: Rollout, reports: Reports, now: int) -> dict[bytes, Result]:
    """Of each device whose wave was directed."""
    numbers = range(len(rollout.begun))
    return {ueid: result for number in numbers for ueid, result in _of_wave(rollout, number, reports, now)}


def tallies(rollout: Rollout, reports: Reports, now: int) -> list[Tally]:
    """Of each wave that was directed."""
    return [
        Tally.of(result for _, result in _of_wave(rollout, number, reports, now))
        for number in range(len(rollout.begun))
    ]


def _of_wave(rollout: Rollout, number: int, reports: Reports, now: int) -> Iterator[tuple[bytes, Result]]:
    wave = rollout.waves[number]
    skipped, forgiven = set(wave.skipped), set(rollout.forgiven)
    for ueid in rollout.of_wave(number):
        result = _result(rollout, wave.directed, reports.get(ueid, DeviceReport()), now)
        if result is not Result.ATTESTED:
            result = Result.QUARANTINED if ueid in skipped else Result.FORGIVEN if ueid in forgiven else result
        yield ueid, result


def _result(rollout: Rollout, since: int, report: DeviceReport, now: int) -> Result:
    """What counts is what came after it was directed; and of that, what is proven comes first."""
    target, ours = rollout.target, _is_about(rollout, since, report)
    if report.verdict in QUARANTINING and report.judged_at >= since:
        return Result.FAILED
    if report.verdict is Tier.AFFIRMING and report.proven == target.version:
        return Result.ATTESTED
    if ours and report.state == Update.FAILED:
        return Result.FAILED
    if ours and report.state in TAKEN and _is_silent(rollout, since, report, now):
        return Result.LOST
    if ours and report.state in INSTALLED:
        return Result.UNATTESTED
    return _awaited(rollout, since, report, now)


def _awaited(rollout: Rollout, since: int, report: DeviceReport, now: int) -> Result:
    """It has not taken the release yet: what its user says, and whether it is heard of."""
    heard_at = _heard_at(report, now)
    said = {OPTED_OUT: Result.OPTED_OUT, POSTPONED: Result.POSTPONED}.get(report.consent)
    if said and heard_at >= since:
        return said
    if _is_silent(rollout, since, report, now):
        return Result.UNREACHABLE
    return Result.UNDER_WAY if heard_at >= since else Result.SILENT


def _is_silent(rollout: Rollout, since: int, report: DeviceReport, now: int) -> bool:
    return now - max(since, rollout.resumed, _heard_at(report, now)) >= rollout.terms.silent_s


def _heard_at(report: DeviceReport, now: int) -> int:
    """Nobody is heard of in the future."""
    return report.heard_at if report.heard_at <= now + AHEAD_S else 0


def _is_about(rollout: Rollout, since: int, report: DeviceReport) -> bool:
    """Whether what a device says of its update is said of this one: by its directive, or else since it was given."""
    if report.directive is not None:
        return is_ours(rollout, report.directive)
    return report.sequence == rollout.target.sequence and report.said_at >= since


def stale_until(rollout: Rollout, report: DeviceReport, now: int) -> int:
    """Until when (s since 1970) what is known of a device now must not be taken for what comes of directing it.

    A device that dates its claims ahead would keep its whole wave from counting: no longer than AHEAD_S.
    """
    judged = report.judged_at if report.verdict in QUARANTINING else 0
    said = report.said_at if report.sequence == rollout.target.sequence else 0
    return min(max(judged, said), now + AHEAD_S)


def is_ours(rollout: Rollout, directive: Directive) -> bool:
    """Whether a directive is one of this rollout."""
    target = rollout.target
    wanted = (target.digest, target.purpose, rollout.terms.until)
    return (directive.digest, directive.purpose, directive.expires) == wanted
