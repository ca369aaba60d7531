"""A slot that does not give back what was written to it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from medvouch.adapters.slots import FileSlots
from medvouch.daemon import staging
from medvouch.errors import StorageFault
from support.updating import Updatable, release, updatable


@pytest_asyncio.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Updatable]:
    monkeypatch.setattr(staging, "MAX_UNREAD", 3)
    async with updatable(tmp_path) as scene:
        yield scene


def cut_short(scene: Updatable) -> None:
    os.truncate(scene.gateway.slots.path(scene.gateway.slots.other()), 1000)


async def held_up(scene: Updatable) -> None:
    mark = scene.mark
    await scene.look()
    await scene.event("update-held-up", since=mark, code="slot-unreadable")


async def test_a_staged_slot_that_cannot_be_read_any_more_is_tried_a_few_times_and_given_up(scene: Updatable) -> None:
    """A restart of the device makes no new tries of it; the old slot goes on, and takes the next release."""

    def full(self: FileSlots, slot: str) -> None:
        raise StorageFault("slot-unwritable", "no space", remedy="none")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileSlots, "activate", full)
        mark = await scene.directed(release("1.1.0"))
        await scene.event("update-held-up", since=mark, code="slot-unwritable")
    cut_short(scene)
    await held_up(scene)
    mark = scene.mark
    await scene.gateway.reboot()
    await scene.event("update-held-up", since=mark, code="slot-unreadable")
    assert scene.agent.standing.update is not None
    assert scene.agent.standing.update.state == "staged"
    mark = scene.mark
    await scene.look()
    assert (await scene.update("failed", since=mark))["reason"] == "slot-lost"
    await scene.turned_down("slot-lost", since=mark)
    assert (scene.gateway.release, scene.gateway.slots.activated()) == ("1.0.0", None)
    await scene.installed(replace(release("1.1.0"), sequence=3))


async def test_one_that_was_never_read_back_is_given_up_as_well(
    scene: Updatable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each release has its own tries."""
    written = FileSlots.write

    def short(slots: FileSlots, slot: str, *arguments: object, **named: object) -> None:
        written(slots, slot, *arguments, **named)  # type: ignore[arg-type]
        os.truncate(slots.path(slot), 1000)

    monkeypatch.setattr(FileSlots, "write", short)
    for sequence in (2, 3):
        mark = await scene.directed(replace(release("1.1.0"), sequence=sequence))
        await scene.event("update-held-up", since=mark, code="slot-unreadable")
        await held_up(scene)
        mark = scene.mark
        await scene.look()
        assert (await scene.update("failed", since=mark))["reason"] == "slot-lost"


async def test_one_that_gives_back_other_bytes_is_given_up_at_once(
    scene: Updatable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written was right; one bit of the medium is not, and nothing of it is ever started."""
    written = FileSlots.write

    def turned(slots: FileSlots, slot: str, *arguments: object, **named: object) -> None:
        written(slots, slot, *arguments, **named)  # type: ignore[arg-type]
        with slots.path(slot).open("r+b") as medium:
            medium.seek(1000)
            byte = medium.read(1)[0]
            medium.seek(1000)
            medium.write(bytes([byte ^ 1]))

    with monkeypatch.context() as patch:
        patch.setattr(FileSlots, "write", turned)
        mark = await scene.directed(release("1.1.0"))
        assert (await scene.update("failed", since=mark))["reason"] == "slot-mismatch"
    await scene.turned_down("slot-mismatch", since=mark)
    assert (scene.gateway.release, scene.gateway.slots.activated()) == ("1.0.0", None)
    await scene.installed(replace(release("1.1.0"), sequence=3))
