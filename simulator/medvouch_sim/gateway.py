"""One simulated gateway: a real TPM, a disk, firmware that measures it, and the agent as it runs on any device."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from medvouch.adapters.mqtt import MqttTransport
from medvouch.adapters.slots import FileSlots
from medvouch.adapters.tss import TssTpm
from medvouch.cli import wiring
from medvouch.cli.config import Config, load
from medvouch.daemon.agent import Agent
from medvouch.errors import InputError, MedvouchError, StorageFault
from medvouch.formats.enrolment import device_id, ueid
from medvouch.formats.manufacturing import ManifestEntry
from medvouch.ports import Clock, Transport
from medvouch_sim import firmware
from medvouch_sim.site import Credential, Site
from medvouch_sim.swtpm import SwTpm
from medvouch_sim.vendor import DEVICE_CLASS, VENDOR_DOMAIN, Order, TpmVendor, manufacture

MODEL = DEVICE_CLASS
HW_VERSION = "1.2"
FIRST_RELEASE = "1.0.0"
BOOT_ATTEMPTS = 3
"""The firmware tries no slot again after so many starts in a row that led nowhere."""


class Gateway:
    """`name` on the label; built, but switched off, when made. Its files are in `directory`.

    `loader`: its boot loader, if it has one.
    """

    def __init__(
        self, name: str, site: Site, directory: Path, *, vendor: TpmVendor | None = None, loader: bytes = b""
    ) -> None:
        self.name = name
        self.site = site
        self.directory = directory
        self.tpm = SwTpm(directory / "tpm")
        self.machine = firmware.Machine.create(directory / "disk", FIRST_RELEASE, loader=loader)
        self.order = Order(f"SN-{name}", MODEL, HW_VERSION)
        self.entry = self._manufacture(vendor or site.vendor)
        self.device = device_id(ueid(self.entry.ek_hash))
        self.bootstrap_name = f"new-{self.device}"
        self.bootstrap = site.credential(site.bootstrap_ca, self.bootstrap_name, directory / "bootstrap")
        self.clock: Clock | None = None
        """Its real-time clock where that does not show the host's time."""
        self.fwupd: Path | None = None
        """fwupd's client, where fwupd runs on it."""
        self.agent: Agent | None = None
        self._running: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    def _manufacture(self, vendor: TpmVendor) -> ManifestEntry:
        site = self.site
        with self.tpm:
            return manufacture(self.tpm, self.order, vendor, site.maker, now=site.started_at, entropy=site.entropy)

    @property
    def slots(self) -> FileSlots:
        """Its system slots."""
        return self.machine.slots

    @property
    def release(self) -> str:
        """The version in the running slot."""
        return self.machine.image.version

    @property
    def state_dir(self) -> Path:
        """Where the agent keeps its state."""
        return self.machine.directory / "state"

    @property
    def client(self) -> Credential:
        """The connection credential in service."""
        return Credential(self.state_dir / "client-certificate.pem", self.state_dir / "client-key.pem")

    @property
    def config_path(self) -> Path:
        """The agent's configuration file."""
        return self.directory / "medvouch.toml"

    def bootstrap_transport(self) -> Transport:
        """A client with the bootstrap credential, not started yet."""
        return self.site.connect(self.bootstrap_name, self.bootstrap, self.site.broker.enrolment_port)

    def config(self) -> Config:
        """Write the configuration file, for the broker's present ports, and read it as the agent does."""
        site, machine = self.site, self.machine
        self.config_path.write_text(
            f'''\
state_dir = "{self.state_dir}"
run_dir = "{self.directory / "run"}"
trust = "{site.trust_path}"

[device]
model = "{MODEL}"
serial = "{self.order.serial}"
hw_version = "{HW_VERSION}"

[software]
name = "medvouch-gateway"
version = "{self.release}"

[logs]
uefi = "{machine.uefi_log}"
systemd = "{machine.systemd_log}"
ima = "{machine.ima_log}"

[broker]
host = "{site.broker.host}"
port = {site.broker.service_port}

[enrolment]
host = "{site.broker.host}"
port = {site.broker.enrolment_port}
certificate = "{self.bootstrap.certificate}"
key = "{self.bootstrap.key}"

[update]
slots = "{self.slots.directory}"
reboot_command = "true"
efivars = "{machine.efivars}"
{self._parts()}{_repository(site)}''',
            encoding="utf-8",
        )
        return load(self.config_path)

    def _parts(self) -> str:
        """Its parts of which it has one, as lines of the configuration."""
        machine, lines = self.machine, ""
        if machine.has_loader:
            lines += f'esp_loader = "{machine.loader}"\nesp_previous = "{machine.previous_loader}"\n'
        if self.fwupd:
            lines += f'fwupd = "{self.fwupd}"\n'
        return lines

    def power_on(self) -> None:
        """Power to the TPM, then the firmware boots the slot whose turn it is; where that fails it resets the machine.

        Raises StorageFault `no-bootable-slot` after BOOT_ATTEMPTS; the power is off again then.
        """
        self.tpm.start()
        for _ in range(BOOT_ATTEMPTS):
            try:
                self._boot_next_slot()
                return
            except (InputError, StorageFault) as error:
                failure = error
                self.tpm.power_cycle()
        self.tpm.stop()
        detail = f"{BOOT_ATTEMPTS} starts led nowhere, the last for {failure.code}: {failure.detail}"
        remedy = "install the device anew"
        raise StorageFault("no-bootable-slot", detail, place=self.name, remedy=remedy) from failure

    def _boot_next_slot(self) -> None:
        with TssTpm(self.tpm.tcti()) as tpm:
            firmware.boot(self.machine, tpm)

    def power_off(self) -> None:
        """An orderly shutdown of the machine; the agent must have stopped."""
        self.tpm.stop()

    async def start_agent(self) -> Agent:
        """Start the agent, as the init system would."""
        tpm = TssTpm(self.tpm.tcti())
        agent = await self._stack.enter_async_context(wiring.agent(self.config(), tpm=tpm, clock=self.clock))
        self.agent = agent
        self._running = asyncio.create_task(agent.run(), name=f"agent {self.name}")
        return agent

    async def ended(self) -> None:
        """Wait until the agent ends by itself; what it raised is raised here."""
        if self._running:
            await asyncio.shield(self._running)

    async def stop_agent(self) -> None:
        """Stop it; what it raised, if it had ended by itself, is raised here."""
        running, self._running, self.agent = self._running, None, None
        try:
            if running:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running
        finally:
            await self._stack.aclose()

    async def boot(self) -> Agent:
        """Switch on and start the agent."""
        await asyncio.to_thread(self.power_on)
        return await self.start_agent()

    async def shut_down(self) -> None:
        """Stop the agent and switch off."""
        try:
            await self.stop_agent()
        finally:
            await asyncio.to_thread(self.power_off)

    async def cut_power(self) -> None:
        """The mains fail: neither the broker nor the TPM hears a word, and the disk stays as it is at this instant.

        The agent's tasks are taken down afterwards, since they share this process; what they still do is undone.
        """
        self._keep_disk()
        self._hang_up()
        self.tpm.kill()
        await self._taken_down()

    @asynccontextmanager
    async def power_fails_at(self, instant: Callable[[bytes], bool]) -> AsyncIterator[asyncio.Event]:
        """As `cut_power`, at the first TPM command for which `instant` holds; the event inside is set then.

        Off after. The TPM gets neither that command nor any later one.
        """
        loop, failed, once = asyncio.get_running_loop(), asyncio.Event(), threading.Lock()

        def tap(command: bytes) -> None:
            if instant(command) and once.acquire(blocking=False):
                self._keep_disk()
                loop.call_soon_threadsafe(self._hang_up)
                loop.call_soon_threadsafe(failed.set)
                self.tpm.kill()

        self.tpm.tap = tap
        try:
            yield failed
        finally:
            self.tpm.tap = None
            if failed.is_set():
                await self._taken_down()

    @property
    def _kept_disk(self) -> Path:
        return self.directory / "disk-at-the-cut"

    def _keep_disk(self) -> None:
        shutil.copytree(self.machine.directory, self._kept_disk, ignore=shutil.ignore_patterns(".*.new"))

    def _hang_up(self) -> None:
        """Not a word more to the broker."""
        service = self.agent.service if self.agent else None
        if service and isinstance(service.transport, MqttTransport):
            service.transport.abort()
        if self._running:
            self._running.cancel()

    async def _taken_down(self) -> None:
        with contextlib.suppress(MedvouchError):
            await self.stop_agent()
        shutil.rmtree(self.machine.directory)
        self._kept_disk.rename(self.machine.directory)

    async def reboot(self) -> Agent:
        """A whole cycle: a real TPM reset, and the slot whose turn it is."""
        await self.shut_down()
        return await self.boot()

    @asynccontextmanager
    async def booted(self) -> AsyncIterator[Agent]:
        """On inside, off after."""
        agent = await self.boot()
        try:
            yield agent
        finally:
            await self.shut_down()


def _repository(site: Site) -> str:
    """Where a gateway of this site updates from, as lines of its configuration."""
    publisher = site.publisher
    if publisher is None:
        return ""
    return f'''\
repository = "{publisher.url}"
root = "{publisher.root_path}"
payloads = ["{publisher.payloads}"]
vendor = "{VENDOR_DOMAIN}"
class_name = "{DEVICE_CLASS}"
jitter = 0
{site.update_settings}
'''
