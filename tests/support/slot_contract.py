"""What every adapter of the port Slots must do, as a class of tests: a subclass gives the fixture `medium`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from medvouch.errors import StorageFault
from medvouch.ports import Slots

CAPACITY = 4 << 20
"""Of the slots of a medium."""
OLD = b"the image that the maker delivered" * 1000
"""Good, running and the default, in slot a; slot b is empty."""
NEW = bytes(range(256)) * 8192 + b"an odd end"


class Medium(Protocol):
    """Slots as a maker delivers them, and the boot loader that knows them."""

    def slots(self) -> Slots:
        """The adapter, as a process that has just started has it."""
        ...

    def start(self) -> str:
        """The machine starts anew; the slot that its boot loader started."""
        ...

    def full(self) -> AbstractContextManager[None]:
        """No more than half of NEW fits inside; there is space again after."""
        ...

    def damage_record(self) -> None:
        """What says which slot is booted cannot be read any more."""
        ...


class Broken(Exception):
    """Something else than storage went wrong."""


def pieces(data: bytes, size: int = 100_000) -> Iterator[bytes]:
    for offset in range(0, len(data), size):
        yield data[offset : offset + size]


def refused(code: str) -> pytest.RaisesExc[StorageFault]:
    return pytest.raises(StorageFault, match=f"^{code}: .+; .+")


def contents(slots: Slots, slot: str, size: int) -> bytes:
    return b"".join(slots.read(slot, size))


class SlotContract:
    """Slot a runs, b is where the update goes, until a start says otherwise."""

    @pytest.fixture
    def medium(self) -> Medium:
        raise NotImplementedError

    @pytest.fixture
    def slots(self, medium: Medium) -> Slots:
        return medium.slots()

    @pytest.fixture
    def updated(self, medium: Medium, slots: Slots) -> Slots:
        """Slot b runs and is confirmed, a is the old one and good."""
        slots.write("b", pieces(NEW))
        slots.activate("b")
        assert medium.start() == "b"
        slots.confirm()
        return slots

    def test_as_delivered(self, medium: Medium, slots: Slots) -> None:
        assert (slots.running(), slots.other(), slots.activated(), slots.capacity()) == ("a", "b", None, CAPACITY)
        assert contents(slots, "a", len(OLD)) == OLD
        assert medium.start() == "a"

    @pytest.mark.parametrize("size", [0, 1, 4096, len(NEW) - 1, len(NEW)])
    def test_what_was_written_is_read(self, slots: Slots, size: int) -> None:
        slots.write("b", pieces(NEW))
        assert contents(slots, "b", size) == NEW[:size]

    def test_more_than_there_is_cannot_be_read(self, slots: Slots) -> None:
        slots.write("b", [b"x" * 4096])
        with refused("slot-unreadable|slot-unwritten"):
            contents(slots, "b", CAPACITY + 1)

    def test_a_shorter_image_replaces_a_longer_one(self, slots: Slots) -> None:
        slots.write("b", pieces(NEW))
        slots.write("b", [b"short"])
        assert contents(slots, "b", 5) == b"short"

    def test_an_image_of_the_whole_capacity_and_a_byte_more(self, slots: Slots) -> None:
        slots.write("b", pieces(bytes(CAPACITY), 1 << 20))
        with refused("slot-full"):
            slots.write("b", pieces(bytes(CAPACITY + 1), 1 << 20))
        with refused("slot-unwritten"):
            slots.activate("b")

    # --- piece by piece -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("start", "size"), [(0, 0), (1, 1), (4095, 2), (4096, 4096), (100_001, 1_500_000)])
    def test_a_piece_is_read(self, slots: Slots, start: int, size: int) -> None:
        slots.write("b", pieces(NEW))
        assert b"".join(slots.read("b", size, start=start)) == NEW[start : start + size]

    def test_the_extent_of_a_slot(self, slots: Slots) -> None:
        assert len(OLD) <= slots.extent("a") <= CAPACITY
        slots.write("b", pieces(NEW))
        assert len(NEW) <= slots.extent("b") <= CAPACITY
        assert contents(slots, "b", slots.extent("b"))[: len(NEW)] == NEW

    @pytest.mark.parametrize("start", [1, 4096, 1_000_000, len(NEW)])
    def test_an_image_is_written_from_where_it_was_left(self, medium: Medium, slots: Slots, start: int) -> None:
        def broken() -> Iterator[bytes]:
            yield NEW[:start] + b"more"
            raise Broken

        with pytest.raises(Broken):
            slots.write("b", broken())
        medium.slots().write("b", pieces(NEW[start:]), start=start)
        assert contents(slots, "b", len(NEW)) == NEW
        slots.activate("b")
        assert medium.start() == "b"

    def test_the_rest_of_an_image_is_no_more_than_the_slot_takes(self, slots: Slots) -> None:
        slots.write("b", pieces(bytes(CAPACITY), 1 << 20))
        with refused("slot-full"):
            slots.write("b", [b"x"], start=CAPACITY)

    def test_the_running_slot_is_not_written_further(self, slots: Slots) -> None:
        with refused("slot-in-use"):
            slots.write("a", [b"x"], start=len(OLD))
        assert contents(slots, "a", len(OLD)) == OLD

    def test_what_is_said_to_be_durable_is(self, medium: Medium, slots: Slots) -> None:
        """Whoever is interrupted finds as many bytes; and is told so more than once while an image comes."""
        told: list[int] = []

        def durable(done: int) -> None:
            assert contents(medium.slots(), "b", done) == NEW[:done]
            told.append(done)

        def slowly() -> Iterator[bytes]:
            for piece in pieces(NEW):
                time.sleep(0.02)
                yield piece

        slots.write("b", slowly(), durable=durable)
        assert told == sorted(set(told))
        assert told

    # --- activation ---------------------------------------------------------------------------------------------------

    def test_writing_boots_nothing(self, medium: Medium, slots: Slots) -> None:
        slots.write("b", pieces(NEW))
        assert slots.activated() is None
        assert medium.start() == "a"

    def test_activated_it_is_booted_once(self, medium: Medium, slots: Slots) -> None:
        slots.write("b", pieces(NEW))
        slots.activate("b")
        assert (medium.slots().activated(), slots.running()) == ("b", "a")
        assert [medium.start(), slots.running(), slots.other(), slots.activated()] == ["b", "b", "a", None]
        assert [medium.start(), slots.running(), slots.other()] == ["a", "a", "b"]

    def test_a_slot_that_was_not_confirmed_may_be_activated_again(self, medium: Medium, slots: Slots) -> None:
        slots.write("b", pieces(NEW))
        slots.activate("b")
        medium.start()
        medium.start()
        slots.activate("b")
        assert medium.start() == "b"

    def test_confirmed_it_is_booted_every_time(self, medium: Medium, updated: Slots) -> None:
        assert [medium.start(), medium.start(), updated.running()] == ["b", "b", "b"]
        updated.confirm()
        assert medium.start() == "b"

    def test_writing_anew_takes_the_activation_back(self, medium: Medium, slots: Slots) -> None:
        slots.write("b", pieces(NEW))
        slots.activate("b")
        slots.write("b", pieces(NEW))
        assert slots.activated() is None
        assert medium.start() == "a"

    def test_and_again_into_the_first_slot(self, medium: Medium, updated: Slots) -> None:
        updated.write("a", pieces(NEW))
        assert medium.start() == "b"
        updated.activate("a")
        assert [medium.start(), medium.start()] == ["a", "b"]

    # --- retirement ---------------------------------------------------------------------------------------------------

    def test_the_retirement_of_the_running_slot(self, medium: Medium, updated: Slots) -> None:
        updated.retire("b")
        assert updated.running() == "b"
        with refused("slot-unwritten"):
            updated.confirm()
        with refused("slot-unwritten"):
            updated.activate("b")
        assert medium.start() == "a"

    def test_the_retirement_of_a_slot_on_trial(self, medium: Medium, slots: Slots) -> None:
        slots.write("b", pieces(NEW))
        slots.activate("b")
        medium.start()
        slots.retire("b")
        with refused("slot-unwritten"):
            slots.confirm()
        assert medium.start() == "a"

    def test_the_retirement_of_the_old_slot(self, medium: Medium, updated: Slots) -> None:
        updated.retire("a")
        assert medium.start() == "b"
        with refused("slot-unwritten"):
            updated.activate("a")
        updated.write("a", pieces(OLD))
        updated.activate("a")
        assert medium.start() == "a"

    def test_the_retirement_of_an_activated_slot(self, medium: Medium, slots: Slots) -> None:
        slots.write("b", pieces(NEW))
        slots.activate("b")
        slots.retire("b")
        assert slots.activated() is None
        assert medium.start() == "a"

    # --- what would leave nothing to boot -----------------------------------------------------------------------------

    def test_the_running_slot_is_not_written(self, slots: Slots) -> None:
        with refused("slot-in-use"):
            slots.write("a", pieces(NEW))
        assert contents(slots, "a", len(OLD)) == OLD

    def test_the_running_slot_is_not_written_even_where_it_is_retired(self, updated: Slots) -> None:
        updated.retire("b")
        with refused("slot-in-use"):
            updated.write("b", pieces(OLD))
        assert contents(updated, "b", len(NEW)) == NEW

    def test_the_default_slot_is_not_written_while_another_is_on_trial(self, medium: Medium, slots: Slots) -> None:
        slots.write("b", pieces(NEW))
        slots.activate("b")
        medium.start()
        with refused("slot-in-use"):
            slots.write("a", pieces(NEW))
        assert medium.start() == "a"

    @pytest.mark.parametrize("written", [False, True])
    def test_the_last_good_slot_is_not_retired(self, medium: Medium, slots: Slots, written: bool) -> None:
        if written:
            slots.write("b", pieces(NEW))
        with refused("slot-in-use"):
            slots.retire("a")
        assert medium.start() == "a"

    def test_an_empty_slot_is_not_activated(self, medium: Medium, slots: Slots) -> None:
        with refused("slot-unwritten"):
            slots.activate("b")
        assert medium.start() == "a"

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def test_what_the_source_raises_passes_through(self, medium: Medium, slots: Slots) -> None:
        def broken() -> Iterator[bytes]:
            yield NEW
            raise Broken

        slots.write("b", pieces(NEW))
        slots.activate("b")
        with pytest.raises(Broken):
            slots.write("b", broken())
        with refused("slot-unwritten"):
            slots.activate("b")
        assert medium.start() == "a"

    def test_a_full_medium(self, medium: Medium, slots: Slots) -> None:
        with medium.full(), refused("slot-full"):
            slots.write("b", pieces(NEW))
        with refused("slot-unwritten"):
            slots.activate("b")
        assert [medium.start(), contents(slots, "a", len(OLD))] == ["a", OLD]
        slots.write("b", pieces(NEW))
        slots.activate("b")
        assert medium.start() == "b"

    def test_a_damaged_record(self, medium: Medium, slots: Slots) -> None:
        medium.damage_record()
        for call in (slots.running, slots.other, slots.activated, slots.capacity, slots.confirm):
            with refused("slot-corrupt"):
                call()
        for change in (slots.activate, slots.retire, lambda slot: slots.write(slot, [])):
            with refused("slot-corrupt"):
                change("b")

    @pytest.mark.parametrize("after", [0, 1, 7, 21])
    def test_killed_while_writing(self, medium: Medium, slots: Slots, after: int) -> None:
        """After so many pieces; NEW has 21, so that the last case is everything but the end."""
        slots.write("b", pieces(OLD))
        slots.activate("b")
        _kill_while_writing(medium.slots(), after)
        assert medium.slots().activated() is None
        with refused("slot-unwritten"):
            medium.slots().activate("b")
        assert [medium.start(), contents(slots, "a", len(OLD))] == ["a", OLD]
        slots.write("b", pieces(NEW))
        slots.activate("b")
        assert [medium.start(), contents(slots, "b", len(NEW))] == ["b", NEW]


def _kill_while_writing(slots: Slots, after: int) -> None:
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            slots.write("b", _pausing(after, told))
        finally:
            os._exit(1)
    os.close(told)
    assert os.read(heard, 1) == b"!"
    os.close(heard)
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def _pausing(after: int, told: int) -> Iterator[bytes]:
    for number, piece in enumerate([*pieces(NEW), b""]):
        if number == after:
            os.write(told, b"!")
            time.sleep(60)
        yield piece
