"""Reference values: which events a release's boot may measure, PCR by PCR (RFC 9334; signed as a COSE_Sign)."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Self

from medvouch.formats.algorithms import HashAlg
from medvouch.formats.record import Many, Named, Nested, Octets, Place, Record, Text, Uint

CONTENT_TYPE = "application/vnd.medvouch.reference+cbor"
MAX_EVENTS = 4096
"""Events of one PCR; IMA's allow-list is the longest."""
MAX_PCRS = 24
MAX_SECURITY_EPOCH = 2**32 - 1


class Mode(enum.StrEnum):
    """How the events of a PCR compare to the reference's."""

    EXACT = "exact"
    """These events in this order, and no others."""
    PREFIX = "prefix"
    """These in this order; the last ones may not have happened yet: a boot goes on while it attests."""
    ALLOWED = "allowed"
    """Any of these, in any order and number (IMA)."""


class _ModeCodec:
    def dump(self, value: Mode) -> str:
        return value.value

    def load(self, value: Any, place: Place) -> Mode:
        if not isinstance(value, str) or value not in set(Mode):
            raise place.malformed("a mode")
        return Mode(value)


@dataclass(frozen=True)
class ReferenceEvent(Record):
    """One event: its digest by bank label, and what it is, for people."""

    FORMAT = "reference"

    description: Annotated[str, Text(256)]
    digests: Annotated[Mapping[str, bytes], Named(Octets(64), len(HashAlg))]


@dataclass(frozen=True)
class PcrReference(Record):
    """The events of one PCR."""

    FORMAT = "reference"

    pcr: Annotated[int, Uint(23)]
    mode: Annotated[Mode, _ModeCodec()]
    events: Annotated[tuple[ReferenceEvent, ...], Many(Nested(ReferenceEvent), MAX_EVENTS)]

    @cached_property
    def by_digest(self) -> Mapping[tuple[str, bytes], list[ReferenceEvent]]:
        """The events with each (bank label, digest): there may be thousands of them."""
        found: dict[tuple[str, bytes], list[ReferenceEvent]] = {}
        for event in self.events:
            for measured in event.digests.items():
                found.setdefault(measured, []).append(event)
        return found


@dataclass(frozen=True)
class ReferenceValues(Record):
    """What a boot of `release` on `model` measures; PCRs ascend, and one that is not named must stay unextended.

    `security_epoch` is the release's: a floor that was raised above it forbids it (DESIGN §7).
    `command_lines`: texts that the events hash but the logs do not hold (semantics asks for them).
    """

    FORMAT = "reference"

    model: Annotated[str, Text(64)]
    release: Annotated[str, Text(64)]
    security_epoch: Annotated[int, Uint(MAX_SECURITY_EPOCH)]
    command_lines: Annotated[tuple[str, ...], Many(Text(4096), 8)]
    pcrs: Annotated[tuple[PcrReference, ...], Many(Nested(PcrReference), MAX_PCRS)]

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Refuses a PCR named twice."""
        values = super().from_map(value, place)
        for one, other in itertools.pairwise(values.pcrs):
            if one.pcr >= other.pcr:
                raise (place / "pcrs").malformed("each PCR once, ascending")
        return values
