"""Firmware through fwupd's own daemon: a capsule that the virtual firmware takes, measured as it was predicted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medvouch.daemon.updating import Updating
from medvouch.errors import StorageFault
from medvouch.formats.update import UpdateRecord
from medvouch.update.transitions import Cause
from medvouch_sim import fwupd
from medvouch_sim.capsules import firmware_image
from support import parts
from support.fwupds import FILES, IMAGE, NEEDED, VERSION, flashed, short_folder
from support.parts import activated, closed, directed

pytestmark = NEEDED


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


async def test_firmware_and_then_one_that_it_does_not_take(tmp_path: Path, folder: Path) -> None:
    """The second is signed by release and quality, and not by whom the firmware believes."""
    cabinet = fwupd.cabinet(folder / "good", IMAGE, VERSION)
    release = parts.release({"firmware": cabinet}, change=flashed)
    async with parts.gateway_with_loader(tmp_path, [release.reference]) as scene:
        machine = scene.gateway.machine
        with fwupd.running(machine, folder / "daemon") as client:
            scene.gateway.fwupd = client
            await scene.gateway.reboot()
            mark = await activated(scene, release)
            assert machine.firmware_version == VERSION - 1
            await closed(scene, mark)
        assert machine.firmware_version == VERSION
        spoilt = fwupd.cabinet(folder / "bad", firmware_image(VERSION + 1, FILES)[:-1] + b"!", VERSION + 1)
        another = parts.release({"firmware": spoilt}, sequence=3, change=lambda machine: None)
        with fwupd.running(machine, folder / "daemon"):
            await activated(scene, another)
            mark = scene.mark
            await scene.gateway.reboot()
        assert (await scene.update("failed", since=mark))["reason"] == "event-unexpected"
        assert machine.firmware_version == VERSION


async def test_power_goes_when_it_waits_on_the_disk(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The firmware takes it at that start already; fwupd says afterwards that there is nothing to do."""
    cabinet = fwupd.cabinet(folder / "cut", IMAGE, VERSION)
    release = parts.release({"firmware": cabinet}, change=flashed)
    moved = Updating._move

    async def stop(self: Updating, record: UpdateRecord, cause: Cause, **options: Any) -> UpdateRecord:
        if cause is Cause.ACTIVATE:
            raise StorageFault("state-full", "no space", remedy="none")
        return await moved(self, record, cause, **options)

    async with parts.gateway_with_loader(tmp_path, [release.reference]) as scene:
        machine = scene.gateway.machine
        with fwupd.running(machine, folder / "daemon") as client, monkeypatch.context() as patch:
            patch.setattr(Updating, "_move", stop)
            scene.gateway.fwupd = client
            await scene.gateway.reboot()
            mark = await directed(scene, release)
            await scene.event("update-held-up", since=mark, code="state-full")
            await scene.gateway.cut_power()
        scene.gateway.power_on()
        assert machine.firmware_version == VERSION
        with fwupd.running(machine, folder / "daemon"):
            await scene.gateway.start_agent()
            await scene.update("activated", since=mark)
        await closed(scene, mark)
