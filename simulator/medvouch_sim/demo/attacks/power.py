"""What power, slots and disks do to an update. Only the spare gateway has to bear this."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from threading import Event

from medvouch.adapters.boot_record import GOOD, WRITTEN
from medvouch.errors import MedvouchError
from medvouch_sim.demo.attacks.base import Attack, Play, Provoke, Trial
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway
from medvouch_sim.repository_server import Exchange
from medvouch_sim.swtpm import command_code

POWER_CUTS = 40
RESUMED = "resumes and installs"
NV_EXTEND, QUOTE = 0x136, 0x158
"""TPM commands (Part 2, 6.5.2): the first of every checkpoint, and the heart of every self-check."""


async def full_disk(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The disk is full when the other slot is written: writing to /dev/full fails with ENOSPC."""
    slot = gateway.slots.path(gateway.slots.other())
    stage.publish(gateway, stage.release("1.1.0"))
    slot.unlink(missing_ok=True)
    slot.symlink_to("/dev/full")
    yield lambda: stage.look(gateway)
    slot.unlink()


async def broken_slot(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The first block of the new image is lost between activation and first boot."""
    mark = stage.mark
    stage.publish(gateway, stage.another())
    await stage.look(gateway)
    await stage.update(gateway, "activated", since=mark)
    await gateway.shut_down()
    slot = gateway.slots.path(gateway.slots.other())
    slot.write_bytes(bytes(512) + slot.read_bytes()[512:])
    yield gateway.boot


async def cut_while_writing(stage: Stage, gateway: Gateway) -> str:
    """Half of the image has come when power goes; the update that the full disk held up is still under way."""
    record = gateway.agent.standing.update if gateway.agent else None
    assert record is not None, "an update is under way"
    server, over = stage.publisher.server, Event()
    image = stage.release(record.version).image

    def half(exchange: Exchange) -> None:
        exchange.head(200, Content_Length=str(len(image)))
        exchange.body(image[: len(image) // 2])
        over.wait(10)

    server.misbehave(f"images/{record.version}.img", half)
    mark, before = stage.mark, gateway.release
    await stage.look(gateway)
    await stage.observer.first(lambda heard: heard.is_event(gateway.device, "update-progress"), since=mark)
    asyncio.get_running_loop().call_soon(over.set)  # once the power is gone: what is left of the agent ends then, too
    await gateway.cut_power()
    server.behave()
    return await _resumed(stage, gateway, before)


def cut_at(instant: Callable[[Gateway, int], bool], *, rebooted: bool) -> Play:
    """Power goes in an update at the first TPM command of which `instant(gateway, code)` holds."""

    async def play(stage: Stage, gateway: Gateway) -> str:
        mark, before = stage.mark, gateway.release
        async with gateway.power_fails_at(lambda command: instant(gateway, command_code(command))) as failed:
            stage.publish(gateway, stage.another())
            await stage.look(gateway)
            if rebooted:
                await stage.update(gateway, "activated", since=mark)
                await gateway.reboot()
            async with asyncio.timeout(10):
                await failed.wait()
        return await _resumed(stage, gateway, before)

    return play


def written(gateway: Gateway, code: int) -> bool:
    """The image is whole in the other slot and recorded so; it is not activated yet."""
    if code != NV_EXTEND:
        return False
    record = gateway.slots.record()
    return record.states[record.other] == WRITTEN and record.armed is None


def unconfirmed(gateway: Gateway, code: int) -> bool:
    """The new slot runs, and is about to check itself."""
    if code != QUOTE:
        return False
    record = gateway.slots.record()
    return record.states[record.running] != GOOD


async def _resumed(stage: Stage, gateway: Gateway, before: str) -> str:
    """Switch on after a cut: the old slot has to boot, and the update to go on to its end."""
    old = gateway.slots.record().default
    mark = stage.mark
    await gateway.boot()
    if (gateway.slots.running(), gateway.release) != (old, before):
        return f"{gateway.release} in slot {gateway.slots.running()} boots"
    await stage.update(gateway, "activated", since=mark)
    await gateway.reboot()
    told = await stage.update(gateway, "self_checked", "failed", since=mark)
    if told["state"] == "failed":
        return f"failed with {told['reason']}"
    return RESUMED if gateway.slots.running() != old else "the old slot boots still"


def then_attested(play: Play, step: str) -> Play:
    """As `play`, and the appraiser confirms what came of it."""

    async def both(stage: Stage, gateway: Gateway) -> str | MedvouchError:
        actual, mark = await play(stage, gateway), stage.mark
        outcome = await stage.challenge(gateway, step)
        if outcome.error is not None:
            return outcome.error
        await stage.update(gateway, "closed", since=mark)
        return actual

    return both


async def many_cuts(stage: Stage, gateway: Gateway) -> str:
    """Power goes again and again while the keys are in use; the TPM must not take it for somebody guessing."""
    for _ in range(POWER_CUTS):
        mark = stage.mark
        await gateway.cut_power()
        await gateway.boot()
        await stage.online(gateway, since=mark)
    outcome = await stage.challenge(gateway, "after the power cuts")
    return outcome.ear.status.name.lower()


FULL_DISK = Attack("disk that fills while writing", "slot-full", full_disk, "fault")
CUT_WHILE_WRITING = Trial("power cut while writing", RESUMED, cut_while_writing)
POWER_FAULTS: Sequence[Attack | Trial] = (
    Trial(
        "power cut between write and activation",
        RESUMED,
        then_attested(cut_at(written, rebooted=False), "cut before activation"),
    ),
    Trial(
        "power cut before confirmation",
        RESUMED,
        then_attested(cut_at(unconfirmed, rebooted=True), "cut before confirmation"),
    ),
    Attack("broken slot at first boot", "slot-fell-back", broken_slot, "fault"),
    Trial(f"{POWER_CUTS} power cuts in a row", "affirming", many_cuts),
)
