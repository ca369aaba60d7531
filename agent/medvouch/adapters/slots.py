"""System slots that are two files, and the boot record that a boot loader and the running system share.

    DIRECTORY/a.img, DIRECTORY/b.img      the images, from their first byte on
    DIRECTORY/boot.0, DIRECTORY/boot.1    the boot record (`boot_record`)

A record is there whole wherever power goes, and the default slot is a good one in every record that is ever written:
there is something to boot.
"""

from __future__ import annotations

import errno
import mmap
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medvouch.adapters.boot_record import EMPTY, FULL, GOOD, BootRecord, BootRecordPair
from medvouch.adapters.files import sync_folder, write_all
from medvouch.errors import StorageFault

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


class FileSlots:
    """`medvouch.ports.Slots` in a directory. The record is read anew by each call: others may write it between two.

    `direct`: read past the page cache (O_DIRECT) where the file system can; else what is cached is dropped first.
    """

    def __init__(self, directory: Path, *, direct: bool = True) -> None:
        self.directory = directory
        self._direct = direct
        self._pair = BootRecordPair(directory)

    @classmethod
    def create(cls, directory: Path, image: Iterable[bytes], capacity: int) -> FileSlots:
        """New slots, as a maker delivers them: `image` is good, running and the default, in slot a."""
        slots = cls(directory)
        with slots._faults("slot-unwritable", "a"):
            directory.mkdir(parents=True, exist_ok=True)
        slots._fill("a", image, capacity, 0, Pace(None))
        with slots._faults("slot-unwritable", ""):
            slots._pair.create(BootRecord("a", None, "a", {"a": GOOD, "b": EMPTY}, capacity))
        return slots

    def path(self, slot: str) -> Path:
        """The file of a slot."""
        return self.directory / f"{slot}.img"

    def record(self) -> BootRecord:
        """The boot record as it stands; StorageFault `slot-corrupt`."""
        return self._pair.read()

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
        with self._faults("slot-unwritable", ""):
            self._pair.write(record)

    def _fill(self, slot: str, chunks: Iterable[bytes], capacity: int, start: int, pace: Pace) -> None:
        """The image is on the medium when this returns; its record is not changed."""
        with self._faults("slot-unwritable", slot):
            descriptor = self._emptied(slot, start)
        try:
            offset = start
            for chunk in chunks:
                if offset + len(chunk) > capacity:
                    raise _full(f"slot {slot}", f"an image of more than the {capacity} bytes that a slot has")
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
        """Of a slot, or of the boot record where none is named."""
        try:
            yield
        except OSError as error:
            place = f"slot {slot}" if slot else "boot record"
            detail = f"{self.path(slot) if slot else self.directory}: {error.strerror or error}"
            if error.errno in FULL:
                raise _full(place, detail) from error
            raise StorageFault(code, detail, place=place, remedy="check the disk and its mount") from error


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
            with view[: -(-wanted // ALIGNMENT) * ALIGNMENT] as piece:  # let go of, whatever comes of it
                got = os.preadv(descriptor, [piece], offset)
            if got < wanted:
                raise OSError(errno.EIO, f"it ends after {offset + got} bytes")
            yield buffer[max(start - offset, 0) : wanted]
            offset += wanted


def _full(place: str, detail: str) -> StorageFault:
    return StorageFault("slot-full", detail, place=place, remedy="free space, or make the image smaller")
