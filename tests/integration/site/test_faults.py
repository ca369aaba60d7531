"""Every fault of the table (tests/support/faults.py), over a device that has an update to install."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from medvouch.formats.update import UpdateRecord
from support.faults import ENDS, FAILED, FAULTS, HELD_UP, NOTHING, REFUSED, YESTERDAY, Fault, copied
from support.updating import Updatable, release, updatable

ROOT = Path(__file__).resolve().parents[3]
SAID = {HELD_UP: "update-held-up", REFUSED: "update-refused", FAILED: "update-refused"}


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    """The device has seen a repository that is newer than yesterday's, and knows of no update yet."""
    async with updatable(tmp_path) as scene:
        copied(scene, YESTERDAY)
        scene.publisher.publish(release("1.1.0"))
        yield scene


def striking(*ends: str) -> list[Fault]:
    return [fault for fault in FAULTS if fault.end in ends and fault.strike]


def record(scene: Updatable) -> UpdateRecord | None:
    return scene.agent.standing.update


async def test_one_after_another_they_hold_an_update_up_and_it_comes_through(scene: Updatable) -> None:
    """Each is told by its code, and nothing is started; without it, what was begun goes on."""
    scene.publisher.direct(scene.gateway.entry.ek_hash, release("1.1.0"))
    for fault in striking(HELD_UP, REFUSED):
        assert fault.strike
        with fault.strike(scene):
            mark = scene.mark
            await scene.look()
            said = await scene.event(SAID[fault.end], since=mark)
        assert said["code"] == fault.code, (fault.what, said)
        assert scene.gateway.slots.activated() is None, fault.what
        assert (found := record(scene)) is None or found.state in ("notified", "staged"), fault.what
    mark = scene.mark
    await scene.look()
    await scene.update("activated", since=mark)
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)


async def test_one_after_another_they_fail_an_update_and_the_next_one_is_taken(scene: Updatable) -> None:
    for number, fault in enumerate(striking(FAILED)):
        assert fault.strike
        with fault.strike(scene):
            mark = await scene.directed(replace(release("1.1.0"), sequence=10 + number))
            failed = await scene.update("failed", since=mark)
            await scene.turned_down(fault.code, since=mark)
        assert failed["reason"] == fault.code, (fault.what, failed)
        assert scene.gateway.slots.activated() is None, fault.what
        assert scene.gateway.slots.record().states["a"] == "good", fault.what
    await scene.installed(replace(release("1.1.0"), sequence=99))


@pytest.mark.parametrize("fault", striking(NOTHING), ids=lambda fault: fault.what)
async def test_it_makes_no_difference(scene: Updatable, fault: Fault) -> None:
    indexed = release("1.1.0").indexed()
    scene.publisher.publish(indexed)
    scene.publisher.direct(scene.gateway.entry.ek_hash, indexed)
    assert fault.strike
    with fault.strike(scene):
        mark = scene.mark
        await scene.look()
        await scene.update("activated", since=mark)
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_each_row_is_shown(fault: Fault) -> None:
    assert fault.end in ENDS
    assert (fault.code == "") == (fault.end == NOTHING)
    assert (fault.strike is None) == bool(fault.test)
    if fault.test:
        path, _, name = fault.test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
