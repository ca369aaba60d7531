"""IMA's list continued: only what is new since the last evidence is sent, parsed, hashed and replayed.

The verifier keeps an ImaState of evidence that it accepted. The device names the state that it continues (offset, PCR
10 there, digest of the evidence that held the prefix); a device that names another one has to send the whole list.
The boot aggregate needs no second look: it stands at the front of the list whose rest this is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NoReturn

from medvouch.attestation import log_refusals, refusals
from medvouch.attestation.measurements import VerifiedEvents
from medvouch.errors import Refusal, RefusalKind
from medvouch.formats import ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import HASHERS
from medvouch.formats.ima import OLD, Entry
from medvouch.formats.record import Named, Octets, Record, Uint

PCR_IMA = 10


@dataclass(frozen=True)
class ImaState(Record):
    """Where a list was replayed to: `offset` bytes and `entries` of it lead to `values`, PCR 10 by bank label.

    `evidence` is the SHA-256 of the evidence that held this prefix's end, `reset_count` the boot it is of.
    """

    FORMAT = "ima-state"

    reset_count: Annotated[int, Uint(2**32 - 1)]
    offset: Annotated[int, Uint()]
    entries: Annotated[int, Uint()]
    values: Annotated[Mapping[str, bytes], Named(Octets(64), len(HashAlg))]
    evidence: Annotated[bytes, Octets(32, exact=True)]


@dataclass(frozen=True)
class Continued:
    """New entries that a quote confirms, and the state after them; `dropped` came after the quote."""

    entries: tuple[Entry, ...]
    state: ImaState
    dropped: int


def first_state(events: VerifiedEvents, quoted: Mapping[HashAlg, bytes], reset_count: int, evidence: bytes) -> ImaState:
    """After a whole list that was replayed to `quoted`, PCR 10 by bank; `evidence` is the SHA-256 of what held it."""
    entries = [event.source for event in events.of(PCR_IMA) if isinstance(event.source, Entry)]
    return ImaState(reset_count, _size(entries), len(entries), _labelled(quoted), evidence)


def continue_list(
    claimed: ImaState,
    saved: ImaState | None,
    rest: bytes,
    quoted: Mapping[HashAlg, bytes],
    reset_count: int,
    evidence: bytes,
) -> Continued:
    """Replay the `rest` of a list from `claimed`, the state that the device says it continues.

    `quoted` is PCR 10 by bank and `reset_count` the boot, both of a verified quote; `evidence` is the SHA-256 of what
    holds `rest`. The cost grows with `rest` alone.

    1. The verifier has a state, and it is the one that the device continues: `ima-state-unknown`.
    2. It is of this boot: `ima-state-other-boot`.
    3. The same banks are quoted: `ima-state-banks`.
    4. A prefix of the rest leads from there to the quoted values: `pcr-mismatch`.
    5. Each confirmed template hash is the hash of its entry: `ima-template-mismatch`.

    Raises InputError `ima-*` for a rest that is no list.
    """
    if saved is None or claimed != saved:  # 1
        known = f"{saved.offset} bytes of evidence {saved.evidence.hex()}" if saved else "none"
        _refuse(log_refusals.IMA_STATE_UNKNOWN, f"{claimed.offset} bytes are continued, known are {known}")
    if saved.reset_count != reset_count:  # 2
        _refuse(
            log_refusals.IMA_STATE_OTHER_BOOT, f"the state is of boot {saved.reset_count}, the quote of {reset_count}"
        )
    if saved.values.keys() != {bank.label for bank in quoted}:  # 3
        _refuse(log_refusals.IMA_STATE_BANKS, f"the state has {', '.join(saved.values)}")
    entries = ima.parse_binary(rest, first=saved.entries)
    used = _confirmed(entries, saved, quoted)  # 4
    confirmed = entries[:used]
    if (altered := ima.first_altered(confirmed)) is not None:  # 5
        _refuse(refusals.IMA_TEMPLATE_MISMATCH, altered.describe(), f"ima entry {altered.index}")
    offset, number = saved.offset + len(rest) - _size(entries[used:]), saved.entries + used
    state = ImaState(reset_count, offset, number, _labelled(quoted), evidence)
    return Continued(confirmed, state, len(entries) - used)


def _confirmed(entries: Sequence[Entry], saved: ImaState, quoted: Mapping[HashAlg, bytes]) -> int:
    """The length of the shortest prefix on which all banks agree with the quote."""
    met = set(range(len(entries) + 1))
    for bank, wanted in quoted.items():
        found = _lengths(entries, bank, saved.values[bank.label], wanted)
        met &= found
        if not met:
            detail = f"no prefix of {len(entries)} new entries leads to {wanted.hex()}"
            _refuse(refusals.PCR_MISMATCH, detail, f"{bank.label} PCR {PCR_IMA}")
    return min(met)


def _lengths(entries: Sequence[Entry], bank: HashAlg, value: bytes, wanted: bytes) -> set[int]:
    """Lengths of the prefixes that lead to the wanted value."""
    hasher, violation = HASHERS[bank], b"\xff" * bank.size
    met = {0} if value == wanted else set()
    for number, entry in enumerate(entries, 1):
        if any(entry[2]):
            body = entry[4] if entry[3] != OLD else entry.hashed
            value = hasher(value + hasher(body).digest()).digest()
        else:
            value = hasher(value + violation).digest()
        if value == wanted:
            met.add(number)
    return met


def _size(entries: Sequence[Entry]) -> int:
    return sum(entry.size for entry in entries)


def _labelled(quoted: Mapping[HashAlg, bytes]) -> dict[str, bytes]:
    return {bank.label: value for bank, value in quoted.items()}


def _refuse(kind: RefusalKind, detail: str, place: str = "ima") -> NoReturn:
    raise Refusal(kind, detail, place=place)
