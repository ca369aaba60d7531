"""The boot record: as bytes, in whatever order it changes, and in two copies of which one may be lost."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.adapters.boot_record import (
    BAD,
    GOOD,
    SECTOR_BYTES,
    SLOTS,
    STATES,
    WRITTEN,
    BootRecord,
    BootRecordPair,
    Sector,
    opposite,
)
from medvouch.errors import InputError, StorageFault
from medvouch.formats import cbor
from support.slot_contract import CAPACITY, refused
from support.truncation import assert_every_truncation_refused

RECORD = BootRecord("a", None, "a", {"a": GOOD, "b": WRITTEN}, CAPACITY)
ARMED = RECORD.activated("b")


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


# --- a copy ----------------------------------------------------------------------------------------------------------


def sealed(filled: bytes) -> bytes:
    filled = filled.ljust(SECTOR_BYTES - 32, b"\0")
    return filled + hashlib.sha256(filled).digest()


def test_a_sector_by_hand() -> None:
    data = cbor.encode({"number": 7, "record": RECORD.to_map()})
    by_hand = sealed(len(data).to_bytes(2, "big") + data)
    assert (Sector(7, RECORD).encode(), len(by_hand)) == (by_hand, SECTOR_BYTES)
    assert Sector.parse(by_hand) == Sector(7, RECORD)
    assert_every_truncation_refused(Sector.parse, by_hand)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (Sector(7, RECORD).encode() + b"\0", "boot-record-trailing"),
        (bytes(SECTOR_BYTES), "boot-record-malformed"),
        (sealed(b""), "cbor-truncated"),
        (sealed((479).to_bytes(2, "big")), "boot-record-limit"),
        (sealed((1).to_bytes(2, "big") + b"\xa0\1"), "boot-record-malformed"),
        (sealed((1).to_bytes(2, "big") + b"\xa0"), "boot-record-malformed"),
    ],
)
def test_sectors_that_are_none(data: bytes, code: str) -> None:
    with pytest.raises(InputError, match=code):
        Sector.parse(data)


@given(st.integers(0, SECTOR_BYTES - 1), st.integers(1, 255))
def test_a_sector_with_any_byte_flipped(at: int, flip: int) -> None:
    data = bytearray(Sector(7, RECORD).encode())
    data[at] ^= flip
    with pytest.raises(InputError):
        Sector.parse(bytes(data))


# --- two copies ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> BootRecordPair:
    made = BootRecordPair(tmp_path)
    made.create(RECORD)
    return made


def numbers(pair: BootRecordPair) -> list[int]:
    return [Sector.parse(path.read_bytes()).number for path in pair.paths]


def test_both_copies_say_the_same(pair: BootRecordPair) -> None:
    assert numbers(pair) == [0, 0]
    pair.write(ARMED)
    assert (numbers(pair), pair.read()) == ([1, 1], ARMED)
    assert {path.stat().st_size for path in pair.paths} == {SECTOR_BYTES}


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("left", [None, b"", bytes(SECTOR_BYTES), Sector(9, RECORD).encode()[:256] + bytes(256)])
def test_one_copy_is_enough_and_is_mended(pair: BootRecordPair, lost: int, left: bytes | None) -> None:
    pair.write(ARMED)
    path = pair.paths[lost]
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    assert pair.read() == ARMED
    pair.write(RECORD)
    assert (numbers(pair), pair.read()) == ([2, 2], RECORD)


def test_the_copy_that_counts_is_written_last(pair: BootRecordPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends a change before its first copy is on the medium, the record is the one from before."""
    pair.paths[0].write_bytes(Sector(5, ARMED).encode())

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            pair.write(RECORD)
    assert Sector.parse(pair.paths[0].read_bytes()) == Sector(5, ARMED)


def test_neither_copy(pair: BootRecordPair) -> None:
    pair.paths[0].unlink()
    pair.paths[1].write_bytes(bytes(SECTOR_BYTES + 1))
    with refused("slot-corrupt") as caught:
        pair.read()
    assert "boot.0: " in caught.value.detail
    assert "boot.1: " in caught.value.detail
    with refused("slot-corrupt"):
        pair.write(RECORD)
