"""The collector: one MQTT session that enrols, challenges and answers for a fleet."""

from __future__ import annotations

import asyncio
import logging

from medvouch.attestation.enrolment import EnrolmentAuthority
from medvouch.collector.challenging import Challenger, Judge
from medvouch.collector.enrolling import EnrolmentDesk
from medvouch.collector.registry import Registry
from medvouch.collector.reporting import CollectorEvents
from medvouch.errors import MedvouchError
from medvouch.messages import topics
from medvouch.ports import Clock, Entropy, Message, Store, Transport

log = logging.getLogger(__name__)


class Collector:
    """Ties the desks to one transport; `run` ends when it is cancelled."""

    def __init__(
        self,
        judge: Judge,
        authority: EnrolmentAuthority,
        store: Store,
        transport: Transport,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.registry = Registry(store)
        self._transport = transport
        events = CollectorEvents(transport, store, clock, judge.name)
        self.challenger = Challenger(judge, self.registry, transport, events, clock, entropy)
        self._enrolment = EnrolmentDesk(authority, self.registry, transport, events, clock)

    async def run(self) -> None:
        """Serve until cancelled; each enrolment message is handled on its own, so that one device delays no other."""
        await self._transport.start(
            [
                topics.enrolment("+", "request"),
                topics.enrolment("+", "proof"),
                topics.evidence("+", "attestation"),
                topics.response("+", "attest", "+"),
                topics.status("+"),
            ]
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                async for message in self._transport.messages():
                    self._dispatch(message, tasks)
        finally:
            await self._transport.close()

    def _dispatch(self, message: Message, tasks: asyncio.TaskGroup) -> None:
        if message.topic == topics.SESSION:
            return
        try:
            topic = topics.parse(message.topic)
            if isinstance(topic, topics.Enrolment):
                tasks.create_task(self._enrolment.take(topic.device, topic.step, message.payload))
            elif isinstance(topic, topics.Evidence):
                self.challenger.arrived(topic.device, message.payload, message.correlation)
            elif isinstance(topic, topics.Response):
                self.challenger.answered(topic.device, topic.id, message.payload)
            elif isinstance(topic, topics.Status):
                self.challenger.presence.heard(topic.device, message.payload)
        except MedvouchError as error:
            log.warning("%s: %s", message.topic, error)
