"""A fleet from power-on to the last verdict: the collector here, gateways and their TPMs in a few other processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from medvouch.adapters.files import write_durably
from medvouch.collector.collector import Collector
from medvouch.errors import MedvouchError, NetworkFault
from medvouch.formats.manufacturing import ManifestEntry
from medvouch_sim.fleet.memory import tree_kib
from medvouch_sim.fleet.progress import Stage, stage
from medvouch_sim.fleet.report import FAILED, Fate, Report
from medvouch_sim.fleet.shard import Message, Shard, shards
from medvouch_sim.fleet.worker import Worker
from medvouch_sim.gateway import MODEL
from medvouch_sim.output_folder import emptied
from medvouch_sim.prediction import predict, sign_reference
from medvouch_sim.site import Site, release_signers

UNDER_WAY = 32
"""Gateways between power-on and verdict at a time."""
ENROL_S = 120.0
"""How long a gateway may take from power-on until its agent is online."""
GOODBYE_S = 120.0
"""How long all of them may take to switch off."""
REPORT = "fleet.json"
LEFTOVERS = frozenset({"gateways", "site", REPORT})
"""All that a fleet leaves in its folder."""


@dataclass(frozen=True)
class Order:
    """`devices` gateways in `processes` processes, files in `out`; the TPMs of the last `rogues` no one vouches for."""

    devices: int
    processes: int
    out: Path
    rogues: int = 0

    @property
    def rogue_indexes(self) -> Collection[int]:
        """Their numbers."""
        return range(self.devices - self.rogues, self.devices)


def run_fleet(order: Order, console: Console) -> Report:
    """Run it and write `fleet.json`; nothing is left running, and of the gateways' disks nothing is left either."""
    folder = order.out / "gateways"
    emptied(order.out, LEFTOVERS)
    reference = sign_reference(predict(MODEL, "1.0.0"), *release_signers())
    site = Site(order.out / "site", [reference])
    try:
        with shards(order.devices, order.processes, Worker(site, folder, order.rogue_indexes).run) as children:
            report = asyncio.run(Fleet(site, order, children, console).run())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps(report.document(), indent=2)
    write_durably(order.out / REPORT, text.encode() + b"\n")
    return report


class _Gateway:
    """One of them, as it is known here; `failed` is set where its process tells that it cannot go on."""

    def __init__(self, index: int, shard: Shard) -> None:
        self.index = index
        self.shard = shard
        self.device = ""
        self.entry: ManifestEntry | None = None
        self.built = asyncio.Event()
        self.failed: asyncio.Future[MedvouchError] = asyncio.get_running_loop().create_future()

    def fail(self, error: MedvouchError) -> None:
        """Only the first is of interest."""
        if not self.failed.done():
            self.failed.set_result(error)
        self.built.set()


class Fleet:
    """One run with children that are at work already."""

    def __init__(self, site: Site, order: Order, children: list[Shard], console: Console) -> None:
        self._site = site
        self._order = order
        self._shards = children
        self._console = console
        self._limit = asyncio.Semaphore(UNDER_WAY)

    async def run(self) -> Report:
        """Until all gateways have their verdict and are switched off again."""
        self._gateways = {index: _Gateway(index, shard) for shard in self._shards for index in shard.indexes}
        self._stopped = {shard: asyncio.Event() for shard in self._shards}
        async with contextlib.AsyncExitStack() as stack:
            for shard in self._shards:
                await stack.enter_async_context(self._heard_of(shard))
            building = await self._build()
            async with self._site.collecting() as collector:
                return await self._attest(collector, building)

    @asynccontextmanager
    async def _heard_of(self, shard: Shard) -> AsyncIterator[None]:
        async with shard.channel.opened():
            hearing = asyncio.create_task(self._hear(shard))
            try:
                yield
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    async def _hear(self, shard: Shard) -> None:
        async for message in shard.channel.messages():
            self._heard(message, shard)
        remedy = "look for its last words above, and at the machine's memory"
        for index in shard.indexes:
            self._gateways[index].fail(NetworkFault("process-ended", "its process is gone", remedy=remedy))
        self._stopped[shard].set()

    def _heard(self, message: Message, shard: Shard) -> None:
        if "built" in message:
            gateway = self._gateways[message["built"]]
            gateway.entry = ManifestEntry.parse(bytes.fromhex(message["entry"]))
            gateway.device = message["device"]
            gateway.built.set()
        elif "failed" in message:
            self._gateways[message["failed"]].fail(MedvouchError(message["code"], message["detail"]))
        else:
            self._stopped[shard].set()

    async def _build(self) -> float:
        """Seconds that it took; the manifest is complete afterwards."""
        started = time.perf_counter()
        with stage(self._console, "built", self._order.devices) as done:
            for gateway in self._gateways.values():
                await gateway.built.wait()
                done.step(failed=gateway.failed.done())
        self._site.manifest_entries += [gateway.entry for gateway in self._gateways.values() if gateway.entry]
        return time.perf_counter() - started

    async def _attest(self, collector: Collector, building: float) -> Report:
        broker = self._site.broker
        for shard in self._shards:
            shard.channel.send({"ports": [broker.service_port, broker.enrolment_port]})
        started = time.perf_counter()
        with stage(self._console, "attested", self._order.devices) as done:
            ordered = (self._gateways[index] for index in range(self._order.devices))
            fates = await asyncio.gather(*(self._fate(collector, gateway, done) for gateway in ordered))
        seconds = time.perf_counter() - started
        memory = await asyncio.to_thread(tree_kib, os.getpid())
        fates = [_revised(fate, self._gateways[fate.index]) for fate in fates]
        await self._stop()
        return Report(fates, len(self._shards), building, seconds, memory)

    async def _fate(self, collector: Collector, gateway: _Gateway, done: Stage) -> Fate:
        async with self._limit:
            started = time.perf_counter()
            try:
                status, code, detail = await self._verdict(collector, gateway)
            except MedvouchError as error:
                status, code, detail = FAILED, error.code, error.detail
            seconds = time.perf_counter() - started
        enrolled = collector.registry.find(gateway.device) is not None
        fate = Fate(gateway.index, gateway.device, enrolled, status, code, detail, seconds)
        done.step(failed=not fate.affirming)
        return fate

    async def _verdict(self, collector: Collector, gateway: _Gateway) -> tuple[str, str, str]:
        """Status, code and detail of its first verdict; raises what was in the way of one."""
        asking = asyncio.create_task(_asked(collector, gateway))
        try:
            await asyncio.wait((asking, gateway.failed), return_when=asyncio.FIRST_COMPLETED)
            if gateway.failed.done():
                raise gateway.failed.result()
            return await asking
        finally:
            asking.cancel()

    async def _stop(self) -> None:
        """Ask for an orderly end; who takes too long has the line cut."""
        for shard in self._shards:
            shard.channel.send({"stop": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                for stopped in self._stopped.values():
                    await stopped.wait()


def _revised(fate: Fate, gateway: _Gateway) -> Fate:
    """An agent that was found well and ended since was not well."""
    if not fate.affirming or not gateway.failed.done():
        return fate
    error = gateway.failed.result()
    return replace(fate, status=FAILED, code=error.code, detail=error.detail)


async def _asked(collector: Collector, gateway: _Gateway) -> tuple[str, str, str]:
    if not gateway.failed.done():
        gateway.shard.channel.send({"boot": gateway.index})
    try:
        async with asyncio.timeout(ENROL_S):
            await collector.challenger.presence.online(gateway.device)
    except TimeoutError as error:
        detail = f"its agent was not online within {ENROL_S:.0f} s"
        raise NetworkFault("agent-not-online", detail, remedy="look at the machine's load") from error
    outcome = await collector.challenger.challenge(gateway.device)
    refused = outcome.error
    return outcome.ear.status.name.lower(), refused.code if refused else "", refused.detail if refused else ""
