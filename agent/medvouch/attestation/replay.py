"""Replays measurement logs against the PCR values that a TPM signed.

The firmware's log is complete when the quote is made; systemd's and IMA's grow on, and are read after the quote. So
for each PCR all firmware events and the shortest prefix of the growing events count that leads to the quoted value,
the same in every quoted bank; what comes after is dropped and counted. The order of measurements into different PCRs
is not measured, and nothing is concluded from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import NoReturn

from medvouch.attestation import refusals
from medvouch.attestation.measurements import (
    LogName,
    Measurement,
    Step,
    VerifiedEvent,
    VerifiedEvents,
    ima_steps,
    systemd_steps,
    uefi_steps,
)
from medvouch.attestation.registers import (
    Quoted,
    Register,
    Row,
    Status,
    Table,
    boot_aggregate,
    replayed_pcrs,
    reset_value,
)
from medvouch.errors import Refusal, RefusalKind
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import EventLog
from medvouch.formats.hashing import HASHERS
from medvouch.formats.ima import BOOT_AGGREGATE, Entry, first_altered
from medvouch.formats.systemd import Record

__all__ = [
    "LogName",
    "Logs",
    "Measurement",
    "Quoted",
    "Replay",
    "ReplayRefusal",
    "Row",
    "Status",
    "Table",
    "VerifiedEvent",
    "VerifiedEvents",
    "boot_aggregate",
    "replay",
    "replayed_pcrs",
    "reset_value",
    "tabulate",
]


@dataclass(frozen=True)
class Logs:
    """The parsed logs of one boot."""

    uefi: EventLog
    systemd: tuple[Record, ...] = ()
    ima: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Replay:
    """A replay in which every quoted PCR is explained."""

    events: VerifiedEvents
    _registers: Sequence[Register] = field(repr=False)

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
    if not all(register.explained for register in registers):
        _refuse(_table(registers))
    events = VerifiedEvents(tuple(chain.from_iterable(register.verified() for register in registers)))
    _require_ima(logs.uefi, [event.source for event in events if isinstance(event.source, Entry)], registers)
    return Replay(events, registers)


def tabulate(logs: Logs, quoted: Quoted) -> Table:
    """The whole outcome, whatever it is; raises only Refusal `bank-unsupported`."""
    return _table(_registers(logs, quoted))


@dataclass(frozen=True)
class Account:
    """All that the logs claim, and what of it the quote confirms, for whoever explains a verdict.

    `claimed` has every measurement, log after log; `after` those that came after the quote.
    """

    table: Table
    claimed: tuple[Measurement, ...]
    confirmed: VerifiedEvents
    after: frozenset[tuple[LogName, int]]


def account(logs: Logs, quoted: Quoted) -> Account:
    """The whole outcome, whatever it is, event by event; raises only Refusal `bank-unsupported`."""
    registers = _registers(logs, quoted)
    steps = [Measurement(*step) for register in registers for step in (*register.fixed, *register.growing)]
    order = {"uefi": 0, "ima": 1, "systemd": 2}
    late = (Measurement(*step) for each in registers if not each.unmet for step in each.growing[each.used :])
    return Account(
        table=_table(registers),
        claimed=tuple(sorted(steps, key=lambda step: (order[step.log], step.index))),
        confirmed=VerifiedEvents(tuple(event for register in registers for event in register.verified())),
        after=frozenset((step.log, step.index) for step in late),
    )


def _registers(logs: Logs, quoted: Quoted) -> list[Register]:
    """All PCRs that are quoted or measured, replayed, in ascending order."""
    for bank in quoted:
        if bank not in HASHERS:
            raise Refusal(refusals.BANK_UNSUPPORTED, f"{bank.label} cannot be computed here", place=bank.label)
    fixed, growing = defaultdict[int, list[Step]](list), defaultdict[int, list[Step]](list)
    for step in uefi_steps(logs.uefi):
        fixed[step[1]].append(step)
    for step in systemd_steps(logs.systemd):
        growing[step[1]].append(step)
    for step in ima_steps(logs.ima, quoted):
        growing[step[1]].append(step)
    pcrs = {pcr for values in quoted.values() for pcr in values} | fixed.keys() | growing.keys()
    locality = logs.uefi.startup_locality
    registers = [
        Register(pcr, locality, _wanted(quoted, pcr), fixed.get(pcr, []), growing.get(pcr, [])) for pcr in sorted(pcrs)
    ]
    for register in registers:
        register.run()
    return registers


def _wanted(quoted: Quoted, pcr: int) -> dict[HashAlg, bytes]:
    return {bank: values[pcr] for bank, values in quoted.items() if pcr in values}


def _table(registers: Sequence[Register]) -> Table:
    dropped: dict[LogName, int] = {"systemd": 0, "ima": 0}
    for register in registers:
        for step in register.growing[register.used :]:
            dropped[step[0]] += 1
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


def _confirmed_aggregate(log: EventLog, label: str, registers: Sequence[Register]) -> bytes | None:
    """As `boot_aggregate`; where the quote confirmed what firmware alone led to, those values are not computed anew."""
    known = {register.pcr: register.wanted for register in registers if not register.used}
    return boot_aggregate(log, label, known)


def _require_ima(log: EventLog, entries: Sequence[Entry], registers: Sequence[Register]) -> None:
    """Of the confirmed entries: template hashes hold, and the list belongs to the boot of the firmware's log."""
    if (entry := first_altered(entries)) is not None:
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
    expected = _confirmed_aggregate(log, label, registers)
    if found != expected:
        computed = f"leads to {expected.hex()}" if expected else "has no such bank"
        detail = f"the list says {label}:{found.hex()}, the firmware's log {computed}"
        raise ReplayRefusal(refusals.BOOT_AGGREGATE_MISMATCH, detail, place="ima entry 0", table=_table(registers))
