"""What every step and attack of the demo works with: the site, the gateways, and what happened so far."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from medvouch.collector.challenging import Outcome
from medvouch.collector.collector import Collector
from medvouch.errors import MedvouchError
from medvouch.formats.directive import Directive
from medvouch.messages import topics
from medvouch_sim.demo.lifeline import Lifeline, lifelines
from medvouch_sim.demo.narrator import Narrator
from medvouch_sim.demo.verdicts import Kind, Verdict
from medvouch_sim.gateway import Gateway
from medvouch_sim.observer import Heard, Observer
from medvouch_sim.publisher import Publisher, Release
from medvouch_sim.site import Site

LOOK_S = QUIET_S = 10.0


@dataclass
class Stage:
    """The demo's world; `out` is where its files go."""

    site: Site
    publisher: Publisher
    references: Mapping[str, bytes]
    """Signed reference values by version."""
    collector: Collector
    observer: Observer
    narrator: Narrator
    gateways: list[Gateway]
    out: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """The last affirming outcome of each device."""
    _envelopes: dict[str, bytes] = field(default_factory=dict)
    """Of published releases, by version."""
    _disposable: int = 0

    @property
    def mark(self) -> int:
        """How many messages the observer has heard so far."""
        return len(self.observer.heard)

    @property
    def lives(self) -> list[Lifeline]:
        """The life of each gateway so far."""
        names = [(gateway.name, gateway.device) for gateway in self.gateways]
        return lifelines(names, self.observer.heard, self.narrator.verdicts, self.narrator.started_s)

    async def online(self, gateway: Gateway, *, since: int) -> None:
        """Wait until the device's agent has said that it is there, and so hears commands."""
        topic = topics.Status(gateway.device, "agent")

        def there(heard: Heard) -> bool:
            return heard.topic == topic and heard.payload is not None and heard.payload.fields.get("state") == "online"

        await self.observer.first(there, since=since)

    async def challenge(self, gateway: Gateway, step: str) -> Outcome:
        """Challenge, keep evidence and result as files, wait until the device knows the verdict."""
        mark = self.mark
        outcome = await self.collector.challenger.challenge(gateway.device)
        self.keep(gateway, step, outcome)
        if outcome.error is None:
            self.outcomes[gateway.device] = outcome
            await self.observer.first(lambda heard: _is_verdict(heard, gateway.device), since=mark)
        return outcome

    def keep(self, gateway: Gateway, step: str, outcome: Outcome) -> None:
        """Write evidence, EAR and the EAR's JSON twin."""
        folder = self.out / "evidence"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{len(list(folder.glob('*.evidence.cbor'))) + 1:02}-{gateway.name}-{step.replace(' ', '-')}"
        (folder / f"{name}.evidence.cbor").write_bytes(outcome.evidence)
        (folder / f"{name}.ear.cbor").write_bytes(outcome.result)
        (folder / f"{name}.ear.json").write_text(json.dumps(outcome.ear.to_json(), indent=2) + "\n")

    # --- updates -----------------------------------------------------------------------------------------------------

    def release(self, version: str) -> Release:
        """A release of the fixtures."""
        return Release.of_fixtures(version, self.references[version])

    def another(self) -> Release:
        """A release like 1.1.0 and newer than all before."""
        self._disposable += 1
        good = self.release("1.1.0")
        return replace(good, version=f"1.1.{self._disposable}", sequence=good.sequence + self._disposable)

    def publish(
        self,
        gateway: Gateway,
        release: Release,
        envelope: bytes | None = None,
        alter: Callable[[Directive], Directive] | None = None,
    ) -> None:
        """Publish a release, if that was not done before, and direct the gateway to it."""
        if release.version not in self._envelopes:
            made = envelope or self.publisher.envelope(release)
            self._envelopes[release.version] = made
            self.publisher.publish(release, made)
        self.publisher.direct(gateway.entry.ek_hash, release, alter=alter)

    async def look(self, gateway: Gateway) -> None:
        """Have the agent look for an update."""
        await self.collector.challenger.commander.ask(gateway.device, "update", {})

    async def looked(self, gateway: Gateway) -> None:
        """Have it look, and wait until it has seen what it is directed to, the last it asks for if nothing is new."""
        asked = len(self.publisher.server.requests)
        await self.look(gateway)
        async with asyncio.timeout(LOOK_S):
            while not any(gateway.device in path for path in self.publisher.server.requests[asked:]):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def update(self, gateway: Gateway, *states: str, since: int) -> Mapping[str, object]:
        """Wait until the update has come to one of these states; what its event says."""
        topic = topics.Event(gateway.device, "update")

        def wanted(heard: Heard) -> bool:
            return heard.topic == topic and heard.payload is not None and heard.payload.fields["state"] in states

        heard = await self.observer.first(wanted, since=since)
        return heard.payload.fields if heard.payload else {}

    # --- attacks -----------------------------------------------------------------------------------------------------

    async def send(self, topic: str, payload: bytes) -> None:
        """Publish something as whoever holds the collector's connection."""
        assert self.site.voice is not None
        await self.site.voice.publish(topic, payload)

    async def quiet(self, gateway: Gateway) -> None:
        """Wait until the agent has told all that it has to tell."""
        agent = gateway.agent
        if agent and agent.reporter and agent.service and agent.service.connected:
            async with asyncio.timeout(QUIET_S):
                await agent.reporter.flushed()

    async def refused_with(self, gateway: Gateway, step: str, provoke: Callable[[], Awaitable[object]]) -> Heard:
        """The first event with a code that comes while `provoke` is under way, or soon after."""
        mark = self.mark
        settled = {heard.nonce for heard in self.observer.heard}  # a device still speaks of verdicts that it got before
        provoking = asyncio.ensure_future(provoke())
        try:
            heard = await self.observer.first(lambda heard: bool(heard.code) and heard.nonce not in settled, since=mark)
            with contextlib.suppress(MedvouchError, TimeoutError):
                outcome = await asyncio.wait_for(provoking, 2)
                if isinstance(outcome, Outcome):
                    self.keep(gateway, step, outcome)
            return heard
        finally:
            provoking.cancel()
            with contextlib.suppress(asyncio.CancelledError, MedvouchError):
                await provoking

    def record(
        self, gateway: str, kind: Kind, step: str, expected: str, actual: str, *, code: str = "", detail: str = ""
    ) -> None:
        """One row."""
        self.narrator.record(Verdict(gateway, kind, step, expected, actual, code, detail))


def _is_verdict(heard: Heard, device: str) -> bool:
    payload = heard.payload
    return payload is not None and payload.schema == "state/attestation" and payload.stamp.device == device
