"""A gateway whose real-time clock is ten years off, or becomes so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from medvouch_sim.clocks import TEN_YEARS_MS, WrongClock
from support.updating import Updatable, release, updatable


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    """It is off, and there is an update for it."""
    async with updatable(tmp_path) as scene:
        scene.publisher.publish(release("1.1.0"))
        scene.publisher.direct(scene.gateway.entry.ek_hash, release("1.1.0"))
        await scene.gateway.shut_down()
        yield scene


async def test_ten_years_fast_nothing_is_good_any_more_and_the_old_release_goes_on(scene: Updatable) -> None:
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


@pytest.mark.parametrize("off", [-TEN_YEARS_MS, TEN_YEARS_MS])
async def test_a_clock_that_is_not_believed_makes_no_difference(scene: Updatable, off: int) -> None:
    """Expiry is judged by what is known to have passed; the update goes on."""
    scene.gateway.clock = WrongClock(off, sure=False)
    mark = scene.mark
    await scene.gateway.boot()
    await scene.update("activated", since=mark)


async def test_ten_years_slow_and_believed_time_does_not_go_back(scene: Updatable) -> None:
    """Whoever has the time server sets the clock back to when an old repository was in force."""
    scene.gateway.clock = WrongClock(-TEN_YEARS_MS, sure=True)
    mark = scene.mark
    await scene.gateway.boot()
    await scene.update("activated", since=mark)
    assert scene.agent.standing.testified_time == scene.publisher.now
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)
    past = scene.publisher.now - 3 * 86_400  # its timestamp is good for two days
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    scene.publisher.repository.publish(past)
    mark = scene.mark
    await scene.look()
    await scene.turned_down("repository-frozen", since=mark)


@pytest.mark.parametrize("off", [-TEN_YEARS_MS, TEN_YEARS_MS])
async def test_a_jump_while_an_update_is_under_way(scene: Updatable, off: int) -> None:
    """Between the install and the reboot: what was installed when it was good is confirmed."""
    scene.gateway.clock = clock = WrongClock(0, sure=True)
    mark = scene.mark
    await scene.gateway.boot()
    await scene.update("activated", since=mark)
    clock._off_ms = off
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)
    assert scene.gateway.release == "1.1.0"
