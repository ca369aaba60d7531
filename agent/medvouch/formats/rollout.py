"""A rollout as its director keeps it from step to step: whom it is for, how far it has come, and who did what when.

It is a file beside the repository, replaced as a whole. It proves nothing to others: what became of devices is in their
ledgers, and what they were directed to in the repository's signed metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

from medvouch.formats.directive import MAX_TARGET_NAME, PURPOSES
from medvouch.formats.fleet import MAX_DEVICES, UEID_BYTES
from medvouch.formats.record import Many, Nested, Octets, OneOf, Place, Record, Text, Uint

MAX_ROLLOUT_BYTES = 8 << 20
MAX_COHORTS, MAX_WAVES = 64, 64
MAX_NOTES = 4096
MAX_NAME, MAX_ACTOR, MAX_REASON = 32, 128, 512
WHOLE = 10_000
"""A hundred percent."""

RUNNING, HALTED, DONE = STAGES = ("running", "halted", "done")
STARTED, DIRECTED, PASSED, HALT, RESUMED, ENDED = DEEDS = (
    "started", "directed", "passed", "halted", "resumed", "ended"
)  # fmt: skip

_Ueids = Many(Octets(UEID_BYTES, exact=True), MAX_DEVICES)
_Seconds = Annotated[int, Uint(2**40)]


@dataclass(frozen=True)
class Target(Record):
    """What devices are directed to: an envelope as `releases` lists it, its manifest's sequence and version."""

    FORMAT = "rollout"

    release: Annotated[str, Text(MAX_TARGET_NAME)]
    digest: Annotated[bytes, Octets(32, exact=True)]
    length: Annotated[int, Uint()]
    sequence: Annotated[int, Uint()]
    version: Annotated[str, Text(64)]
    purpose: Annotated[str, OneOf(PURPOSES)]


@dataclass(frozen=True)
class Terms(Record):
    """On what terms it goes on.

    Times: `until` in s since 1970, else in seconds. `max_failures` of WHOLE may fail of those that reported, and a wave
    counts once `min_reports` of it have. Who is silent for `silent_s` is unreachable, `soak_s` lie between a wave that
    counts and the next one, and users may put it off for `defer_s`.
    """

    FORMAT = "rollout"

    until: _Seconds
    silent_s: _Seconds
    soak_s: _Seconds
    defer_s: _Seconds
    max_failures: Annotated[int, Uint(WHOLE)]
    min_reports: Annotated[int, Uint(MAX_DEVICES)]


@dataclass(frozen=True)
class Cohort(Record):
    """Its devices in the order in which they are directed."""

    FORMAT = "rollout"

    name: Annotated[str, Text(MAX_NAME)]
    devices: Annotated[tuple[bytes, ...], _Ueids]


@dataclass(frozen=True)
class Wave(Record):
    """How many of each cohort are directed with it or before.

    `directed` and `passed` in s since 1970, 0 where that has not come; `skipped` were in quarantine when it was
    directed, and are left to a recovery.
    """

    FORMAT = "rollout"

    sizes: Annotated[tuple[int, ...], Many(Uint(MAX_DEVICES), MAX_COHORTS)]
    directed: _Seconds = 0
    passed: _Seconds = 0
    skipped: Annotated[tuple[bytes, ...], _Ueids] = ()


@dataclass(frozen=True)
class Note(Record):
    """Who did what, when (s since 1970), and why."""

    FORMAT = "rollout"

    time: _Seconds
    actor: Annotated[str, Text(MAX_ACTOR)]
    deed: Annotated[str, OneOf(DEEDS)]
    reason: Annotated[str, Text(MAX_REASON)]


@dataclass(frozen=True)
class Rollout(Record):
    """All of it; `forgiven` had failed when somebody resumed it, `resumed` in s since 1970 or 0."""

    FORMAT = "rollout"
    KIND = "medvouch-rollout"

    name: Annotated[str, Text(MAX_NAME)]
    target: Annotated[Target, Nested(Target)]
    terms: Annotated[Terms, Nested(Terms)]
    cohorts: Annotated[tuple[Cohort, ...], Many(Nested(Cohort), MAX_COHORTS)]
    waves: Annotated[tuple[Wave, ...], Many(Nested(Wave), MAX_WAVES)]
    stage: Annotated[str, OneOf(STAGES)]
    resumed: _Seconds
    forgiven: Annotated[tuple[bytes, ...], _Ueids]
    log: Annotated[tuple[Note, ...], Many(Nested(Note), MAX_NOTES)]

    @property
    def devices(self) -> tuple[bytes, ...]:
        """All that it is for, by cohort."""
        return tuple(ueid for cohort in self.cohorts for ueid in cohort.devices)

    @property
    def begun(self) -> tuple[Wave, ...]:
        """The waves that were directed."""
        return tuple(wave for wave in self.waves if wave.directed)

    def of_wave(self, number: int) -> tuple[bytes, ...]:
        """The devices that come with a wave (from 0), and with none before it."""
        before = self.waves[number - 1].sizes if number else (0,) * len(self.cohorts)
        spans = zip(self.cohorts, before, self.waves[number].sizes, strict=True)
        return tuple(ueid for cohort, start, end in spans for ueid in cohort.devices[start:end])

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Refuses a device that stands twice, waves that shrink or go beyond, and waves out of their order."""
        rollout = super().from_map(value, place)
        devices = rollout.devices
        if len(set(devices)) != len(devices):
            raise (place / "cohorts").malformed("each device once")
        limits = tuple(len(cohort.devices) for cohort in rollout.cohorts)
        before: tuple[int, ...] = (0,) * len(limits)
        for number, wave in enumerate(rollout.waves):
            sizes = wave.sizes
            if len(sizes) != len(limits) or not all(a <= b <= c for a, b, c in zip(before, sizes, limits, strict=True)):
                raise (place / "waves" / number).malformed("a part of each cohort, and no less than before")
            before = sizes
        if rollout.waves[: len(rollout.begun)] != rollout.begun:
            raise (place / "waves").malformed("waves that were directed one after the other")
        return rollout
