"""Replays measurement logs against the PCR values that a TPM signed.

The firmware's log is complete when the quote is made; systemd's and IMA's grow on, and are read after the quote. So
for each PCR all firmware events and the shortest prefix of the growing events count that leads to the quoted value,
the same in every quoted bank; what comes after is dropped and counted. The order of measurements into different PCRs
is not measured, and nothing is concluded from it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Literal, NoReturn

from medvouch.attestation import refusals
from medvouch.errors import Refusal, RefusalKind
from medvouch.formats import event_text
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import NO_ACTION, Event, EventLog
from medvouch.formats.hashing import HASHERS, digest
from medvouch.formats.ima import BOOT_AGGREGATE, Entry
from medvouch.formats.systemd import Record

LogName = Literal["uefi", "systemd", "ima"]
Quoted = Mapping[HashAlg, Mapping[int, bytes]]
"""PCR values by bank and number, as a verified quote confirmed them."""

_DRTM_PCRS = range(17, 23)
_AGGREGATED = {HashAlg.SHA1: range(8)}
"""PCRs in IMA's boot_aggregate where they are not 0-9 (Linux, ima_calc_boot_aggregate_tfm)."""


class Status(enum.Enum):
    """What the replay says of one PCR of one bank."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NO_EVENTS = "no-events"
    """Quoted with a value that is not its reset value, and no log has an event for it."""
    UNEXTENDED = "unextended"
    """Still at its reset value."""
    NOT_QUOTED = "not-quoted"
    """A log has events for it, the quote does not cover it."""


@dataclass(frozen=True)
class Logs:
    """The parsed logs of one boot."""

    uefi: EventLog
    systemd: tuple[Record, ...] = ()
    ima: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """One extend of a PCR as a log claims it; `source` is the log's own event."""

    log: LogName
    pcr: int
    digests: Mapping[HashAlg, bytes]
    source: Event | Record | Entry

    @property
    def index(self) -> int:
        """Number of the event in its log."""
        return self.source.index

    @property
    def data(self) -> bytes:
        """What the log says was hashed. Whether the digest is the hash of this is for the reader to check."""
        match self.source:
            case Event(data=data):
                return data
            case Record(string=string):
                return string.encode()
            case Entry() as entry:
                return b"" if entry.violation else entry.hashed

    @property
    def type(self) -> int | None:
        """Type of the firmware's event, as the log claims it; None for the other logs."""
        return self.source.type if isinstance(self.source, Event) else None

    def describe(self) -> str:
        """One printable line, for messages."""
        if isinstance(self.source, Event):
            return event_text.title(self.source)
        return f"{self.log} {self.source.describe()}"


@dataclass(frozen=True)
class VerifiedEvent(Measurement):
    """A measurement that the quoted value of its PCR confirms; `digests` holds the confirmed banks only."""

    @cached_property
    def covers_data(self) -> bool:
        """Whether what the log says was hashed is what was: each digest is the hash of `data`."""
        return all(digest(bank, self.data) == measured for bank, measured in self.digests.items())


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


@dataclass(frozen=True)
class Row:
    """The outcome for one PCR of one bank. `events` of its events were replayed, `last` being the last of them."""

    bank: HashAlg
    pcr: int
    status: Status
    events: int
    replayed: bytes | None
    quoted: bytes | None
    last: Measurement | None


@dataclass(frozen=True)
class Table:
    """Every PCR that is quoted or has events, by PCR and bank; `dropped` counts what came after the quote, by log."""

    rows: tuple[Row, ...]
    dropped: Mapping[LogName, int]


@dataclass(frozen=True)
class Replay:
    """A replay in which every quoted PCR is explained."""

    events: VerifiedEvents
    _registers: Sequence[_Register] = field(repr=False)

    @cached_property
    def table(self) -> Table:
        """The whole outcome, for whoever wants to show it."""
        return _table(self._registers)


class ReplayRefusal(Refusal):
    """A log that does not explain the quote; `table` has the whole outcome."""

    def __init__(self, kind: RefusalKind, detail: str, *, place: str, table: Table) -> None:
        super().__init__(kind, detail, place=place)
        self.table = table


def replay(logs: Logs, quoted: Quoted) -> Replay:
    """The events that `quoted` confirms.

    Raises Refusal `bank-unsupported`, `pcr-mismatch`, `pcr-unexplained`, `ima-template-mismatch`,
    `boot-aggregate-missing` or `boot-aggregate-mismatch`; all but the first are ReplayRefusal.
    """
    registers = _registers(logs, quoted)
    if any(register.values != register.wanted for register in registers):
        _refuse(_table(registers))
    events = VerifiedEvents(tuple(event for register in registers for event in register.verified()))
    _require_ima(logs.uefi, [event.source for event in events if isinstance(event.source, Entry)], registers)
    return Replay(events, registers)


def tabulate(logs: Logs, quoted: Quoted) -> Table:
    """The whole outcome, whatever it is; raises only Refusal `bank-unsupported`."""
    return _table(_registers(logs, quoted))


def replayed_pcrs(log: EventLog) -> dict[HashAlg, dict[int, bytes]]:
    """What a firmware log alone leads to, for the PCRs it has events for; nothing of it is confirmed."""
    return {bank: _replayed_bank(log, bank) for bank in log.banks if bank in HASHERS}


def _replayed_bank(log: EventLog, bank: HashAlg) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    locality, hasher = log.startup_locality, HASHERS[bank]
    for _, pcr, event_type, digests, *_ in log.events:
        if event_type != NO_ACTION and bank in digests:
            value = values[pcr] if pcr in values else reset_value(bank, pcr, locality)
            values[pcr] = hasher(value + digests[bank]).digest()
    return values


def reset_value(bank: HashAlg, pcr: int, locality: int = 0) -> bytes:
    """What a PCR holds after TPM2_Startup (PTP 1.06, table 5): PCR 0 its locality, 17-22 all ones, else zero."""
    if pcr in _DRTM_PCRS:
        return b"\xff" * bank.size
    return (locality if pcr == 0 else 0).to_bytes(bank.size, "big")


@dataclass
class _Register:
    """One PCR with its claimed measurements while it is replayed in all its quoted banks at once."""

    pcr: int
    locality: int
    wanted: Mapping[HashAlg, bytes]
    fixed: list[Measurement] = field(default_factory=list)
    growing: list[Measurement] = field(default_factory=list)
    values: dict[HashAlg, bytes] = field(default_factory=dict)
    used: int = 0
    """Growing measurements that led to the quoted values."""
    measured: set[HashAlg] = field(default_factory=set)
    """Banks that have events."""
    unmet: set[HashAlg] = field(default_factory=set)
    """Banks that no prefix explains."""

    def run(self) -> None:
        """Find the shortest prefix on which all banks that have events agree with the quote."""
        self.measured.update(*(step.digests for step in chain(self.fixed, self.growing)))
        wanted = {bank: value for bank, value in self.wanted.items() if bank in self.measured}
        self.values = {bank: reset_value(bank, self.pcr, self.locality) for bank in self.wanted}
        self._extend(self.fixed)
        met: set[HashAlg] = set()
        for used in range(len(self.growing) + 1):
            if used:
                self._extend(self.growing[used - 1 : used])
            self.used = used
            agreeing = {bank for bank, value in wanted.items() if self.values[bank] == value}
            if len(agreeing) == len(wanted):
                return
            met |= agreeing
        self.unmet = wanted.keys() - met or set(wanted)

    def _extend(self, steps: Sequence[Measurement]) -> None:
        for bank in self.values:
            value, hasher = self.values[bank], HASHERS[bank]
            for step in steps:
                if (measured := step.digests.get(bank)) is not None:
                    value = hasher(value + measured).digest()
            self.values[bank] = value

    def verified(self) -> Iterator[VerifiedEvent]:
        """The measurements that the quoted values confirm."""
        if self.unmet:
            return
        for step in self.fixed + self.growing[: self.used]:
            confirmed = {bank: measured for bank, measured in step.digests.items() if bank in self.wanted}
            if confirmed:
                yield VerifiedEvent(step.log, step.pcr, confirmed, step.source)

    def rows(self) -> Iterator[Row]:
        """One for each bank that is quoted or measured."""
        replayed = self.fixed + self.growing[: self.used]
        for bank in sorted(self.wanted.keys() | self.measured):
            steps = [step for step in replayed if bank in step.digests]
            status = self._status(bank, bool(steps))
            last = steps[-1] if steps else None
            yield Row(bank, self.pcr, status, len(steps), self.values.get(bank), self.wanted.get(bank), last)

    def _status(self, bank: HashAlg, extended: bool) -> Status:
        if bank not in self.wanted:
            return Status.NOT_QUOTED
        if bank in self.unmet:
            return Status.MISMATCH
        if extended:
            return Status.MATCH
        return Status.UNEXTENDED if self.wanted[bank] == self.values[bank] else Status.NO_EVENTS


def _registers(logs: Logs, quoted: Quoted) -> list[_Register]:
    """All PCRs that are quoted or measured, replayed, in ascending order."""
    for bank in quoted:
        if bank not in HASHERS:
            raise Refusal(refusals.BANK_UNSUPPORTED, f"{bank.label} cannot be computed here", place=bank.label)
    fixed, growing = list(_uefi_steps(logs.uefi)), [*_systemd_steps(logs.systemd), *_ima_steps(logs.ima, quoted)]
    pcrs = {pcr for values in quoted.values() for pcr in values} | {step.pcr for step in [*fixed, *growing]}
    locality = logs.uefi.startup_locality
    registers = {pcr: _Register(pcr, locality, _wanted(quoted, pcr)) for pcr in sorted(pcrs)}
    for step in fixed:
        registers[step.pcr].fixed.append(step)
    for step in growing:
        registers[step.pcr].growing.append(step)
    for register in registers.values():
        register.run()
    return list(registers.values())


def _wanted(quoted: Quoted, pcr: int) -> dict[HashAlg, bytes]:
    return {bank: values[pcr] for bank, values in quoted.items() if pcr in values}


def _uefi_steps(log: EventLog) -> Iterator[Measurement]:
    return (Measurement("uefi", event.pcr, event.digests, event) for event in log.events if event.measured)


def _systemd_steps(records: Iterable[Record]) -> Iterator[Measurement]:
    for record in records:
        if record.pcr is not None:
            yield Measurement("systemd", record.pcr, record.digests, record)


def _ima_steps(entries: Iterable[Entry], banks: Iterable[HashAlg]) -> Iterator[Measurement]:
    """The kernel extends each bank with its own hash of the template data, and with all ones for a violation."""
    banks = tuple(banks)
    for entry in entries:
        if entry.violation:
            digests = {bank: b"\xff" * bank.size for bank in banks}
        else:
            hashed = entry.hashed
            digests = {bank: digest(bank, hashed) for bank in banks}
        yield Measurement("ima", entry.pcr, digests, entry)


def _table(registers: Sequence[_Register]) -> Table:
    dropped: dict[LogName, int] = {"systemd": 0, "ima": 0}
    for register in registers:
        for step in register.growing[register.used :]:
            dropped[step.log] += 1
    return Table(tuple(row for register in registers for row in register.rows()), dropped)


def _refuse(table: Table) -> NoReturn:
    """Raise the ReplayRefusal of the first row that is not explained."""
    row = next(row for row in table.rows if row.status in (Status.NO_EVENTS, Status.MISMATCH))
    place = f"{row.bank.label} PCR {row.pcr}"
    quoted = (row.quoted or b"").hex()
    if row.status is Status.NO_EVENTS:
        detail = f"{place} is quoted as {quoted} and no log has an event for it"
        raise ReplayRefusal(refusals.PCR_UNEXPLAINED, detail, place=place, table=table)
    last = row.last.describe() if row.last else "none"
    detail = f"{row.events} events lead to {(row.replayed or b'').hex()}, quoted is {quoted}; the last is {last}"
    raise ReplayRefusal(refusals.PCR_MISMATCH, detail, place=place, table=table)


def _require_ima(log: EventLog, entries: Sequence[Entry], registers: Sequence[_Register]) -> None:
    """Of the confirmed entries: template hashes hold, and the list belongs to the boot of the firmware's log."""
    for entry in entries:
        if not entry.violation and entry.template_algorithm is None:
            detail = f"{entry.describe()}: the template hash is not the hash of the entry"
            raise ReplayRefusal(
                refusals.IMA_TEMPLATE_MISMATCH, detail, place=f"ima entry {entry.index}", table=_table(registers)
            )
    if not entries:
        return
    first = entries[0]
    recorded = first.file_digest
    if first.index != 0 or first.path != BOOT_AGGREGATE or first.violation or recorded is None:
        detail = f"the list begins with {first.describe()}"
        raise ReplayRefusal(
            refusals.BOOT_AGGREGATE_MISSING, detail, place=f"ima entry {first.index}", table=_table(registers)
        )
    label, found = recorded
    expected = boot_aggregate(log, label)
    if found != expected:
        computed = f"leads to {expected.hex()}" if expected else "has no such bank"
        detail = f"the list says {label}:{found.hex()}, the firmware's log {computed}"
        raise ReplayRefusal(refusals.BOOT_AGGREGATE_MISMATCH, detail, place="ima entry 0", table=_table(registers))


def boot_aggregate(log: EventLog, label: str) -> bytes | None:
    """What IMA measures first: the hash over PCRs 0-9 (SHA-1: 0-7) of one bank; None where the log lacks the bank."""
    bank = next((bank for bank in log.banks if bank in HASHERS and bank.label == label), None)
    if bank is None:
        return None
    replayed = _replayed_bank(log, bank)
    pcrs = _AGGREGATED.get(bank, range(10))
    values = (replayed.get(pcr) or reset_value(bank, pcr, log.startup_locality) for pcr in pcrs)
    return digest(bank, b"".join(values))
