"""A power cut at each write, fsync and rename of an update, and whatever the disk may have lost by then.

Every day a part of the states; `make crashes` goes through all of them.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from medvouch.adapters import http, slots
from medvouch.adapters.boot_record import COPIES, GOOD
from medvouch_sim.images import build_image
from support.crashes import EVERY_SUBSET, Crash, Named, Recording, Written
from support.sites import eventually
from support.updating import Updatable, release, updatable

EVERY = "MEDVOUCH_CRASHES"
"""Environment: `all`, or how many states."""
A_FEW = 12
LEAST = 90
"""States that there are for certain: a recording that misses what is written would have fewer."""
MAX_STARTS = 6
OLD, NEW = (hashlib.sha256(build_image(version)).digest() for version in ("1.0.0", "1.1.0"))


@pytest.mark.parametrize("indexed", [False, True])
async def test_power_cuts_at_every_point_of_an_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    """Of an image over the wire with a checkpoint at each chunk, and of one from blocks, with none before its end."""
    monkeypatch.setattr(http, "CHUNK_BYTES", 8192)
    if not indexed:
        monkeypatch.setattr(slots, "CHECKPOINT_BYTES", 8192)
        monkeypatch.setattr(slots, "CHECKPOINT_SHARE", 0)
    outcomes: Counter[str] = Counter()
    async with updatable(tmp_path) as scene:
        recording = await _recorded(scene, indexed)
        crashes = recording.crashes(EVERY_SUBSET) if _wanted() == "all" else recording.crashes()
        chosen = _chosen(crashes)
        for crash in chosen:
            recording.restore(crash)
            _check_bootable(scene, crash)
            outcomes[await _carried_on(scene, crash)] += 1
    count = f"{len(recording.steps)} steps, {len(crashes)} states, {len(chosen)} of them tried: {dict(outcomes)}"
    print(count)  # noqa: T201 - what `make crashes` shows
    assert outcomes.keys() <= {"self_checked", "slot-fell-back"}
    assert outcomes["self_checked"] > 0.9 * len(chosen)
    assert len(crashes) > LEAST


async def _recorded(scene: Updatable, indexed: bool) -> Recording:
    """One update from the directive to the self-check, two lives of the agent."""
    gateway = scene.gateway
    await gateway.reboot()  # with every file that it will have
    folders = gateway.machine.directory, gateway.state_dir / "state.db", gateway.tpm.state_dir
    recording = Recording(*folders, fat=("slots",))  # as an EFI system partition, where boot records are
    mark = scene.mark
    await gateway.stop_agent()
    with recording.recorded():
        await gateway.start_agent()
        scene.publisher.publish(release("1.1.0").indexed() if indexed else release("1.1.0"))
        scene.publisher.direct(gateway.entry.ek_hash, release("1.1.0"))
        await scene.state("health", since=mark)
        await scene.look()
        await scene.update("activated", since=mark)
        await gateway.reboot()
        await scene.update("self_checked", since=mark)
    await _off(scene)
    named = {step.name for step, _ in recording.steps if isinstance(step, Named)}
    assert {"slots/b.img", "state/tuf/timestamp.json", "state/tuf/snapshot.json"} <= named
    written = {step.file for step, _ in recording.steps if isinstance(step, Written)}
    assert {recording.first.names[f"slots/{copy}"] for copy in COPIES} <= written
    return recording


def _wanted() -> str:
    return os.environ.get(EVERY, str(A_FEW))


def _chosen(crashes: list[Crash]) -> list[Crash]:
    """All, or so many, of points all along the way: one state of each, another one at each next point."""
    if _wanted() == "all":
        return crashes
    points = [list(states) for _, states in groupby(crashes, key=lambda crash: crash.point)]
    count = min(int(_wanted()), len(points))
    along = [points[number * len(points) // count] for number in range(count)]
    return [states[number % len(states)] for number, states in enumerate(along)]


def _check_bootable(scene: Updatable, crash: Crash) -> None:
    """Whatever was lost: what is booted next is whole, and so is the slot of every start after it."""
    record = scene.gateway.slots.record()
    for slot in (record.default, record.next_slot()):
        assert _image(scene, slot) in (OLD, NEW), (crash.point, crash.lost)


def _image(scene: Updatable, slot: str) -> bytes:
    return hashlib.sha256(scene.gateway.slots.path(slot).read_bytes()).digest()


async def _carried_on(scene: Updatable, crash: Crash) -> str:
    """Start until the update is through, as one does who gets a device back; what became of it, if that is true."""
    gateway, left, where = scene.gateway, scene.gateway.slots.record(), (crash.point, crash.lost)
    for _ in range(MAX_STARTS):
        agent = await gateway.boot()
        await eventually(functools.partial(_rested, scene))
        record = agent.standing.update
        problems = [problem.code for problem in agent.health]
        await _off(scene)
        assert record is not None
        assert problems == [], where
        if record.state != "activated":
            break
    kept = gateway.slots.record()
    assert (_image(scene, "a"), kept.states["a"]) == (OLD, GOOD), where
    if record.state == "self_checked":
        assert (kept.default, kept.running, kept.states["b"]) == ("b", "b", GOOD), where
        assert (_image(scene, "b"), gateway.release) == (NEW, "1.1.0"), where
        return record.state
    assert (record.state, kept.default, kept.running, gateway.release) == ("failed", "a", "a", "1.0.0"), where
    assert (left.running, left.default) == ("b", "a"), where  # its one attempt had been begun when power went
    return record.code


def _rested(scene: Updatable) -> bool:
    record = scene.agent.standing.update
    if record is None:
        return False
    return record.state in ("self_checked", "failed") or (
        record.state == "activated" and scene.gateway.slots.activated() == record.slot
    )


async def _off(scene: Updatable) -> None:
    """The mains fail."""
    await scene.gateway.stop_agent()
    scene.gateway.tpm.kill()
