"""System slots that are two files, and the boot record that a boot loader and the running system share.

    DIRECTORY/a.img, DIRECTORY/b.img      the images, from their first byte on
    DIRECTORY/boot.cbor                   the boot record (`BootRecord`)

The record is replaced as a whole (`write_durably`), and the default slot is a good one in every record that is ever
written: wherever power goes, there is something to boot.
"""

from __future__ import annotations

import dataclasses
import errno
import mmap
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from medvouch.adapters.files import read_bounded, sync_folder, write_all, write_durably
from medvouch.errors import InputError, StorageFault
from medvouch.formats.record import Named, Place, Record, Uint

SLOTS = ("a", "b")
EMPTY, WRITTEN, GOOD, BAD = STATES = ("empty", "written", "good", "bad")
"""Of a slot: nothing whole in it; a whole image that no boot has confirmed; a confirmed one; one never to be booted."""
MAX_RECORD_BYTES = 1024
READ_BYTES = 1 << 20
"""At a time; a multiple of every block size, as O_DIRECT wants it."""
ALIGNMENT = 4096
"""Of offsets and lengths for O_DIRECT: the largest block of disks."""
CHECKPOINT_BYTES = 512 << 10
"""Between two points at which a write can go on after an interruption."""
WRITEBACK_BYTES = 4 << 20
"""After so many the medium begins to write: while the next ones come, and not when all are there."""
CHECKPOINT_SHARE = 10
"""A checkpoint comes no sooner than this many times its own cost after the last one: a fast source has fewer."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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


class FileSlots:
    """`medvouch.ports.Slots` in a directory. The record is read anew by each call: others may write it between two.

    `direct`: read past the page cache (O_DIRECT) where the file system can; else what is cached is dropped first.
    """

    def __init__(self, directory: Path, *, direct: bool = True) -> None:
        self.directory = directory
        self._direct = direct

    @classmethod
    def create(cls, directory: Path, image: Iterable[bytes], capacity: int) -> FileSlots:
        """New slots, as a maker delivers them: `image` is good, running and the default, in slot a."""
        slots = cls(directory)
        with slots._faults("slot-unwritable", "a"):
            directory.mkdir(parents=True, exist_ok=True)
        slots._fill("a", image, capacity, 0, Pace(None))
        slots._keep(BootRecord("a", None, "a", {"a": GOOD, "b": EMPTY}, capacity))
        return slots

    def path(self, slot: str) -> Path:
        """The file of a slot."""
        return self.directory / f"{slot}.img"

    @property
    def record_path(self) -> Path:
        """The file of the boot record."""
        return self.directory / "boot.cbor"

    def record(self) -> BootRecord:
        """The boot record as it stands; StorageFault `slot-corrupt`."""
        try:
            return BootRecord.parse(read_bounded(self.record_path, MAX_RECORD_BYTES))
        except (StorageFault, InputError) as error:
            remedy = "check the disk, then install the device anew"
            raise StorageFault("slot-corrupt", error.detail, place=str(self.record_path), remedy=remedy) from error

    def start_next(self) -> str:
        """For the boot loader: the slot to start now. An attempt that was armed is spent before this returns."""
        record = self.record()
        slot = record.next_slot()
        self._keep(record.started(slot))
        return slot

    def running(self) -> str:
        """The slot that this boot came from."""
        return self.record().running

    def other(self) -> str:
        """The one that is not running."""
        return self.record().other

    def capacity(self) -> int:
        """Bytes that an image may have."""
        return self.record().capacity

    def extent(self, slot: str) -> int:
        """Bytes in the file of a slot, of which a slot has no more than its capacity."""
        with self._faults("slot-unreadable", slot):
            try:
                return min(self.path(slot).stat().st_size, self.capacity())
            except FileNotFoundError:
                return 0

    def write(
        self,
        slot: str,
        chunks: Iterable[bytes],
        *,
        start: int = 0,
        durable: Callable[[int], None] | None = None,
    ) -> None:
        """An image from its first byte on, or its rest; whatever ends this before its end leaves the slot empty."""
        record = self.record().emptied(slot)
        self._keep(record)
        self._fill(slot, chunks, record.capacity, start, Pace(durable))
        self._change(lambda present: present.written(slot))

    def read(self, slot: str, size: int, *, start: int = 0) -> Iterator[bytes]:
        """`size` bytes from `start` on, from the medium; `slot-unreadable` also where there are fewer."""
        with self._faults("slot-unreadable", slot):
            descriptor, direct = self._open(slot)
            try:
                if not direct:
                    os.fsync(descriptor)
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                yield from _chunks(descriptor, start, start + size)
            finally:
                os.close(descriptor)

    def activate(self, slot: str) -> None:
        """Boot it at the next start, once."""
        self._change(lambda record: record.activated(slot))

    def activated(self) -> str | None:
        """A slot that was activated and not started yet."""
        return self.record().armed

    def confirm(self) -> None:
        """The running slot is good: every start boots it from now on."""
        self._change(BootRecord.confirmed)

    def retire(self, slot: str) -> None:
        """Never boot this slot again until it is written and activated anew; the other one is the default then."""
        self._change(lambda record: record.retired(slot))

    def _change(self, change: Callable[[BootRecord], BootRecord]) -> None:
        record = self.record()
        if (changed := change(record)) != record:
            self._keep(changed)

    def _keep(self, record: BootRecord) -> None:
        try:
            write_durably(self.record_path, record.encode())
        except StorageFault as error:
            cause = error.__cause__
            full = isinstance(cause, OSError) and cause.errno in _FULL
            code = "slot-full" if full else "slot-unwritable"
            raise StorageFault(code, error.detail, place="boot record", remedy=error.remedy) from error

    def _fill(self, slot: str, chunks: Iterable[bytes], capacity: int, start: int, pace: Pace) -> None:
        """The image is on the medium when this returns; its record is not changed."""
        with self._faults("slot-unwritable", slot):
            descriptor = self._emptied(slot, start)
        try:
            offset = start
            for chunk in chunks:
                if offset + len(chunk) > capacity:
                    raise _full(slot, f"an image of more than the {capacity} bytes that a slot has")
                with self._faults("slot-unwritable", slot):
                    write_all(descriptor, chunk)
                    offset += len(chunk)
                    pace.written(descriptor, offset)
            with self._faults("slot-unwritable", slot):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _emptied(self, slot: str, start: int) -> int:
        """The file of a slot, cut off at `start` and to be written from there; its name is on the medium."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if start else os.O_TRUNC)
        descriptor = os.open(self.path(slot), flags, 0o600)
        try:
            if start:
                os.ftruncate(descriptor, start)
                os.lseek(descriptor, start, os.SEEK_SET)
            sync_folder(self.directory)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _open(self, slot: str) -> tuple[int, bool]:
        """A descriptor, and whether it reads past the page cache."""
        flags = os.O_RDONLY | os.O_CLOEXEC
        if self._direct:
            try:
                return os.open(self.path(slot), flags | os.O_DIRECT), True
            except OSError as error:
                if error.errno != errno.EINVAL:  # open(2): the file system does not support it
                    raise
        return os.open(self.path(slot), flags), False

    @contextmanager
    def _faults(self, code: str, slot: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            detail = f"{self.path(slot)}: {error.strerror or error}"
            if error.errno in _FULL:
                raise _full(slot, detail) from error
            raise StorageFault(code, detail, place=f"slot {slot}", remedy="check the disk and its mount") from error


class Pace:
    """When what was written so far is brought to the medium, and told to `durable`: seldom enough to cost little."""

    def __init__(self, durable: Callable[[int], None] | None) -> None:
        self._durable = durable
        self._told: int | None = None
        self._begun = 0
        self._not_before = 0.0

    def written(self, descriptor: int, offset: int) -> None:
        """So many bytes were; at every CHECKPOINT_BYTES, as long as that takes less than 1/CHECKPOINT_SHARE of all."""
        if self._told is None:
            self._told = self._begun = offset
        if offset >= self._begun + WRITEBACK_BYTES:
            # Linux begins to write what is to be dropped and is not on the medium yet, and does not wait for it.
            os.posix_fadvise(descriptor, self._begun, offset - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = offset
        if self._durable is None or offset < self._told + CHECKPOINT_BYTES or time.monotonic() < self._not_before:
            return
        began = time.monotonic()
        os.fdatasync(descriptor)
        self._durable(offset)
        self._told = offset
        self._not_before = time.monotonic() + (time.monotonic() - began) * CHECKPOINT_SHARE


def _chunks(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Through a page-aligned buffer at aligned offsets, which O_DIRECT needs; only the last read of a file is short."""
    with mmap.mmap(-1, READ_BYTES) as buffer, memoryview(buffer) as view:
        offset = start - start % ALIGNMENT
        while offset < end:
            wanted = min(READ_BYTES, end - offset)
            got = os.preadv(descriptor, [view[: -(-wanted // ALIGNMENT) * ALIGNMENT]], offset)
            if got < wanted:
                raise OSError(errno.EIO, f"it ends after {offset + got} bytes")
            yield buffer[max(start - offset, 0) : wanted]
            offset += wanted


def _full(slot: str, detail: str) -> StorageFault:
    remedy = "free space, or make the image smaller"
    return StorageFault("slot-full", detail, place=f"slot {slot}", remedy=remedy)


def _in_use(detail: str) -> StorageFault:
    return StorageFault("slot-in-use", detail, remedy="start and confirm the other slot first")
