"""Enrolment over MQTT: four messages on `medvouch/v1/enrol/{name}/…`, repeated until an answer comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from medvouch.attestation import refusals
from medvouch.attestation.enrollee import Enrollee
from medvouch.daemon.health import Health
from medvouch.daemon.worker import Worker
from medvouch.errors import EnvironmentFault, InputError, NetworkFault, Refusal, StorageFault
from medvouch.formats.identity import DeviceIdentity
from medvouch.messages import topics
from medvouch.ports import Message, Transport

log = logging.getLogger(__name__)

COMPONENT = "enrolment"
ANSWER_TIMEOUT_S = 60.0
"""How long the authority may take over one message before the device repeats it."""
REPETITIONS = 5
"""How often a message is repeated before the device begins anew, with fresh keys and a fresh request.

Anew is for an authority that forgot the challenge. One that recorded the enrolment, and whose answer was lost, refuses
fresh keys: so the proof is repeated for as long as a challenge is good.
"""
STORAGE_RETRY_S = 5.0

Keep = Callable[[DeviceIdentity], None]


async def enrol(
    transport: Transport, enrollee: Enrollee, worker: Worker, keep: Keep, name: str, health: Health
) -> DeviceIdentity:
    """Enrol this device; its identity, which `keep` has made durable, or the Refusal that the authority answered.

    `name` is the bootstrap credential's, which is all that the broker knows the device by until then. What holds the
    enrolment up is a problem in `health`.
    """
    await transport.start([topics.enrolment(name, "challenge"), topics.enrolment(name, "answer")])
    while True:
        conversation = _Conversation(transport, enrollee, worker, keep, name, await worker.run(enrollee.request))
        identity = await conversation.held(health)
        if identity is not None:
            health.clear(COMPONENT)
            return identity


class _Conversation:
    """One request and what follows from it. `_said` is our last message, on the topic of its step."""

    def __init__(
        self, transport: Transport, enrollee: Enrollee, worker: Worker, keep: Keep, name: str, request: bytes
    ) -> None:
        self._transport = transport
        self._enrollee = enrollee
        self._worker = worker
        self._keep = keep
        self._name = name
        self._said = (topics.enrolment(name, "request"), request)
        self._proved = False

    async def held(self, health: Health) -> DeviceIdentity | None:
        """The identity; None where the last message stayed without an answer, however often it was repeated."""
        unanswered = 0
        while unanswered <= REPETITIONS:
            try:
                return await self._round()
            except TimeoutError:
                unanswered += 1
                detail = f"the enrolment authority did not answer within {ANSWER_TIMEOUT_S:.0f} s"
                remedy = "check that the collector runs and that the broker lets it answer; trying again"
                _hindered(health, NetworkFault("enrolment-unanswered", detail, remedy=remedy))
            except StorageFault as fault:  # the proof, repeated, brings the same answer
                _hindered(health, fault)
                await asyncio.sleep(STORAGE_RETRY_S)
        return None

    async def _round(self) -> DeviceIdentity:
        """Say our last message and go on from there; TimeoutError where nothing comes back."""
        await self._transport.publish(*self._said)
        now = asyncio.get_running_loop().time
        async with asyncio.timeout(ANSWER_TIMEOUT_S) as patience:
            async for message in self._transport.messages():
                patience.reschedule(None)  # it is the authority that may be late, not the TPM
                identity = await self._heard(message)
                if identity is not None:
                    return identity
                patience.reschedule(now() + ANSWER_TIMEOUT_S)
        raise ConnectionError("the transport ended before the authority answered")

    async def _heard(self, message: Message) -> DeviceIdentity | None:
        try:
            if message.topic == topics.enrolment(self._name, "challenge"):
                await self._challenged(message.payload)
            elif message.topic == topics.enrolment(self._name, "answer"):
                return await self._worker.run(partial(self._enrollee.accept, message.payload, self._keep))
        except (InputError, Refusal) as error:
            if error.code == refusals.ENROLMENT_REFUSED.code:
                raise
            log.warning("not an answer to us: %s", error)
        return None

    async def _challenged(self, challenge: bytes) -> None:
        """Prove; a challenge that comes once more gets the proof that was made."""
        if not self._proved:
            proof = await self._worker.run(partial(self._enrollee.proof, challenge))
            self._said, self._proved = (topics.enrolment(self._name, "proof"), proof), True
        await self._transport.publish(*self._said)


def _hindered(health: Health, fault: EnvironmentFault) -> None:
    if health.report(COMPONENT, fault):
        log.warning("%s", fault)
