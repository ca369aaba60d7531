"""Three gateways at one site, a repository that they update from, and the desk from which they are directed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medvouch.adapters.store import SqliteStore
from medvouch.collector.collector import Collector
from medvouch.daemon.exporting import export
from medvouch.formats.enrolment import ueid
from medvouch.messages import topics
from medvouch_sim.clocks import WrongClock
from medvouch_sim.gateway import FIRST_RELEASE, MODEL, Gateway
from medvouch_sim.observer import Observer
from medvouch_sim.publisher import ENVELOPE, Publisher, Release
from medvouch_sim.site import Site
from support.authoring import keys_folder
from support.cli import Called, Caller
from support.release_documents import advisory, encoded, passed, sbom, support, vex
from support.sites import Scene
from support.updating import reference


@dataclass
class Desk:
    """What a maker has at hand, in `folder`; `medvouch` calls the commands."""

    folder: Path
    site: Site
    publisher: Publisher
    gateways: Sequence[Gateway]
    collector: Collector
    observer: Observer
    medvouch: Caller

    async def call(self, *arguments: object) -> Called:
        return await asyncio.to_thread(self.medvouch, *arguments)

    async def rollout(self, action: str, *arguments: object) -> Called:
        """`medvouch release rollout ACTION`, with the keys that it needs."""
        keys = ("--keys", self.folder / "keys") if action in {"step", "halt"} else ()
        repository = ("--repository", self.publisher.directory)
        return await self.call("release", "rollout", action, *arguments, *repository, *keys)

    @property
    def from_collector(self) -> tuple[object, ...]:
        return ("--collector", self.site.directory / "collector" / "state.db")

    @property
    def from_ledgers(self) -> tuple[object, ...]:
        return ("--bundles", self.folder / "lives", "--trust", self.site.trust_path)

    async def publish(self, release: Release) -> str:
        """Serve an image, and list its envelope, with the documents that go out with it; the envelope's target."""
        envelope = self.publisher.envelope(release)
        (self.publisher.directory / "images").mkdir(exist_ok=True)
        (self.publisher.directory / "images" / f"{release.version}.img").write_bytes(release.image)
        folder = self.folder / release.version
        folder.mkdir()
        record = replace(passed(), version=release.version, envelope=hashlib.sha256(envelope).digest())
        made: Mapping[str, Any] = {"sbom": sbom(), "vex": vex(), "advisory": advisory(), "support": support()}
        documents = {f"{name}.json": encoded(document) for name, document in made.items()}
        files = {ENVELOPE: envelope, **documents, "release.cbor": record.encode()}
        for name, data in files.items():
            (folder / name).write_bytes(data)
        places = ("--repository", self.publisher.directory, "--keys", self.folder / "keys")
        called = await self.call("release", "publish", release.version, *(folder / name for name in files), *places)
        assert called.code == 0, called.err
        return f"releases/{release.version}/{ENVELOPE}"

    def write_fleet(self) -> Path:
        """As the maker delivered them."""
        delivered = {"model": MODEL, "version": FIRST_RELEASE}
        devices = [
            {"ueid": ueid(each.entry.ek_hash).hex(), "serial": each.order.serial, **delivered} for each in self.gateways
        ]
        path = self.folder / "fleet.json"
        path.write_text(json.dumps({"devices": devices}))
        return path

    def of(self, directed: Sequence[str]) -> list[Gateway]:
        """The gateways with these UEIDs."""
        return [each for each in self.gateways if ueid(each.entry.ek_hash).hex() in directed]

    def scene(self, gateway: Gateway) -> Scene:
        return Scene(self.site, gateway, self.collector, self.observer)

    async def look(self, gateway: Gateway) -> int:
        """Have it look for an update now; the mark before."""
        mark = len(self.observer.heard)
        await self.collector.challenger.commander.ask(gateway.device, "update", {})
        return mark

    async def updated(self, gateway: Gateway, state: str = "closed") -> None:
        """It takes what it is directed to, starts it, and is judged; `state` is where that ends."""
        scene, mark = self.scene(gateway), await self.look(gateway)
        await scene.event("update", since=mark, state="activated")
        await gateway.reboot()
        if state == "closed":
            await scene.event("update", since=mark, state="self_checked")
            assert (await self.collector.challenger.challenge(gateway.device)).error is None
        await scene.event("update", since=mark, state=state)
        await scene.said(topics.State(gateway.device, "update"), since=mark, state=state)

    def export(self) -> None:
        """The ledgers of all of them, as each would hand it out now."""
        (self.folder / "lives").mkdir(exist_ok=True)
        for gateway in self.gateways:
            with contextlib.closing(SqliteStore(gateway.state_dir / "state.db")) as store:
                (self.folder / "lives" / f"{gateway.name}.cbor").write_bytes(export(store, gateway.device))

    async def remediation(self, *more: object) -> tuple[int, Any]:
        """`medvouch ledger remediation` of the advisory of 1.1.0, by the ledgers as they are now: exit code, JSON."""
        self.export()
        called = await self.call(
            "ledger", "remediation", "--advisory", self.folder / "1.1.0" / "advisory.json",
            "--fleet", self.folder / "fleet.json", *self.from_ledgers,
            "--repository", self.publisher.directory, "--root", self.publisher.root_path, "--json", *more,
        )  # fmt: skip
        assert called.err == ""
        return called.code, called.json


@asynccontextmanager
async def desk(directory: Path, medvouch: Caller, count: int = 3) -> AsyncIterator[Desk]:
    """All gateways are in service, their clocks synchronised."""
    site = Site(directory / "site", [reference("1.0.0"), reference("1.1.0")])
    site.publisher = publisher = Publisher(directory / "updates", site.started_at)
    publisher.trust(site.trust.encode())
    gateways = [Gateway(f"gw{number}", site, directory / f"gw{number}") for number in range(1, count + 1)]
    for gateway in gateways:
        gateway.clock = WrongClock(0, sure=True)
    site.manifest_entries += [gateway.entry for gateway in gateways]
    keys_folder(directory / "keys")
    try:
        async with site.running() as (collector, observer):
            made = Desk(directory, site, publisher, gateways, collector, observer, medvouch)
            try:
                await asyncio.gather(*(gateway.boot() for gateway in gateways))
                for gateway in gateways:
                    await made.scene(gateway).state("health")
                yield made
            finally:
                for gateway in gateways:
                    with contextlib.suppress(Exception):
                        await gateway.shut_down()
    finally:
        publisher.close()
