"""Slots that are files: the contract, and the medium behind the cache."""

from __future__ import annotations

import dataclasses
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medvouch.adapters.boot_record import BootRecordPair
from medvouch.adapters.slots import FileSlots
from support.slot_contract import CAPACITY, NEW, OLD, Medium, SlotContract, contents, pieces, refused


@dataclasses.dataclass
class Directory:
    """`Medium` in a directory."""

    path: Path
    direct: bool = True

    def slots(self) -> FileSlots:
        return FileSlots(self.path, direct=self.direct)

    def start(self) -> str:
        return self.slots().start_next()

    @contextmanager
    def full(self) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(NEW) // 2, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def damage_record(self) -> None:
        for copy in BootRecordPair(self.path).paths:
            copy.write_bytes(b"\xa0")


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    FileSlots.create(tmp_path / "slots", pieces(OLD), CAPACITY)
    return Directory(tmp_path / "slots")


class TestFileSlots(SlotContract):
    @pytest.fixture
    def medium(self, directory: Directory) -> Medium:
        return directory


class TestFileSlotsThroughTheCache(SlotContract):
    @pytest.fixture
    def medium(self, directory: Directory) -> Medium:
        return dataclasses.replace(directory, direct=False)


# --- the medium ------------------------------------------------------------------------------------------------------


def test_a_device_without_space(directory: Directory) -> None:
    slots = directory.slots()
    slots.path("b").symlink_to("/dev/full")
    with refused("slot-full"):
        slots.write("b", pieces(NEW))
    with refused("slot-unwritten"):
        slots.activate("b")


def test_no_space_for_the_record(directory: Directory) -> None:
    slots = directory.slots()
    slots.write("b", pieces(NEW))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        with refused("slot-full"):
            slots.activate("b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [slots.activated(), directory.start()] == [None, "a"]


def test_what_cannot_be_opened(directory: Directory) -> None:
    slots = directory.slots()
    slots.path("b").mkdir()
    with refused("slot-unwritable"):
        slots.write("b", pieces(NEW))
    slots.path("a").unlink()
    with refused("slot-unreadable"):
        contents(slots, "a", 1)
    older = BootRecordPair(directory.path).paths[1]
    older.unlink()
    older.mkdir()
    with refused("slot-unwritable"):
        slots.start_next()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with refused("slot-unwritable"):
        FileSlots.create(tmp_path / "file/slots", [], CAPACITY)


def test_nothing_of_a_longer_image_stays(directory: Directory) -> None:
    slots = directory.slots()
    slots.write("b", pieces(NEW))
    slots.write("b", [b"short"])
    assert slots.path("b").read_bytes() == b"short"


def test_it_is_read_past_the_cache(directory: Directory) -> None:
    slots = directory.slots()
    reading = slots.read("a", len(OLD))
    next(reading)
    flags = [flags_of(number) for number in open_at(slots.path("a"))]
    reading.close()
    assert open_at(slots.path("a")) == []
    if flags == [os.O_RDONLY]:
        pytest.skip("this file system knows no O_DIRECT")
    assert flags == [os.O_DIRECT]


def test_where_the_file_system_cannot_the_cache_is_used(directory: Directory) -> None:
    slots = directory.slots()
    slots.path("b").symlink_to("/proc/version")  # procfs: EINVAL for O_DIRECT; and it cannot be synchronised either
    descriptor, direct = slots._open("b")
    os.close(descriptor)
    assert not direct


def test_what_was_cached_is_dropped_first(directory: Directory) -> None:
    slots = dataclasses.replace(directory, direct=False).slots()
    slots.path("a").read_bytes()
    if not cached(slots.path("a")):
        pytest.skip("this file system does not say what it has cached")
    reading = slots.read("a", 0)
    assert list(reading) == []
    assert not cached(slots.path("a"))


def open_at(path: Path) -> list[int]:
    """Our descriptors of that file."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if entry.readlink() == path:
                found.append(int(entry.name))
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


def flags_of(descriptor: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("flags:")), 8) & (os.O_DIRECT | os.O_ACCMODE)


def cached(path: Path) -> bool:
    """Whether its first bytes can be read without asking the medium."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except OSError:
        return False
    finally:
        os.close(descriptor)
