"""One simulated gateway: a real TPM, a disk, firmware that measures it, and the agent as it runs on any device."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from medvouch.adapters.tss import TssTpm
from medvouch.cli import wiring
from medvouch.cli.config import Config, load
from medvouch.daemon.agent import Agent
from medvouch.formats.enrolment import device_id, ueid
from medvouch.formats.manufacturing import ManifestEntry
from medvouch.ports import Transport
from medvouch_sim import firmware
from medvouch_sim.site import Credential, Site
from medvouch_sim.swtpm import SwTpm
from medvouch_sim.vendor import Order, TpmVendor, manufacture

MODEL = "MV-100"
HW_VERSION = "1.2"


class Gateway:
    """`name` on the label; built, but switched off, when made. Its files are in `directory`."""

    def __init__(self, name: str, site: Site, directory: Path, *, vendor: TpmVendor | None = None) -> None:
        self.name = name
        self.site = site
        self.directory = directory
        self.tpm = SwTpm(directory / "tpm")
        self.release = "1.0.0"
        self.machine = firmware.Machine.create(directory / "disk", self.release)
        self.order = Order(f"SN-{name}", MODEL, HW_VERSION)
        self.entry = self._manufacture(vendor or site.vendor)
        self.device = device_id(ueid(self.entry.ek_hash))
        self.bootstrap_name = f"new-{self.device}"
        self.bootstrap = site.credential(site.bootstrap_ca, self.bootstrap_name, directory / "bootstrap")
        self.agent: Agent | None = None
        self._running: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()

    def _manufacture(self, vendor: TpmVendor) -> ManifestEntry:
        site = self.site
        with self.tpm:
            return manufacture(self.tpm, self.order, vendor, site.maker, now=site.started_at, entropy=site.entropy)

    @property
    def state_dir(self) -> Path:
        """Where the agent keeps its state."""
        return self.directory / "disk" / "state"

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
''',
            encoding="utf-8",
        )
        return load(self.config_path)

    def power_on(self) -> None:
        """Power to the TPM, then the firmware boots what is on the disk."""
        self.tpm.start()
        with TssTpm(self.tpm.tcti()) as tpm:
            firmware.boot(self.machine, tpm)

    def power_off(self) -> None:
        """An orderly shutdown of the machine; the agent must have stopped."""
        self.tpm.stop()

    async def start_agent(self) -> Agent:
        """Start the agent, as the init system would."""
        tpm = TssTpm(self.tpm.tcti())
        agent = await self._stack.enter_async_context(wiring.agent(self.config(), tpm=tpm))
        self.agent = agent
        self._running = asyncio.create_task(agent.run(), name=f"agent {self.name}")
        return agent

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

    async def reboot(self) -> Agent:
        """A whole cycle: a real TPM reset."""
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
