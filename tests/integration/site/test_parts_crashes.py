"""A power cut at each write, fsync and rename while parts of which there is one are installed, and confirmed.

The EFI system partition is FAT, where what was not flushed may be lost name by name. `make crashes` goes through all of
the states, and every day a few of them are tried.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from medvouch.adapters.boot_loader import BootLoader
from medvouch.daemon.agent import Agent
from medvouch.formats.secure_boot import APPENDING
from medvouch.formats.uefi import IMAGE_SECURITY_DATABASE
from medvouch_sim.fixtures import loader
from support import parts
from support.crashes import EVERY_SUBSET, Crash, Named, Recording, Written
from support.parts import DBX, NEW_LOADER, OLD_LOADER, directed, left
from support.sites import eventually
from support.updating import Updatable

FORBIDDEN = parts.forbids(loader("256"))
RELEASE = parts.release(
    {"boot-loader": NEW_LOADER, DBX: FORBIDDEN}, loader=NEW_LOADER, change=left("dbx", APPENDING, FORBIDDEN)
)
A_FEW = 16
LEAST = 60
"""States that there are for certain."""
MAX_STARTS = 4


async def test_power_cuts_at_every_point_of_an_installation(tmp_path: Path) -> None:
    """Every one of them ends with both parts in place and a record of that."""
    wanted = os.environ.get("MEDVOUCH_CRASHES", str(A_FEW))
    async with parts.gateway_with_loader(tmp_path, [RELEASE.reference]) as scene:
        lives = await _recorded(scene)
        for life in lives:
            crashes = life.crashes(EVERY_SUBSET) if wanted == "all" else life.crashes()
            chosen = crashes if wanted == "all" else crashes[:: max(1, len(crashes) // (int(wanted) // len(lives)))]
            for crash in chosen:
                life.restore(crash)
                await _carried_on(scene, crash)
            print(f"{len(life.steps)} steps, {len(crashes)} states, {len(chosen)} of them tried")  # noqa: T201
    assert sum(len(life.crashes()) for life in lives) > LEAST


async def _recorded(scene: Updatable) -> list[Recording]:
    """From the directive to the restart, and from there to the self-check."""
    gateway = scene.gateway
    await gateway.reboot()  # with every file that it will have
    folders = gateway.machine.directory, gateway.state_dir / "state.db", gateway.tpm.state_dir
    lives = []
    for state in ("activated", "self_checked"):
        mark = scene.mark
        await _off(scene)
        gateway.power_on()
        lives.append(Recording(*folders, fat=(str(gateway.machine.loader.parent.relative_to(folders[0])),)))
        with lives[-1].recorded():
            await gateway.start_agent()
            if state == "activated":
                await scene.state("health", since=mark)
                await directed(scene, RELEASE)
            await scene.update(state, since=mark)
    await _off(scene)
    named = {step.name for step, _ in lives[0].steps if isinstance(step, Named)}
    written = {step.file for step, _ in lives[0].steps if isinstance(step, Written)}
    machine = gateway.machine
    dbx = machine.efivars / f"dbx-{IMAGE_SECURITY_DATABASE}"
    loaders = {str(path.relative_to(folders[0])) for path in (machine.loader, machine.previous_loader)}
    assert loaders <= named
    assert lives[0].first.names[str(dbx.relative_to(folders[0]))] in written
    return lives


async def _carried_on(scene: Updatable, crash: Crash) -> None:
    """Start until the update is through: what starts is a whole loader each time, and what is recorded is true."""
    gateway, where = scene.gateway, (crash.point, crash.lost)
    machine = gateway.machine
    for _ in range(MAX_STARTS):
        held = {BootLoader._held(each) for each in (machine.loader, machine.previous_loader)} - {None}
        assert held & {OLD_LOADER, NEW_LOADER}, where
        agent = await gateway.boot()
        await eventually(functools.partial(_rested, agent))
        record, problems = agent.standing.update, [problem.code for problem in agent.health]
        installed = agent.standing.installed.version
        await _off(scene)
        assert problems == [], where
        assert record is not None
        if record.state == "self_checked":
            break
    assert (record.state, installed) == ("self_checked", RELEASE.version), where
    assert machine.loader.read_bytes() == NEW_LOADER, where
    assert machine.previous_loader.read_bytes() == OLD_LOADER, where
    assert parts.hash_of(loader("256")) in machine.variable("dbx"), where


def _rested(agent: Agent) -> bool:
    """Whether it is through, or waits for a start."""
    record, kept, updating = agent.standing.update, agent.standing.parts, agent.updating
    if record is None or kept is None or updating is None:
        return False
    waits = record.state == "activated" and kept.installed_in == updating._check.boot_count
    return waits or record.state in ("self_checked", "failed")


async def _off(scene: Updatable) -> None:
    await scene.gateway.stop_agent()
    scene.gateway.tpm.kill()
