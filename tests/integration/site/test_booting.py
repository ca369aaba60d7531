"""What a gateway's firmware starts, and what is left when power fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.errors import StorageFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection
from medvouch.messages import topics
from medvouch_sim.firmware import measure
from medvouch_sim.gateway import BOOT_ATTEMPTS, Gateway
from medvouch_sim.images import Image, build_image
from medvouch_sim.site import Site
from support.sites import Scene, reference

STATIC = PcrSelection.of({HashAlg.SHA256: range(16)})


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    built = Gateway("gw1", Site(tmp_path / "site", [reference()]), tmp_path / "gw1")
    built.power_on()
    yield built
    built.power_off()


def restart(gateway: Gateway) -> int:
    """resetCount after it."""
    gateway.power_off()
    gateway.power_on()
    return resets(gateway)


def resets(gateway: Gateway) -> int:
    with TssTpm(gateway.tpm.tcti()) as tpm:
        return tpm.read_clock().reset_count


def update(gateway: Gateway, image: bytes) -> None:
    gateway.slots.write("b", [image])
    gateway.slots.activate("b")


def test_an_update_is_started_once_and_then_confirmed(gateway: Gateway) -> None:
    before = resets(gateway)
    update(gateway, build_image("1.1.0"))
    assert gateway.release == "1.0.0"
    assert restart(gateway) == before + 1
    assert (gateway.slots.running(), gateway.release) == ("b", "1.1.0")
    restart(gateway)
    assert (gateway.slots.running(), gateway.release) == ("a", "1.0.0")
    gateway.slots.activate("b")
    restart(gateway)
    gateway.slots.confirm()
    restart(gateway)
    assert (gateway.slots.running(), gateway.release) == ("b", "1.1.0")


def no_image(_: Image) -> bytes:
    return b"no image"


def broken_kernel_image(image: Image) -> bytes:
    return Image(image.uki[:-1], image.files).encode()


def no_root_files(image: Image) -> bytes:
    return Image(image.uki, {}).encode()


@pytest.mark.parametrize("broken", [no_image, broken_kernel_image, no_root_files])
def test_a_slot_that_does_not_boot_falls_back(gateway: Gateway, broken: Callable[[Image], bytes]) -> None:
    before = resets(gateway)
    update(gateway, broken(gateway.machine.image))
    assert restart(gateway) == before + 2
    assert (gateway.slots.running(), gateway.slots.activated(), gateway.release) == ("a", None, "1.0.0")
    with TssTpm(gateway.tpm.tcti()) as tpm:
        present = tpm.pcr_read(STATIC)[HashAlg.SHA256]
    assert present == {pcr: measure(gateway.machine).pcrs()[HashAlg.SHA256][pcr] for pcr in range(16)}


def test_a_slot_that_is_gone_falls_back(gateway: Gateway) -> None:
    update(gateway, build_image("1.1.0"))
    gateway.slots.path("b").unlink()
    restart(gateway)
    assert gateway.slots.running() == "a"


@pytest.mark.parametrize("damage", [["a.img"], ["boot.0", "boot.1"]])
def test_nothing_boots(gateway: Gateway, damage: list[str]) -> None:
    paths = [gateway.slots.directory / name for name in damage]
    whole, before = [path.read_bytes() for path in paths], resets(gateway)
    for path in paths:
        path.write_bytes(b"")
    gateway.power_off()
    with pytest.raises(StorageFault, match="no-bootable-slot: 3 starts led nowhere, the last for "):
        gateway.power_on()
    assert not gateway.tpm.running
    for path, data in zip(paths, whole, strict=True):
        path.write_bytes(data)
    gateway.power_on()
    assert resets(gateway) == before + BOOT_ATTEMPTS + 2


@pytest.mark.parametrize("copy", ["boot.0", "boot.1"])
def test_one_copy_of_the_boot_record_is_enough(gateway: Gateway, copy: str) -> None:
    update(gateway, build_image("1.1.0"))
    (gateway.slots.directory / copy).write_bytes(b"")
    restart(gateway)
    assert (gateway.slots.running(), gateway.slots.activated()) == ("b", None)


async def test_the_agent_says_which_version_runs(serving: Scene) -> None:
    update(serving.gateway, build_image("1.1.0"))
    mark = serving.mark
    await serving.gateway.reboot()
    assert (await serving.state("identity", since=mark))["sw_version"] == "1.1.0"
    mark = serving.mark
    await serving.gateway.reboot()
    assert (await serving.state("identity", since=mark))["sw_version"] == "1.0.0"


async def test_power_fails_without_a_goodbye(serving: Scene) -> None:
    gateway = serving.gateway
    mark, before = serving.mark, resets(gateway)
    online = json.loads((await serving.retained(topics.status(serving.device))).payload)
    await gateway.cut_power()
    assert (gateway.agent, gateway.tpm.running) == (None, False)
    await serving.status("offline", since=mark)
    last = json.loads((await serving.retained(topics.status(serving.device))).payload)
    assert (last["state"], last["seq"] < online["seq"]) == ("offline", True)  # the will, made before the agent spoke
    mark = serving.mark
    await gateway.boot()
    await serving.status("online", since=mark)
    with TssTpm(gateway.tpm.tcti()) as tpm:
        clock = tpm.read_clock()
    assert (clock.reset_count, clock.safe) == (before + 1, False)


async def test_what_was_under_way_when_power_failed_never_happened(serving: Scene) -> None:
    gateway = serving.gateway
    started, goes_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def chunks() -> Iterator[bytes]:
        yield build_image("1.1.0")
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(goes_on.wait(), loop).result()

    writing = asyncio.create_task(asyncio.to_thread(gateway.slots.write, "b", chunks()))
    await started.wait()
    gateway._stack.push_async_callback(asyncio.wait, [writing])  # as the agent's Worker waits for what it runs
    cutting = asyncio.create_task(gateway.cut_power())
    await asyncio.sleep(0)
    goes_on.set()
    await cutting
    assert writing.done()
    assert gateway.slots.record().states["b"] == "empty"
    await gateway.boot()
    assert gateway.slots.running() == "a"


async def test_a_gateway_without_an_agent_loses_power(serving: Scene) -> None:
    gateway = serving.gateway
    await gateway.stop_agent()
    await gateway.cut_power()
    await gateway.boot()
    assert gateway.agent is not None
