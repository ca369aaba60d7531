"""The life of each gateway as moments in order, from what an observer heard and what the demo saw."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from medvouch.lifecycle.life import Life
from medvouch.messages import topics
from medvouch.messages.payloads import Payload, Scalar
from medvouch_sim.demo.verdicts import Verdict
from medvouch_sim.observer import Heard


class Sign(enum.Enum):
    """What a moment is: the mark that stands for it, and what that means."""

    LIFE = ("●", "stage of life")
    AFFIRMING = ("✓", "verdict affirming")
    NOT_AFFIRMING = ("✗", "another verdict")
    REBOOTED = ("↻", "rebooted")
    UPDATE = ("⇧", "update")
    FLOOR = ("▲", "floor raised")
    ATTACK = ("⚔", "attack caught")
    FAULT = ("↯", "fault survived")
    AMISS = ("‼", "not as expected")
    END = ("■", "decommissioned")

    def __init__(self, mark: str, meaning: str) -> None:
        self.mark = mark
        self.meaning = meaning


PASSING = frozenset({Sign.AFFIRMING, Sign.NOT_AFFIRMING, Sign.REBOOTED, Sign.UPDATE})
"""What an attack or a fault brings about and its row tells already; it is no stage of the life."""
TRIALS = frozenset({Sign.ATTACK, Sign.FAULT})
CLOSED = "closed"
"""The state of an update that has come to its good end; that is a stage of the life whatever else went on."""
_LIFE_EVENTS = {life.value: life for life in Life} | {"sanitised": Life.DECOMMISSIONED}
"""`event/KIND` of the device, or of the collector about it."""
_EPOCH_FIELDS = ("security_epoch", "epoch", "floor")


@dataclass(frozen=True)
class Moment:
    """Something that happened `at_s` seconds after the beginning.

    `label` is a stage of life, a verdict, the version of an update, an epoch, or the step of a row; `detail` the state
    of the update, or a code. `during` names the attack or fault that brought it about; `row` is the number of its row.
    """

    at_s: float
    sign: Sign
    label: str
    detail: str = ""
    during: str = ""
    row: int = 0


@dataclass(frozen=True)
class Facts:
    """What a gateway last said of itself, and what was last said of it; empty where nobody said it.

    `epoch` is the security epoch of the last update that was closed, `floor` the one below which the TPM lets nothing.
    """

    owner: str = ""
    model: str = ""
    serial: str = ""
    version: str = ""
    life: str = ""
    verdict: str = ""
    epoch: str = ""
    floor: str = ""


@dataclass(frozen=True)
class Lifeline:
    """One gateway's life: all its moments in order, and where it stands at the end."""

    gateway: str
    device: str
    moments: tuple[Moment, ...]
    facts: Facts


def lifelines(
    gateways: Sequence[tuple[str, str]], heard: Sequence[Heard], verdicts: Sequence[Verdict], began_s: float
) -> list[Lifeline]:
    """For each (name, device); `began_s` is when the demo began, by the clock that `heard` was timed with."""
    return [_lifeline(name, device, heard, verdicts, began_s) for name, device in gateways]


def _lifeline(name: str, device: str, heard: Sequence[Heard], verdicts: Sequence[Verdict], began_s: float) -> Lifeline:
    listener = _Listener(device)
    told = [replace(moment, at_s=each.at_s - began_s) for each in heard for moment in listener.moments(each)]
    rows = [(number, verdict) for number, verdict in enumerate(verdicts, 1) if verdict.gateway == name]
    attributed = [replace(moment, during=_during(moment, rows)) for moment in told]
    ordered = sorted([*attributed, *_trials(rows)], key=lambda moment: moment.at_s)
    return Lifeline(name, device, tuple(ordered), listener.facts)


def _trials(rows: Sequence[tuple[int, Verdict]]) -> Iterator[Moment]:
    """Rows that are moments themselves: attacks, faults, and whatever was not as expected."""
    for number, row in rows:
        if not row.as_expected:
            yield Moment(row.at_s, Sign.AMISS, row.step, row.actual, row=number)
        elif row.kind != "step":
            sign = Sign.FAULT if row.kind == "fault" else Sign.ATTACK
            yield Moment(row.at_s, sign, row.step, row.code or row.actual, row=number)


def _during(moment: Moment, rows: Sequence[tuple[int, Verdict]]) -> str:
    """The attack or fault under way on this gateway: the row that came next, if it is one."""
    following = next((row for _, row in rows if row.at_s >= moment.at_s), None)
    return following.step if following is not None and following.kind != "step" else ""


@dataclass
class _Listener:
    """Hears for one device; keeps what only a change tells."""

    device: str
    facts: Facts = field(default_factory=Facts)
    boot: str = ""

    def moments(self, heard: Heard) -> Iterator[Moment]:
        """What one message says of the device."""
        payload, topic = heard.payload, heard.topic
        if payload is None or self.device not in {payload.stamp.device, payload.fields.get("about")}:
            return
        match topic:
            case topics.Status() if payload.fields.get("state") == "online":
                yield from self._online(payload.stamp.boot_id)
            case topics.State(kind="identity"):
                yield from self._identity(payload)
            case topics.Event(kind="appraisal"):
                yield self._appraised(payload)
            case topics.Event(kind="update"):
                yield self._updated(payload)
            case topics.Event(kind=kind) if kind.startswith("floor") and not heard.code:
                yield from self._floor(payload)
            case topics.Event(kind=kind) if kind in _LIFE_EVENTS:
                yield from self._lives(_LIFE_EVENTS[kind])

    def _online(self, boot: str) -> Iterator[Moment]:
        before, self.boot = self.boot, boot
        if before not in {"", boot}:
            yield Moment(0, Sign.REBOOTED, "rebooted", f"boot {boot}")

    def _identity(self, payload: Payload) -> Iterator[Moment]:
        said = {name: _text(payload, name) for name in ("owner", "model", "serial")}
        self.facts = replace(self.facts, **said, version=_text(payload, "sw_version"))
        self.facts = replace(self.facts, floor=self.facts.floor or _epoch(payload))
        if (life := _text(payload, "life")) in _LIFE_EVENTS:
            yield from self._lives(_LIFE_EVENTS[life])

    def _lives(self, life: Life) -> Iterator[Moment]:
        if life is Life.MANUFACTURED or life.value == self.facts.life:
            return
        self.facts = replace(self.facts, life=life.value)
        yield Moment(0, Sign.END if life is Life.DECOMMISSIONED else Sign.LIFE, life.value)

    def _appraised(self, payload: Payload) -> Moment:
        status = _text(payload, "status")
        self.facts = replace(self.facts, verdict=status)
        sign = Sign.AFFIRMING if status == "affirming" else Sign.NOT_AFFIRMING
        return Moment(0, sign, status, _text(payload, "code"))

    def _updated(self, payload: Payload) -> Moment:
        state, reason = _text(payload, "state"), _text(payload, "reason")
        if state == CLOSED:
            self.facts = replace(self.facts, epoch=_text(payload, "security_epoch"))
        return Moment(0, Sign.UPDATE, _text(payload, "version"), f"{state}: {reason}" if reason else state)

    def _floor(self, payload: Payload) -> Iterator[Moment]:
        epoch = _epoch(payload)
        if epoch and epoch != self.facts.floor:
            self.facts = replace(self.facts, floor=epoch)
            yield Moment(0, Sign.FLOOR, f"epoch {epoch}")


def _epoch(payload: Payload) -> str:
    return next((_text(payload, name) for name in _EPOCH_FIELDS if name in payload.fields), "")


def _text(payload: Payload, name: str) -> str:
    value: Scalar = payload.fields.get(name)
    return "" if value is None else str(value)


@dataclass(frozen=True)
class Run:
    """Moments in a row that are shown as one: the same thing again, one update, or attacks and faults."""

    moments: tuple[Moment, ...]

    @property
    def first(self) -> Moment:
        """The moment that it begins with."""
        return self.moments[0]

    def count(self, sign: Sign) -> int:
        """How many moments of it have this sign."""
        return sum(moment.sign is sign for moment in self.moments)


def runs(lifeline: Lifeline) -> list[Run]:
    """The life without what attacks and faults brought about in passing."""
    found: list[Run] = []
    for moment in lifeline.moments:
        if not _in_passing(moment):
            begin = _joins(found, moment)
            joined = [each for run in found[begin:] for each in run.moments]
            found[begin:] = [Run((*joined, moment))]
    return found


def _joins(found: Sequence[Run], moment: Moment) -> int:
    """Where the run begins that `moment` goes on with: an update goes on after a reboot and a verdict, too."""
    if moment.sign is Sign.UPDATE:
        for begin in reversed(range(len(found))):
            first, last = found[begin].moments[0], found[begin].moments[-1]
            if first.sign is Sign.UPDATE:
                return begin if first.label == moment.label and last.detail != CLOSED else len(found)
            if first.sign not in PASSING:
                break
        return len(found)
    return len(found) - 1 if found and _alike(found[-1].first, moment) else len(found)


def _in_passing(moment: Moment) -> bool:
    return bool(moment.during) and moment.sign in PASSING and moment.detail != CLOSED


def _alike(one: Moment, other: Moment) -> bool:
    return {one.sign, other.sign} <= TRIALS or (one.sign is other.sign and one.sign in PASSING)
