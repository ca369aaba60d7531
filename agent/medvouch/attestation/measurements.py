"""Measurements: one extend of a PCR each, as a log claims it, and as a quote confirmed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from medvouch.errors import InputError
from medvouch.formats import event_text
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import NO_ACTION, Event, EventLog
from medvouch.formats.hashing import HASHERS, digest
from medvouch.formats.ima import OLD, Entry
from medvouch.formats.systemd import Record
from medvouch.formats.uefi import Variable

LogName = Literal["uefi", "systemd", "ima"]


class Measurement(NamedTuple):
    """One extend of a PCR as a log claims it; `source` is the log's own event.

    A tuple, as events and entries are: there may be hundreds of thousands of them.
    """

    log: LogName
    pcr: int
    digests: Mapping[HashAlg, bytes]
    source: Event | Record | Entry

    @property
    def index(self) -> int:  # type: ignore[override]  # tuple.index() is given up
        """Number of the event in its log."""
        return self.source.index

    @property
    def data(self) -> bytes:
        """What the log says was hashed. Whether the digest is the hash of this is for the reader to check."""
        source = self[3]
        if isinstance(source, Event):
            return source[4]
        if isinstance(source, Record):
            return source.string.encode()
        return b"" if source.violation else source.hashed

    @property
    def type(self) -> int | None:
        """Type of the firmware's event, as the log claims it; None for the other logs."""
        source = self[3]
        return source[2] if isinstance(source, Event) else None

    def describe(self) -> str:
        """One printable line, for messages."""
        if isinstance(self.source, Event):
            return event_text.title(self.source)
        return f"{self.log} {self.source.describe()}"


class VerifiedEvent(Measurement):
    """A measurement that the quoted value of its PCR confirms; `digests` holds the confirmed banks only."""

    @cached_property
    def covers_data(self) -> bool:
        """Whether what the log says was hashed is what was: each digest is the hash of `data`."""
        data = self.data
        return all(digest(bank, data) == measured for bank, measured in self.digests.items())

    @cached_property
    def variable(self) -> Variable | None:
        """The UEFI variable that the data is, whether a digest covers it or not."""
        try:
            return Variable.parse(self.data)
        except InputError:
            return None


@dataclass(frozen=True)
class VerifiedEvents:
    """All measurements that the quote confirms, in the order of their PCR; made by `replay` alone."""

    events: tuple[VerifiedEvent, ...]

    def __iter__(self) -> Iterator[VerifiedEvent]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def of(self, pcr: int) -> tuple[VerifiedEvent, ...]:
        """Those of one PCR, in order."""
        return self._by_pcr.get(pcr, ())

    @cached_property
    def _by_pcr(self) -> Mapping[int, tuple[VerifiedEvent, ...]]:
        by_pcr: dict[int, list[VerifiedEvent]] = {}
        for event in self.events:
            by_pcr.setdefault(event.pcr, []).append(event)
        return {pcr: tuple(events) for pcr, events in by_pcr.items()}


Step = tuple[LogName, int, Mapping[HashAlg, bytes], Event | Record | Entry]
"""What a Measurement is made of; most are never looked at as one."""


def uefi_steps(log: EventLog) -> Iterator[Step]:
    """What firmware measured."""
    return (("uefi", event[1], event[3], event) for event in log.events if event[2] != NO_ACTION)


def systemd_steps(records: Iterable[Record]) -> Iterator[Step]:
    """What systemd measured into PCRs."""
    return (("systemd", record.pcr, record.digests, record) for record in records if record.pcr is not None)


def ima_steps(entries: Iterable[Entry], banks: Iterable[HashAlg]) -> Iterator[Step]:
    """The kernel extends each bank with its own hash of the template data, and with all ones for a violation."""
    hashers = [(bank, HASHERS[bank]) for bank in banks]
    violation = {bank: b"\xff" * bank.size for bank, _ in hashers}
    for entry in entries:
        _, pcr, template_hash, template, hashed, _ = entry
        digests = violation
        if any(template_hash):
            if template == OLD:
                hashed = entry.hashed
            digests = {}
            for bank, hasher in hashers:
                digests[bank] = hasher(hashed).digest()
        yield "ima", pcr, digests, entry
