"""What every step and attack of the demo works with: the site, the gateways, and what happened so far."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from medvouch.collector.challenging import Outcome
from medvouch.collector.collector import Collector
from medvouch.errors import MedvouchError
from medvouch.messages import topics
from medvouch_sim.demo.lifeline import Lifeline, lifelines
from medvouch_sim.demo.narrator import Narrator
from medvouch_sim.demo.verdicts import Kind, Verdict
from medvouch_sim.gateway import Gateway
from medvouch_sim.observer import Heard, Observer
from medvouch_sim.site import Site


@dataclass
class Stage:
    """The demo's world; `out` is where its files go."""

    site: Site
    collector: Collector
    observer: Observer
    narrator: Narrator
    gateways: list[Gateway]
    out: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """The last affirming outcome of each device."""

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
        await self.observer.first(lambda heard: heard.topic == topics.Status(gateway.device, "agent"), since=since)

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
