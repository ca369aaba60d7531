"""A site with an update repository, and a gateway in service that can be directed to releases."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvouch_sim.gateway import MODEL, Gateway
from medvouch_sim.prediction import predict, sign_reference
from medvouch_sim.publisher import Publisher, Release
from medvouch_sim.site import Site
from support.sites import Fields, Scene, signer


@functools.cache
def reference(version: str) -> bytes:
    return sign_reference(predict(MODEL, version), signer("release"), signer("release-2"))


def release(version: str) -> Release:
    return Release.of_fixtures(version, reference(version))


@dataclass
class Updatable(Scene):
    """A scene whose gateway takes updates."""

    publisher: Publisher

    async def update(self, state: str, *, since: int) -> Fields:
        """Wait until the update has come there."""
        return await self.event("update", since=since, state=state)

    async def look(self) -> None:
        """Have the agent look for an update now."""
        await self.collector.challenger.commander.ask(self.device, "update", {})

    async def directed(self, to: Release, **options: Any) -> int:
        """Publish a release, direct the gateway to it and have it look; the mark before."""
        mark = self.mark
        self.publisher.publish(to)
        self.publisher.direct(self.gateway.entry.ek_hash, to, **options)
        await self.look()
        return mark

    async def activated(self, to: Release) -> int:
        mark = await self.directed(to)
        await self.update("activated", since=mark)
        return mark

    async def installed(self, to: Release) -> int:
        """Updated and self-checked; nobody else has confirmed it yet."""
        mark = await self.activated(to)
        await self.gateway.reboot()
        await self.update("self_checked", since=mark)
        return mark

    async def with_settings(self, lines: str) -> None:
        """Start again with more in `[update]` of the configuration."""
        self.site.update_settings = lines
        mark = self.mark
        await self.gateway.reboot()
        await self.state("health", since=mark)

    async def turned_down(self, code: str, *, since: int) -> Fields:
        return await self.event("update-refused", since=since, code=code)


@asynccontextmanager
async def updatable(
    directory: Path, *, references: Sequence[bytes] = (), loader: bytes = b"", settings: str = ""
) -> AsyncIterator[Updatable]:
    """`references` of releases that the collector knows, by default both of the fixtures; `loader` of the gateway, and
    more `settings` of its `[update]`.
    """
    site = Site(directory / "site", references or [reference("1.0.0"), reference("1.1.0")])
    site.update_settings = settings
    publisher = Publisher(directory / "updates", site.started_at)
    site.publisher = publisher
    publisher.trust(site.trust.encode())
    gateway = Gateway("gw1", site, directory / "gw1", loader=loader)
    site.manifest_entries.append(gateway.entry)
    try:
        async with site.running() as (collector, observer):
            scene = Updatable(site, gateway, collector, observer, publisher)
            try:
                await gateway.boot()
                await scene.state("health")
                yield scene
            finally:
                with contextlib.suppress(Exception):
                    await gateway.shut_down()
    finally:
        publisher.close()
