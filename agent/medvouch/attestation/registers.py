"""PCRs replayed: each one in all its quoted banks at once, up to where the quote stands."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from medvouch.attestation.measurements import LogName, Measurement, Step, VerifiedEvent
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import NO_ACTION, EventLog
from medvouch.formats.hashing import HASHERS, digest

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


def reset_value(bank: HashAlg, pcr: int, locality: int = 0) -> bytes:
    """What a PCR holds after TPM2_Startup (PTP 1.06, table 5): PCR 0 its locality, 17-22 all ones, else zero."""
    if pcr in _DRTM_PCRS:
        return b"\xff" * bank.size
    return (locality if pcr == 0 else 0).to_bytes(bank.size, "big")


def replayed_pcrs(log: EventLog) -> dict[HashAlg, dict[int, bytes]]:
    """What a firmware log alone leads to, for the PCRs it has events for; nothing of it is confirmed."""
    return {bank: _replayed_bank(log, bank) for bank in log.banks if bank in HASHERS}


_new = tuple.__new__


def _replayed_bank(log: EventLog, bank: HashAlg) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    locality, hasher = log.startup_locality, HASHERS[bank]
    for _, pcr, event_type, digests, *_ in log.events:
        if event_type != NO_ACTION and bank in digests:
            value = values[pcr] if pcr in values else reset_value(bank, pcr, locality)
            values[pcr] = hasher(value + digests[bank]).digest()
    return values


def boot_aggregate(
    log: EventLog, label: str, known: Mapping[int, Mapping[HashAlg, bytes]] | None = None
) -> bytes | None:
    """What IMA measures first: the hash over PCRs 0-9 (SHA-1: 0-7) of one bank; None where the log lacks the bank.

    `known`, by PCR: values to which the log is known to lead; where these are all, it is not replayed.
    """
    bank = next((bank for bank in log.banks if bank in HASHERS and bank.label == label), None)
    if bank is None:
        return None
    pcrs = _AGGREGATED.get(bank, range(10))
    if known and all(bank in known.get(pcr, ()) for pcr in pcrs):
        return digest(bank, b"".join(known[pcr][bank] for pcr in pcrs))
    replayed = _replayed_bank(log, bank)
    values = (replayed.get(pcr) or reset_value(bank, pcr, log.startup_locality) for pcr in pcrs)
    return digest(bank, b"".join(values))


@dataclass(slots=True)
class Register:
    """One PCR with its claimed measurements while it is replayed."""

    pcr: int
    locality: int
    wanted: Mapping[HashAlg, bytes]
    fixed: list[Step] = field(default_factory=list)
    growing: list[Step] = field(default_factory=list)
    values: dict[HashAlg, bytes] = field(default_factory=dict)
    used: int = 0
    """Growing measurements that led to the quoted values."""
    measured: set[HashAlg] = field(default_factory=set)
    """Banks that have events."""
    unmet: set[HashAlg] = field(default_factory=set)
    """Banks that no prefix explains."""

    def run(self) -> None:
        """Find the shortest prefix on which all banks that have events agree with the quote; linear in the events."""
        self.values = {bank: reset_value(bank, self.pcr, self.locality) for bank in self.wanted}
        if not self.fixed and not self.growing:
            return
        self.measured.update(*(step[2] for steps in (self.fixed, self.growing) for step in steps))
        banks = [bank for bank in self.wanted if bank in self.measured]
        met = {bank: self._met(bank) for bank in banks}
        common = set(range(len(self.growing) + 1)).intersection(*met.values()) if len(met) != 1 else met[banks[0]]
        if common:
            self.used = min(common)
        else:
            self.used = len(self.growing)
            self.unmet = {bank for bank, prefixes in met.items() if not prefixes} or set(banks)
        for bank in banks:
            self.values[bank] = self.wanted[bank] if common else self._replayed(bank)

    def _met(self, bank: HashAlg) -> set[int]:
        """Lengths of the growing prefixes that lead to the quoted value."""
        value, wanted = self._extended(bank, self.values[bank], self.fixed), self.wanted[bank]
        met = {0} if value == wanted else set()
        if not self.growing:
            return met
        hasher = HASHERS[bank]
        for number, (_, _, digests, _) in enumerate(self.growing, 1):
            if bank in digests:
                value = hasher(value + digests[bank]).digest()
            if value == wanted:
                met.add(number)
        return met

    def _replayed(self, bank: HashAlg) -> bytes:
        """Where all events lead."""
        return self._extended(bank, self.values[bank], self.fixed + self.growing)

    @staticmethod
    def _extended(bank: HashAlg, value: bytes, steps: Sequence[Step]) -> bytes:
        hasher = HASHERS[bank]
        for _, _, digests, _ in steps:
            if bank in digests:
                value = hasher(value + digests[bank]).digest()
        return value

    @property
    def explained(self) -> bool:
        """Whether each quoted value is the one that its events lead to, or without any the one after a reset."""
        return self.values == self.wanted

    def verified(self) -> Iterator[VerifiedEvent]:
        """The measurements that the quoted values confirm."""
        if self.unmet:
            return
        wanted = self.wanted.keys()
        for step in self.fixed + self.growing[: self.used]:
            log, pcr, digests, source = step
            confirmed = digests
            if len(digests) != len(wanted) or digests.keys() != wanted:
                confirmed = {bank: digests[bank] for bank in wanted if bank in digests}
            if confirmed:
                yield _new(VerifiedEvent, (log, pcr, confirmed, source))

    def rows(self) -> Iterator[Row]:
        """One for each bank that is quoted or measured."""
        replayed = self.fixed + self.growing[: self.used]
        for bank in sorted(self.wanted.keys() | self.measured):
            steps = [step for step in replayed if bank in step[2]]
            status = self._status(bank, bool(steps))
            last = Measurement(*steps[-1]) if steps else None
            yield Row(bank, self.pcr, status, len(steps), self.values.get(bank), self.wanted.get(bank), last)

    def _status(self, bank: HashAlg, extended: bool) -> Status:
        if bank not in self.wanted:
            return Status.NOT_QUOTED
        if bank in self.unmet:
            return Status.MISMATCH
        if extended:
            return Status.MATCH
        return Status.UNEXTENDED if self.wanted[bank] == self.values[bank] else Status.NO_EVENTS
