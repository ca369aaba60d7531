"""A whole simulated site for tests: real TPM, real broker, the agent and the collector as they run."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medvouch.adapters.mqtt import MqttTransport
from medvouch.collector.collector import Collector
from medvouch.collector.registry import EnrolledDevice
from medvouch.crypto.keys import Signer, SoftwareSigner
from medvouch.daemon.agent import Agent
from medvouch.messages import topics
from medvouch.messages.commands import issue_command
from medvouch.ports import Message
from medvouch_sim.fixtures import private_key
from medvouch_sim.gateway import MODEL, Gateway
from medvouch_sim.observer import Heard, Observer
from medvouch_sim.prediction import predict, sign_reference
from medvouch_sim.site import WATCHER, Site, release_signers

Fields = Mapping[str, Any]
HOSPITAL = "St. Example Hospital"


def signer(role: str) -> SoftwareSigner:
    return SoftwareSigner(private_key(role))


@functools.cache
def reference(release: str = "1.0.0") -> bytes:
    return sign_reference(predict(MODEL, release), *release_signers())


async def eventually(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 (of whatever can be seen from outside)
            await asyncio.sleep(0.02)


@dataclass
class Scene:
    """A site with one gateway, switched off, and one collector at work."""

    site: Site
    gateway: Gateway
    collector: Collector
    observer: Observer

    @property
    def device(self) -> str:
        return self.gateway.device

    @property
    def agent(self) -> Agent:
        assert self.gateway.agent is not None
        return self.gateway.agent

    @property
    def record(self) -> EnrolledDevice:
        """The device as the collector enrolled it."""
        record = self.collector.registry.find(self.device)
        assert record is not None
        return record

    async def commissioned(self) -> None:
        await self.collector.challenger.commander.ask(self.device, "commission", {"owner": HOSPITAL})

    @property
    def mark(self) -> int:
        return len(self.observer.heard)

    async def first(self, wanted: Callable[[Heard], bool], *, since: int = 0) -> Heard:
        return await self.observer.first(wanted, since=since)

    async def said(self, topic: topics.Topic, /, *, since: int = 0, **fields: Any) -> Fields:
        """The fields of the first message on a topic that has these among them."""

        def wanted(heard: Heard) -> bool:
            payload = heard.payload
            return heard.topic == topic and payload is not None and fields.items() <= payload.fields.items()

        heard = await self.first(wanted, since=since)
        assert heard.payload is not None
        return heard.payload.fields

    async def event(self, kind: str, /, *, since: int = 0, **fields: Any) -> Fields:
        return await self.said(topics.Event(self.device, kind), since=since, **fields)

    async def collected(self, kind: str, /, *, since: int = 0, **fields: Any) -> Fields:
        """As `event`, from the collector."""
        return await self.said(topics.Event("collector", kind), since=since, **fields)

    async def state(self, kind: str, /, *, since: int = 0, **fields: Any) -> Fields:
        return await self.said(topics.State(self.device, kind), since=since, **fields)

    async def status(self, state: str, *, since: int = 0) -> Fields:
        return await self.said(topics.Status(self.device, "agent"), since=since, state=state)

    async def answer(self, name: str, identifier: str, *, since: int = 0) -> Fields:
        return await self.said(topics.Response(self.device, name, identifier), since=since)

    @asynccontextmanager
    async def patient(self) -> AsyncIterator[Observer]:
        """An observer whose session outlives its connection and the broker's restart: it misses nothing."""
        credential = self.site.service_credential(WATCHER)
        basic = self.site.connect(WATCHER, credential)._settings
        observer = Observer(MqttTransport(replace(basic, clean_start=False, session_expiry_s=600, retry_max_s=0.5)))
        async with observer.running():
            await observer.first(lambda heard: isinstance(heard.topic, topics.State), since=0)
            yield observer

    async def retained(self, topic: str) -> Message:
        """What a client that comes now gets on a topic."""
        async with self.watching(topic) as transport:
            async for message in transport.messages():
                if message.topic == topic:
                    return message
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def watching(self, topic: str) -> AsyncIterator[MqttTransport]:
        transport = self.site.connect(WATCHER, self.site.service_credential(WATCHER))
        await transport.start([topic])
        try:
            async with asyncio.timeout(15):
                yield transport
        finally:
            await transport.close()

    def command(
        self, name: str, identifier: str, args: Fields, *, by: Signer | None = None, device: str = "", life_ms: int = 0
    ) -> bytes:
        """A signed command; by default of a commander, for this device, in time."""
        now = self.site.started_at * 1000
        return issue_command(
            by or signer("commander"), name, identifier, device or self.device, args,
            issued_at=now, expires_at=now + (life_ms or 3_600_000),
        )  # fmt: skip

    async def send(self, topic: str, payload: bytes) -> None:
        """Publish as the collector, which may write everything."""
        await self.collector._transport.publish(topic, payload)

    async def refused(self, name: str, identifier: str, data: bytes) -> str:
        """Put a command on a topic; the code with which it is refused, the same in answer and event."""
        mark = self.mark
        await self.send(topics.command(self.device, name, identifier), data)
        answer = await self.answer(name, identifier, since=mark)
        assert answer["outcome"] == "refused"
        event = await self.event("command-refused", since=mark)
        assert (event["code"], event["command"], event["detail"]) == (answer["code"], name, answer["detail"])
        return str(answer["code"])


@asynccontextmanager
async def scene(
    directory: Path,
    *,
    listed: bool = True,
    releases: Sequence[str] = ("1.0.0",),
    floor: int = 1,
    watch_boots: bool = False,
) -> AsyncIterator[Scene]:
    """`listed`: whether the gateway stands on the manufacturing manifest; `releases` are those in use.

    `watch_boots` as in Site.
    """
    references = [reference(release) for release in releases]
    site = Site(directory / "site", references, floor=floor, watch_boots=watch_boots)
    gateway = Gateway("gw1", site, directory / "gw1")
    if listed:
        site.manifest_entries.append(gateway.entry)
    async with site.running() as (collector, observer):
        try:
            yield Scene(site, gateway, collector, observer)
        finally:
            with contextlib.suppress(Exception):  # of an agent that ended by itself: the test has looked at it
                await gateway.shut_down()
