"""A gateway whose real-time clock is ten years off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from medvouch_sim.clocks import TEN_YEARS_MS, WrongClock
from support.updating import Updatable, release, updatable


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    async with updatable(tmp_path) as scene:
        scene.publisher.publish(release("1.1.0"))
        await scene.gateway.shut_down()
        yield scene


async def test_ten_years_fast_nothing_is_good_any_more_and_the_old_release_goes_on(scene: Updatable) -> None:
    scene.publisher.direct(scene.gateway.entry.ek_hash, release("1.1.0"))
    scene.gateway.clock = WrongClock(TEN_YEARS_MS, sure=True)
    mark = scene.mark
    await scene.gateway.boot()
    await scene.turned_down("metadata-expired", since=mark)
    assert scene.agent.standing.update is None
    assert scene.gateway.slots.activated() is None
    scene.gateway.clock = None
    mark = scene.mark
    await scene.gateway.reboot()
    assert scene.gateway.release == "1.0.0"
    await scene.update("activated", since=mark)


async def test_ten_years_slow_is_not_believed(scene: Updatable) -> None:
    """Expiry is judged by what is known to have passed; the update goes on."""
    scene.publisher.direct(scene.gateway.entry.ek_hash, release("1.1.0"))
    scene.gateway.clock = WrongClock(-TEN_YEARS_MS, sure=False)
    mark = scene.mark
    await scene.gateway.boot()
    await scene.update("activated", since=mark)
