"""Slots that are files: the contract, the boot record as bytes, and the medium behind the cache."""

from __future__ import annotations

import dataclasses
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.adapters.slots import BAD, GOOD, SLOTS, STATES, WRITTEN, BootRecord, FileSlots, opposite
from medvouch.errors import InputError, StorageFault
from medvouch.formats import cbor
from support.slot_contract import CAPACITY, NEW, OLD, Medium, SlotContract, contents, pieces, refused
from support.truncation import assert_every_truncation_refused

RECORD = BootRecord("a", None, "a", {"a": GOOD, "b": WRITTEN}, CAPACITY)


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
        self.slots().record_path.write_bytes(b"\xa0")


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
    slots.record_path.with_name(".boot.cbor.new").mkdir()
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


# --- the boot record -------------------------------------------------------------------------------------------------


def test_there_and_back() -> None:
    for record in (RECORD, RECORD.activated("b"), RECORD.activated("b").started("b").confirmed()):
        assert BootRecord.parse(record.encode()) == record
        assert_every_truncation_refused(BootRecord.parse, record.encode())
    with pytest.raises(InputError, match="cbor-trailing"):
        BootRecord.parse(RECORD.encode() + b"\0")


@pytest.mark.parametrize(
    "change",
    [
        {"default": "c"},
        {"default": None},
        {"default": ["a"]},
        {"default": "b"},
        {"armed": "c"},
        {"armed": "b", "states": {"a": GOOD, "b": BAD}},
        {"armed": "b", "states": {"a": GOOD, "b": "empty"}},
        {"running": None},
        {"states": {"a": GOOD}},
        {"states": {"a": GOOD, "c": BAD}},
        {"states": {"a": "fine", "b": BAD}},
        {"capacity": -1},
        {"tries": 3},
    ],
)
def test_records_that_are_none(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="boot-record-malformed"):
        BootRecord.parse(cbor.encode(RECORD.to_map() | change))


def test_a_record_larger_than_any(directory: Directory) -> None:
    directory.slots().record_path.write_bytes(bytes(1025))
    with refused("slot-corrupt"):
        directory.slots().record()


def test_there_are_two_slots() -> None:
    assert [opposite(slot) for slot in SLOTS] == ["b", "a"]
    for change in (RECORD.emptied, RECORD.retired, RECORD.written):
        with pytest.raises(ValueError, match="tuple"):
            change("c")


CHANGES = ("emptied", "written", "activated", "retired", "started")


@given(st.lists(st.sampled_from([*((name, slot) for name in CHANGES for slot in SLOTS), ("confirmed", "")])))
def test_whatever_is_done_something_whole_is_booted(steps: list[tuple[str, str]]) -> None:
    """`written` and `started` only as they are called: after `emptied`, and with what comes next."""
    record = dataclasses.replace(RECORD, states={"a": GOOD, "b": "empty"})
    for name, slot in steps:
        try:
            if name == "started":
                record = record.started(record.next_slot())
            elif name == "written":
                record = record.emptied(slot).written(slot)
            else:
                record = getattr(record, name)(*filter(None, [slot]))
        except StorageFault:
            continue
        assert BootRecord.parse(record.encode()) == record
        assert record.states[record.next_slot()] in {WRITTEN, GOOD}


@given(st.binary(max_size=80))
def test_noise_is_refused_or_is_a_record(data: bytes) -> None:
    try:
        record = BootRecord.parse(data)
    except InputError:
        return
    assert record.encode() == data


@given(
    st.sampled_from(SLOTS),
    st.sampled_from(SLOTS),
    st.sampled_from([None, *SLOTS]),
    st.tuples(*[st.sampled_from(STATES)] * 2),
)
def test_every_record_that_is_taken_boots(default: str, running: str, armed: str | None, both: tuple[str, str]) -> None:
    record = BootRecord(default, armed, running, dict(zip(SLOTS, both, strict=True)), CAPACITY)
    try:
        assert BootRecord.parse(record.encode()) == record
    except InputError:
        assert record.states[default] != GOOD or (armed and record.states[armed] in {BAD, "empty"})
    else:
        assert record.states[record.next_slot()] in {WRITTEN, GOOD}
