"""The collector: one MQTT session that enrols, challenges and answers for a fleet."""

from __future__ import annotations

import asyncio
import logging

from medvouch.attestation.enrolment import EnrolmentAuthority
from medvouch.collector import claims
from medvouch.collector.boot_watch import BootWatch
from medvouch.collector.challenging import Challenger, Judge, Outcome
from medvouch.collector.claims import ClaimDesk
from medvouch.collector.decommissioning import Decommissioner
from medvouch.collector.enrolling import EnrolmentDesk
from medvouch.collector.floors import FloorDesk
from medvouch.collector.registry import Registry
from medvouch.collector.reporting import CollectorEvents
from medvouch.collector.revoking import Enforce, Revocations
from medvouch.errors import MedvouchError
from medvouch.messages import topics
from medvouch.ports import Clock, Entropy, Message, Store, Transport

log = logging.getLogger(__name__)


class Collector:
    """Ties the desks to one transport; `run` ends when it is cancelled.

    `watch_boots`: a device that booted is challenged without being asked to (False: only who calls decides when).
    """

    def __init__(
        self,
        judge: Judge,
        authority: EnrolmentAuthority,
        store: Store,
        transport: Transport,
        clock: Clock,
        entropy: Entropy,
        enforce: Enforce | None = None,
        *,
        watch_boots: bool = True,
    ) -> None:
        self.registry = Registry(store)
        self.revocations = Revocations(self.registry, authority.revocation_list, clock, enforce)
        self._transport = transport
        events = CollectorEvents(transport, store, clock, judge.name)
        self.challenger = Challenger(judge, self.registry, transport, events, clock, entropy, self.revocations.current)
        self.challenger.listeners.append(self._judged)
        self._claims = ClaimDesk(self.registry, clock)
        self.floors = FloorDesk(self.registry, self.challenger.commander, judge.signer)
        self.decommissioner = Decommissioner(
            self.registry, self.challenger, authority, self.revocations, transport, events, clock, entropy
        )
        self._boots = BootWatch(self.registry, self.challenger.challenge) if watch_boots else None
        self._enrolment = EnrolmentDesk(authority, self.registry, transport, events, clock)
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Serve until cancelled; each enrolment message is handled on its own, so that one device delays no other."""
        await self._transport.start(
            [
                topics.enrolment("+", "request"),
                topics.enrolment("+", "proof"),
                topics.enrolment("+", "sanitised"),
                topics.evidence("+", "attestation"),
                topics.response("+", "+", "+"),
                topics.status("+"),
                topics.state("+", claims.KIND),
            ]
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self.revocations.keep_current())
                async for message in self._transport.messages():
                    self._dispatch(message, tasks)
        finally:
            self._tasks = None
            await self._transport.close()

    def _judged(self, outcome: Outcome) -> None:
        if self.floors.judged(outcome) and self._tasks is not None:
            self._tasks.create_task(self.floors.follow(outcome.device))

    def _dispatch(self, message: Message, tasks: asyncio.TaskGroup) -> None:
        if message.topic == topics.SESSION:
            return
        try:
            topic = topics.parse(message.topic)
            if isinstance(topic, topics.Enrolment) and topic.step == "sanitised":
                tasks.create_task(self.decommissioner.take(topic.device, message.payload))
            elif isinstance(topic, topics.Enrolment):
                tasks.create_task(self._enrolment.take(topic.device, topic.step, message.payload))
            elif isinstance(topic, topics.Evidence):
                self.challenger.arrived(topic.device, message.payload, message.correlation)
            elif isinstance(topic, topics.Response):
                self.challenger.answered(topic.device, topic.id, message.payload)
                self.challenger.commander.answered(topic, message.payload)
            elif isinstance(topic, topics.Status):
                self.challenger.presence.heard(topic.device, message.payload)
                if self._boots is not None and self._boots.heard(topic.device, message.payload):
                    tasks.create_task(self._boots.appraise(topic.device))
            elif isinstance(topic, topics.State):
                self._claims.heard(topic.device, message.payload)
        except MedvouchError as error:
            log.warning("%s: %s", message.topic, error)
