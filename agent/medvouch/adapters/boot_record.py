"""The boot record: which slot is booted, in two copies that no power cut takes both of.

    DIRECTORY/boot.0, DIRECTORY/boot.1

Each is one sector, written over in its place and never renamed: an EFI system partition is FAT, where a rename is two
steps and a crash between them may leave neither file. A change goes to the older copy first, and to the other one once
that is on the medium. The copy of the highest number counts, among those that are whole:

    0        2   length of the record, big-endian
    2        N   {number, record}: deterministic CBOR
    2+N      .   zeros
    480     32   SHA-256 of the 480 bytes before

A sector that was written half has another digest, and one that can be read no more has none; the other copy is then
the record from before that change, or the same one.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from medvouch.adapters.files import read_bounded, sync_folder, write_all
from medvouch.errors import InputError, StorageFault
from medvouch.formats.cursor import Cursor
from medvouch.formats.record import Named, Nested, Place, Record, Uint

SLOTS = ("a", "b")
EMPTY, WRITTEN, GOOD, BAD = STATES = ("empty", "written", "good", "bad")
"""Of a slot: nothing whole in it; a whole image that no boot has confirmed; a confirmed one; one never to be booted."""
COPIES = ("boot.0", "boot.1")
SECTOR_BYTES = 512
_DIGEST_BYTES = 32
_LENGTH_BYTES = 2
_MOST = SECTOR_BYTES - _DIGEST_BYTES - _LENGTH_BYTES
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What says that there is no space."""


@dataclass(frozen=True)
class _OneOf:
    """One of these names; `none` allows null."""

    names: tuple[str, ...]
    none: bool = False

    def dump(self, value: str | None) -> str | None:
        """As it is."""
        return value

    def load(self, value: Any, place: Place) -> str | None:
        """Checked."""
        if value is None and self.none:
            return None
        if value not in self.names:
            raise place.malformed(f"one of {', '.join(self.names)}")
        return str(value)


@dataclass(frozen=True)
class BootRecord(Record):
    """What to boot, as a deterministic CBOR map; raises InputError `boot-record-*` or `cbor-*`.

    `default`: the slot of every start; `armed`: that of the next one only, or null; `running`: that of this one, set by
    the boot loader; `states`: of both slots; `capacity`: bytes of each.
    """

    FORMAT = "boot-record"

    default: Annotated[str, _OneOf(SLOTS)]
    armed: Annotated[str | None, _OneOf(SLOTS, none=True)]
    running: Annotated[str, _OneOf(SLOTS)]
    states: Annotated[Mapping[str, str], Named(_OneOf(STATES), len(SLOTS))]
    capacity: Annotated[int, Uint()]

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Also refuses one by which nothing whole would be booted."""
        record = super().from_map(value, place)
        if set(record.states) != set(SLOTS):
            raise (place / "states").malformed("both slots")
        if record.states[record.default] != GOOD:
            raise (place / "default").malformed("a good slot")
        if record.armed is not None and record.states[record.armed] not in {WRITTEN, GOOD}:
            raise (place / "armed").malformed("a written slot")
        return record

    @property
    def other(self) -> str:
        """The slot that is not running."""
        return opposite(self.running)

    def next_slot(self) -> str:
        """What the next start boots."""
        return self.armed or self.default

    def started(self, slot: str) -> BootRecord:
        """That slot is being started; whatever was armed has had its one attempt."""
        return dataclasses.replace(self, running=slot, armed=None)

    def emptied(self, slot: str) -> BootRecord:
        """Something else is going to be written there; StorageFault `slot-in-use` where it is needed."""
        if slot in {self.running, self.default}:
            raise _in_use(f"slot {slot} is the {'running' if slot == self.running else 'default'} one")
        return self._disarmed(slot)._with(slot, EMPTY)

    def written(self, slot: str) -> BootRecord:
        """A whole image is there."""
        return self._with(slot, WRITTEN)

    def activated(self, slot: str) -> BootRecord:
        """The next start boots that slot; StorageFault `slot-unwritten` where nothing whole is in it."""
        self._check_whole(slot)
        return dataclasses.replace(self, armed=slot)

    def confirmed(self) -> BootRecord:
        """The running slot is good and the default; StorageFault `slot-unwritten` where it was retired."""
        self._check_whole(self.running)
        return dataclasses.replace(self._with(self.running, GOOD), default=self.running)

    def retired(self, slot: str) -> BootRecord:
        """That slot is bad, the other one the default; StorageFault `slot-in-use` where that one is not good."""
        if self.states[opposite(slot)] != GOOD:
            raise _in_use(f"slot {slot} is the only good one")
        return dataclasses.replace(self._disarmed(slot)._with(slot, BAD), default=opposite(slot))

    def _disarmed(self, slot: str) -> BootRecord:
        return dataclasses.replace(self, armed=None) if self.armed == slot else self

    def _with(self, slot: str, state: str) -> BootRecord:
        return dataclasses.replace(self, states={opposite(slot): self.states[opposite(slot)], slot: state})

    def _check_whole(self, slot: str) -> None:
        if (state := self.states[slot]) not in {WRITTEN, GOOD}:
            remedy = "write an image to it first"
            raise StorageFault("slot-unwritten", f"slot {slot} is {state}", place=f"slot {slot}", remedy=remedy)


def opposite(slot: str) -> str:
    """The other one of the two; ValueError for what is neither."""
    return SLOTS[1 - SLOTS.index(slot)]


@dataclass(frozen=True)
class Sector(Record):
    """One copy of a record; `number` rises with each change."""

    FORMAT = "boot-record"

    number: Annotated[int, Uint()]
    record: Annotated[BootRecord, Nested(BootRecord)]

    def encode(self) -> bytes:
        """The sector."""
        data = super().encode()
        filled = (len(data).to_bytes(_LENGTH_BYTES, "big") + data).ljust(SECTOR_BYTES - _DIGEST_BYTES, b"\0")
        return filled + hashlib.sha256(filled).digest()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The inverse of `encode`. Raises InputError `boot-record-*`, `cbor-*`."""
        cursor = Cursor(data, cls.FORMAT)
        filled, digest = cursor.take(SECTOR_BYTES - _DIGEST_BYTES), cursor.take(_DIGEST_BYTES)
        cursor.done()
        if hashlib.sha256(filled).digest() != digest:
            cursor.fail("malformed", "another digest than its own")
        size = int.from_bytes(filled[:_LENGTH_BYTES], "big")
        if size > _MOST:
            cursor.fail("limit", f"{size} bytes where at most {_MOST} are allowed")
        if any(filled[_LENGTH_BYTES + size :]):
            cursor.fail("malformed", "zeros expected after the record")
        return super().parse(filled[_LENGTH_BYTES : _LENGTH_BYTES + size])


class BootRecordPair:
    """Both copies in `directory`. What cannot be written raises OSError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(self._directory / name for name in COPIES)

    def read(self) -> BootRecord:
        """The record that counts; StorageFault `slot-corrupt` where no copy is whole."""
        return self._newest()[0].record

    def write(self, record: BootRecord) -> None:
        """In force once the first copy is on the medium, and safe from a bad sector once both are."""
        newest, path = self._newest()
        self._keep(Sector(newest.number + 1, record), *(other for other in self.paths if other != path), path)

    def create(self, record: BootRecord) -> None:
        """The first one, as a maker delivers it."""
        self._keep(Sector(0, record), *self.paths)

    def _newest(self) -> tuple[Sector, Path]:
        found, reasons = list[tuple[Sector, Path]](), list[str]()
        for path in self.paths:
            try:
                found.append((Sector.parse(read_bounded(path, SECTOR_BYTES)), path))
            except (StorageFault, InputError) as error:
                reasons.append(f"{path.name}: {error.detail}")
        if not found:
            remedy = "check the disk, then install the device anew"
            raise StorageFault("slot-corrupt", "; ".join(reasons), place=str(self._directory), remedy=remedy)
        return max(found, key=lambda each: each[0].number)

    def _keep(self, sector: Sector, *paths: Path) -> None:
        for path in paths:
            named = path.exists()
            _write_over(path, sector.encode())
            if not named:
                sync_folder(self._directory)


def _write_over(path: Path, data: bytes) -> None:
    """On the medium when this returns; nothing is cut off, and of a file of this size nothing else changes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _in_use(detail: str) -> StorageFault:
    return StorageFault("slot-in-use", detail, remedy="start and confirm the other slot first")
