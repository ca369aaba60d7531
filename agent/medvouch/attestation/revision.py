"""Reference values after a change of one part, from those before it: what does not change was measured, or predicted.

IMA's first entry, boot_aggregate, follows from PCRs 0 to 9, and so changes with every one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from medvouch.attestation.prediction import MAX_DESCRIPTION, PcrChange
from medvouch.attestation.registers import reset_value
from medvouch.errors import InputError
from medvouch.formats import ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import HASHERS, digest
from medvouch.formats.reference import PcrReference, ReferenceEvent, ReferenceValues

_NUMBER = re.compile(r"event \d+ ")
_IMA_PCR = 10
_AGGREGATED = range(10)
_BANK = HashAlg.SHA256
_LOCALITIES = (0, 3, 4)
"""Of TPM2_Startup (PFP 1.06, 10.4.5.3); reference values do not say which."""


def revised(
    values: ReferenceValues, changes: Iterable[PcrChange], *, release: str, security_epoch: int
) -> ReferenceValues:
    """The reference values of `release`, whose boot differs from that of `values` by these changes of events.

    Events that the reference values do not name, as of a part that their boots do not have, cannot be changed in them,
    and nothing can be added to them or taken away: where it would stand only a boot tells. Raises InputError
    `prediction-incomplete`.
    """
    by_pcr = {row.pcr: row for row in values.pcrs}
    for changed in changes:
        for each in changed.changes:
            if each.old is None or each.new is None:
                event = each.old or each.new
                raise _incomplete(f"{event and event.description} is {each.kind}", changed.pcr)
            by_pcr[changed.pcr] = _exchanged(by_pcr.get(changed.pcr), changed.pcr, each.old, each.new)
    rows = tuple(row for _, row in sorted(by_pcr.items()))
    if any(row != other for row, other in zip(rows, values.pcrs, strict=True) if row.pcr in _AGGREGATED):
        rows = tuple(_aggregated(row, values.pcrs, rows) if row.pcr == _IMA_PCR else row for row in rows)
    return replace(values, release=release, security_epoch=security_epoch, pcrs=rows)


def _exchanged(row: PcrReference | None, pcr: int, old: ReferenceEvent, new: ReferenceEvent) -> PcrReference:
    """All events like `old`: as often as a part is measured, it is."""
    events = row.events if row else ()
    found = [event for event in events if _same(event, old)]
    if row is None or not found:
        raise _incomplete(f"no event with the digests of {old.description}", pcr)
    return replace(row, events=tuple(_like(event, new) if event in found else event for event in events))


def _same(event: ReferenceEvent, other: ReferenceEvent) -> bool:
    shared = event.digests.keys() & other.digests.keys()
    return bool(shared) and all(event.digests[bank] == other.digests[bank] for bank in shared)


def _like(event: ReferenceEvent, new: ReferenceEvent) -> ReferenceEvent:
    """In the banks that both have; the number of the one before stays."""
    number = _NUMBER.match(event.description)
    words = (number[0] if number else "") + new.description
    return ReferenceEvent(words[:MAX_DESCRIPTION], _in(event.digests, new))


def _aggregated(row: PcrReference, old: Sequence[PcrReference], new: Sequence[PcrReference]) -> PcrReference:
    """The entry boot_aggregate exchanged: there has to be one over these PCRs."""
    for locality in _LOCALITIES:
        before, after = (_aggregate(rows, locality) for rows in (old, new))
        if before is None or after is None:
            break
        found = [event for event in row.events if _same(event, before)]
        if found:
            changed = (ReferenceEvent(each.description, _in(each.digests, after)) for each in row.events)
            pairs = zip(row.events, changed, strict=True)
            return replace(row, events=tuple(other if event in found else event for event, other in pairs))
    raise _incomplete("no boot_aggregate over PCRs 0 to 9", _IMA_PCR)


def _aggregate(rows: Sequence[PcrReference], locality: int) -> ReferenceEvent | None:
    """IMA's entry over PCRs 0 to 9 as they are after these events; None where an event has no such bank."""
    by_pcr = {row.pcr: row for row in rows}
    held = b""
    for pcr in _AGGREGATED:
        value, row = reset_value(_BANK, pcr, locality), by_pcr.get(pcr)
        for event in row.events if row else ():
            if _BANK.label not in event.digests:
                return None
            value = digest(_BANK, value + event.digests[_BANK.label])
        held += value
    name = _BANK.label.encode() + b":\0"
    entry = ima.make(0, _IMA_PCR, "ima-ng", (name + digest(_BANK, held), ima.BOOT_AGGREGATE.encode() + b"\0"))
    return ReferenceEvent("boot_aggregate", {bank.label: digest(bank, entry.hashed) for bank in HASHERS})


def _in(digests: Mapping[str, bytes], event: ReferenceEvent) -> dict[str, bytes]:
    return {bank: value for bank, value in event.digests.items() if bank in digests}


def _incomplete(detail: str, pcr: int) -> InputError:
    remedy = "take the reference values from a boot with the change"
    return InputError("prediction-incomplete", detail, place=f"PCR {pcr}", remedy=remedy)
