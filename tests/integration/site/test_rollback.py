"""The ways back and out that a directive may lead: within the security epoch, recorded, and never by itself."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from medvouch.cli import wiring
from medvouch.daemon.updating import Updating
from medvouch.errors import StorageFault
from medvouch.formats.directive import RECOVERY, ROLLBACK, Directive
from medvouch.formats.update import InstalledRelease, UpdateRecord
from medvouch.messages import topics
from medvouch.update.transitions import Cause
from medvouch_sim.publisher import Release
from medvouch_sim.repository_server import Exchange
from support.sites import eventually
from support.store import ledger
from support.updating import Updatable, release, updatable

GOOD = release("1.1.0")
WORSE = replace(GOOD, version="1.1.1", sequence=3)
"""Of the same epoch; it boots as the other does."""


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    async with updatable(tmp_path) as scene:
        yield scene


def as_a(purpose: str, days: int = 0) -> Callable[[Directive], Directive]:
    return lambda directive: replace(directive, purpose=purpose, expires=directive.expires + days)


async def sent(scene: Updatable, to: Release, purpose: str, days: int = 0) -> int:
    """Direct the gateway to what is published, and have it look; the mark before."""
    mark = scene.mark
    scene.publisher.direct(scene.gateway.entry.ek_hash, to, alter=as_a(purpose, days))
    await scene.look()
    return mark


async def closed(scene: Updatable, to: Release) -> None:
    mark = await scene.installed(to)
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    await scene.update("closed", since=mark)


async def looked(scene: Updatable) -> None:
    """Wait until it has looked once more, and found nothing to do."""
    asked = len(scene.publisher.server.requests)
    await scene.look()
    await eventually(lambda: any("timestamp" in path for path in scene.publisher.server.requests[asked:]))
    assert (await scene.collector.challenger.challenge(scene.device)).error is None


async def test_an_emergency_rollback_within_the_epoch(scene: Updatable, tmp_path: Path) -> None:
    """Also where no appraiser has confirmed what it leads away from; it is recorded, and nothing undoes it."""
    await closed(scene, GOOD)
    await scene.installed(WORSE)
    earlier = tmp_path / "earlier"
    shutil.copytree(scene.publisher.directory, earlier)
    mark = await sent(scene, GOOD, ROLLBACK)
    await scene.update("activated", since=mark)
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)
    assert scene.agent.standing.installed == InstalledRelease("1.1.0", 2, 2)
    begun = [each for each in ledger(scene) if each.machine == "update" and each.after == "notified"]
    assert [each.cause for each in begun] == ["notify", "notify", "rollback"]
    assert (begun[-1].before, begun[-1].actor) == ("self_checked", "director")
    assert begun[-1].detail.startswith("rollback from release 1.1.1, sequence 3, to 1.1.0, sequence 2, slot ")
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    await scene.update("closed", since=mark)

    scene.publisher.server.directory = earlier
    mark = scene.mark
    await scene.look()
    await scene.turned_down("repository-rolled-back", since=mark)
    assert scene.agent.standing.installed.sequence == 2


async def test_back_out_of_the_epoch_or_without_saying_so(scene: Updatable) -> None:
    await closed(scene, GOOD)
    scene.publisher.publish(old := release("1.0.0"))
    for purpose, code in ((ROLLBACK, "rollback-other-epoch"), (RECOVERY, "sequence-not-higher")):
        await scene.turned_down(code, since=await sent(scene, old, purpose))
    scene.publisher.publish(WORSE)
    await scene.turned_down("sequence-not-lower", since=await sent(scene, WORSE, ROLLBACK))
    assert scene.agent.standing.installed.sequence == 2


async def test_only_a_way_out_is_looked_for_while_a_verdict_is_waited_for(scene: Updatable) -> None:
    await scene.installed(GOOD)
    mark = await scene.directed(WORSE)
    await looked(scene)
    assert scene.agent.standing.update is not None
    assert scene.agent.standing.update.sequence == 2
    await scene.update("closed", since=mark)


async def test_a_recovery_tries_once_more_what_failed(scene: Updatable) -> None:
    def wrong(exchange: Exchange) -> None:
        exchange.head(200, Content_Length=str(len(GOOD.image)))
        exchange.body(bytes(len(GOOD.image)))

    scene.publisher.server.misbehave("images/", wrong)
    mark = await scene.directed(GOOD)
    assert (await scene.update("failed", since=mark))["reason"] == "payload-mismatch"
    mark = await sent(scene, GOOD, RECOVERY)
    assert (await scene.update("failed", since=mark))["reason"] == "payload-mismatch"
    mark = scene.mark
    await looked(scene)
    scene.publisher.server.behave()
    await looked(scene)
    told = topics.Event(scene.device, "update")
    assert [heard for heard in scene.observer.heard[mark:] if heard.topic == told] == []
    mark = await sent(scene, GOOD, RECOVERY, days=1)
    await scene.update("activated", since=mark)
    causes = [each.cause for each in ledger(scene) if each.machine == "update" and each.after == "notified"]
    assert causes == ["notify", "recover", "recover"]


async def test_a_rollback_to_what_is_installed_ends_what_is_under_way(scene: Updatable) -> None:
    await closed(scene, GOOD)
    scene.publisher.server.misbehave("images/1.1.1.img", lambda exchange: exchange.head(404, Content_Length="0"))
    mark = await scene.directed(WORSE)
    await scene.event("update-held-up", since=mark, code="fetch-not-found")
    mark = await sent(scene, GOOD, ROLLBACK)
    assert (await scene.update("withdrawn", since=mark))["reason"] == "update-withdrawn"
    await scene.turned_down("update-withdrawn", since=mark)
    scene.publisher.server.behave()
    await looked(scene)
    assert scene.agent.standing.installed.sequence == 2
    mark = await scene.directed(replace(WORSE, version="1.1.2", sequence=4))
    await scene.update("activated", since=mark)


async def test_a_directive_that_is_gone_ends_what_waits_and_what_was_armed_unrecorded_is_left(
    scene: Updatable, tmp_path: Path
) -> None:
    """A fault came between the boot record and the ledger: the slot is armed, and said to be staged."""
    busy = tmp_path / "busy"
    await scene.with_settings(f'busy_command = "test ! -e {busy}"')
    moved = Updating._move

    async def stop(self: Updating, record: UpdateRecord, cause: Cause, **options: Any) -> UpdateRecord:
        if cause is Cause.ACTIVATE:
            raise StorageFault("state-full", "no space", remedy="none")
        return await moved(self, record, cause, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Updating, "_move", stop)
        mark = await scene.directed(GOOD)
        await scene.event("update-held-up", since=mark, code="state-full")
    busy.touch()
    scene.publisher.repository.withdraw(scene.device)
    scene.publisher.repository.publish(scene.publisher.now)
    await scene.look()
    await scene.update("withdrawn", since=mark)
    assert [each.actor for each in ledger(scene) if each.machine == "update"][-1] == "director"
    busy.unlink()
    armed = scene.gateway.slots.activated()
    assert armed is not None
    left: list[str] = []

    async def restart(command: str) -> None:
        left.append(command)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "run_command", restart)
        mark = scene.mark
        await scene.gateway.reboot()
        assert scene.gateway.slots.running() == armed
        await eventually(lambda: left != [])
    await scene.gateway.reboot()
    await scene.state("health", since=mark)
    assert scene.gateway.slots.running() != armed
    assert scene.agent.standing.installed.sequence == 0
    mark = await scene.directed(GOOD)
    await scene.update("activated", since=mark)


@pytest.mark.parametrize("reachable", [True, False])
async def test_what_was_staged_before_the_device_was_off_is_looked_for_again(
    scene: Updatable, tmp_path: Path, *, reachable: bool
) -> None:
    """Meanwhile it was withdrawn; where the repository cannot be reached, it is started as it was chosen."""
    busy = tmp_path / "busy"
    busy.touch()
    await scene.with_settings(f'busy_command = "test ! -e {busy}"')
    mark = await scene.directed(GOOD)
    await scene.state("update", since=mark, state="staged", held_by="busy")
    await scene.gateway.cut_power()
    scene.publisher.repository.withdraw(scene.device)
    scene.publisher.repository.publish(scene.publisher.now)
    busy.unlink()
    if not reachable:
        scene.publisher.server.misbehave("metadata/", lambda exchange: exchange.head(500, Content_Length="0"))
    mark = scene.mark
    await scene.gateway.boot()
    await scene.update("withdrawn" if reachable else "activated", since=mark)
    assert (scene.gateway.slots.activated() is None) is reachable
