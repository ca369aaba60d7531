"""A value together with what it rests on, so that nobody has to take it on trust."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from medvouch.attestation.measurements import LogName, VerifiedEvent

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Ground(NamedTuple):
    """A verified event: event `index` of `log`, measured into `pcr`."""

    pcr: int
    log: LogName
    index: int  # type: ignore[assignment]  # tuple.index() is given up


class Finding(NamedTuple, Generic[T_co]):
    """What verified events say. `covered`: their digests are the hash of the value itself.

    Where it is not covered, the digests are of contents that no log holds (a program, a file); they are in the value,
    and the names, paths and texts beside them are the log's word alone.
    """

    value: T_co
    grounds: tuple[Ground, ...]
    covered: bool


def finding(value: T, *events: VerifiedEvent, covered: bool = True) -> Finding[T]:
    """A value that rests on these events."""
    return Finding(value, tuple([Ground(event[1], event[0], event[3].index) for event in events]), covered)
