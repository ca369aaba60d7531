"""A test stand: a site on this machine, and whole gateways in QEMU that reach it through their user network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from medvouch.adapters.files import write_durably
from medvouch.collector.challenging import Outcome
from medvouch.collector.collector import Collector
from medvouch.errors import NetworkFault
from medvouch.formats.enrolment import device_id, ueid
from medvouch_sim.machine.building import copy_into
from medvouch_sim.machine.host import Host
from medvouch_sim.machine.layout import Disk
from medvouch_sim.machine.vm import SECURE_BOOT_ON, Vm
from medvouch_sim.site import Site
from medvouch_sim.vendor import Order, manufacture

MODEL = "MV-QEMU"
HW_VERSION = "1.0"
BROKER = "10.0.2.2"
"""QEMU's user network: what is 127.0.0.1 outside."""
BOOT_S = 480.0
"""Longest time from power on to evidence; two to four times what it takes here alone."""
_ETC = "etc/medvouch"
_GONE_S, _GLANCE_S = 60.0, 0.1


@dataclass
class Gateway:
    """A machine of the stand with its TPM manufactured and its configuration on its data partition."""

    name: str
    site: Site
    vm: Vm
    disk: Disk
    device: str = ""

    @classmethod
    def build(cls, name: str, site: Site, vm: Vm, disk: Disk) -> Gateway:
        """As vendor, maker and integrator do it, before it is switched on for the first time."""
        gateway = cls(name, site, vm, disk)
        order = Order(f"SN-{name}", MODEL, HW_VERSION)
        with vm.tpm as tpm:
            entry = manufacture(tpm, order, site.vendor, site.maker, now=site.started_at, entropy=site.entropy)
        site.manifest_entries.append(entry)
        gateway.device = device_id(ueid(entry.ek_hash))
        return gateway

    def configure(self) -> None:
        """Write the data partition; the broker's ports must be known."""
        data = self.vm.directory / "data"
        etc, state = data / "etc", data / "state"
        state.mkdir(parents=True, exist_ok=True)
        bootstrap = self.site.credential(self.site.bootstrap_ca, f"new-{self.device}", etc)
        bootstrap.certificate.rename(etc / "bootstrap.pem")
        bootstrap.key.rename(etc / "bootstrap-key.pem")
        write_durably(etc / "trust.cbor", self.site.trust.encode())
        write_durably(etc / "medvouch.toml", self._configuration().encode())
        self._copy_package_configuration(etc)
        self._hand_over(data)
        image = self.vm.directory / "data.img"
        image.unlink(missing_ok=True)
        size = f"{self.disk['data'].size >> 10}k"
        self.vm.host.run("mke2fs", "-q", "-t", "ext4", "-d", data, image, size)
        copy_into(self.vm.disk, self.disk, "data", image)
        image.unlink()

    def _configuration(self) -> str:
        broker = self.site.broker
        return f'''\
[device]
model = "{MODEL}"
serial = "SN-{self.name}"
hw_version = "{HW_VERSION}"

[broker]
host = "{BROKER}"
port = {broker.service_port}

[enrolment]
host = "{BROKER}"
port = {broker.enrolment_port}
certificate = "/{_ETC}/bootstrap.pem"
key = "/{_ETC}/bootstrap-key.pem"
'''

    def _copy_package_configuration(self, etc: Path) -> None:
        """What the package keeps in /etc/medvouch, which the data partition covers."""
        for source in (self.vm.host.work / "tree" / _ETC).rglob("*.toml"):
            target = etc / source.relative_to(self.vm.host.work / "tree" / _ETC)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())

    def _hand_over(self, data: Path) -> None:
        """Everything to the agent's user, as the image numbers it."""
        lines = (self.vm.host.work / "tree/etc/passwd").read_text().splitlines()
        user, group = next((int(f[2]), int(f[3])) for f in (line.split(":") for line in lines) if f[0] == "medvouch")
        for path in [data / "etc", data / "state", *(data / "etc").rglob("*"), *(data / "state").rglob("*")]:
            os.chown(path, user, group)


class Stand:
    """Gateways in QEMU around one site, in `directory` below the host's /bench."""

    def __init__(self, host: Host, directory: Path, references: Sequence[bytes] = ()) -> None:
        self.host = host
        self.directory = directory
        self.site = Site(directory / "site", references, broker_addresses=["127.0.0.1", BROKER])

    def gateway(self, name: str, source: Path, disk: Disk, *, variables: str = SECURE_BOOT_ON) -> Gateway:
        """A new gateway whose disk is a copy of `source`."""
        vm = Vm.create(self.host, self.directory / name, source, variables=variables)
        return Gateway.build(name, self.site, vm, disk)

    @asynccontextmanager
    async def open(self, gateways: Sequence[Gateway]) -> AsyncIterator[Collector]:
        """The site at work, and these gateways configured for it."""
        async with self.site.running() as (collector, _):
            for gateway in gateways:
                await asyncio.to_thread(gateway.configure)
            yield collector


async def attest(collector: Collector, gateway: Gateway, timeout_s: float = BOOT_S) -> Outcome:
    """Switch a gateway on, challenge it as soon as it has enrolled and is there, and switch it off.

    Raises NetworkFault `no-evidence` where nothing comes back in time, or the machine ends by itself.
    """
    await _gone(collector, gateway.device)
    with gateway.vm.running():
        asked = asyncio.create_task(_challenge(collector, gateway, timeout_s))
        ended = asyncio.create_task(_end(gateway.vm))
        try:
            await asyncio.wait((asked, ended), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return await asked
        finally:
            for task in (asked, ended):
                task.cancel()
    said = last_words(gateway.vm)
    raise NetworkFault("no-evidence", f"{gateway.name} ended by itself: {said}", place=str(gateway.vm.console))


async def _gone(collector: Collector, device: str) -> None:
    """Wait until the broker has said that a gateway which was just switched off is away."""
    async with asyncio.timeout(_GONE_S):
        with contextlib.suppress(TimeoutError):
            while True:
                await asyncio.wait_for(collector.challenger.presence.online(device), _GLANCE_S)
                await asyncio.sleep(_GLANCE_S)


async def _challenge(collector: Collector, gateway: Gateway, timeout_s: float) -> Outcome:
    deadline = time.monotonic() + timeout_s
    while collector.registry.find(gateway.device) is None:
        if time.monotonic() > deadline:
            raise NetworkFault("no-evidence", f"{gateway.name} did not enrol within {timeout_s:.0f} s")
        await asyncio.sleep(0.2)
    return await collector.challenger.challenge(gateway.device, max(1.0, deadline - time.monotonic()))


async def _end(vm: Vm) -> None:
    while vm.on:  # noqa: ASYNC110 (no event says so)
        await asyncio.sleep(0.2)


def last_words(vm: Vm) -> str:
    """The last line on its console that tells why it ended, or the last one."""
    lines = vm.console.read_text(encoding="utf-8", errors="replace").splitlines()
    telling = [line for line in lines if "not syncing" in line or "corrupted" in line]
    return (telling or lines or ["it said nothing"])[-1].strip()


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say what is done and how long it took."""
    started = time.monotonic()
    print(f"{what} ...", flush=True)
    yield
    print(f"{what}: {time.monotonic() - started:.0f} s", flush=True)
