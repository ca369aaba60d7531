"""The collector's desk for enrolment: requests come in over MQTT, the authority decides, the registry keeps.

A device that hears no answer repeats its message: the same request gets the same challenge, the same proof the same
answer, also after a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from dataclasses import dataclass

from medvouch.attestation.enrolment import Enrolled, EnrolmentAuthority, PendingEnrolment
from medvouch.collector.registry import MAX_SERIAL_BYTES, EnrolledDevice, GivenAnswer, Registry
from medvouch.collector.reporting import CollectorEvents
from medvouch.crypto.certificates import load
from medvouch.errors import EnvironmentFault, InputError, MedvouchError, Refusal
from medvouch.formats.enrolment import MAX_MESSAGE_BYTES, message_digest
from medvouch.messages import topics
from medvouch.ports import Clock, Transport

log = logging.getLogger(__name__)

MAX_UNDER_WAY = 4
"""Messages of one name that are decided at a time; a device sends one, then waits for its answer."""
MAX_PENDING = 4096
"""Enrolments under way; the oldest is forgotten first and has to begin again."""


@dataclass(frozen=True)
class _Challenged:
    """A request by its digest, the challenge that it got, and what to judge the proof by."""

    request: bytes
    challenge: bytes
    pending: PendingEnrolment


class EnrolmentDesk:
    """Answers the messages of `medvouch/v1/enrol/{name}/…`; `name` is the bootstrap credential's."""

    def __init__(
        self,
        authority: EnrolmentAuthority,
        registry: Registry,
        transport: Transport,
        events: CollectorEvents,
        clock: Clock,
    ) -> None:
        self._authority = authority
        self._registry = registry
        self._transport = transport
        self._events = events
        self._clock = clock
        self._challenged: OrderedDict[str, _Challenged] = OrderedDict()
        self._under_way: Counter[str] = Counter()
        self._recording = asyncio.Lock()
        """Judging a proof and recording it are one step: else two of one EK could pass at once."""

    async def take(self, name: str, step: str, payload: bytes) -> None:
        """One message of a device, a request or a proof.

        A refusal is answered, and published as `event/enrolment-refused`. A fault of ours is neither: it says
        nothing about the device, which will repeat its message. Nothing is raised, whatever the bytes: one device
        must not end the enrolment of all.
        """
        if self._under_way[name] >= MAX_UNDER_WAY:
            log.warning("enrolment of %s: it sends faster than it is answered", name)
            return
        self._under_way[name] += 1
        try:
            await self._decide(name, step, payload)
        except MedvouchError as error:
            log.error("enrolment of %s: %s", name, error)
        except Exception:
            log.exception("enrolment of %s: a bug of ours", name)
        finally:
            self._under_way -= Counter([name])  # which forgets who has none

    async def _decide(self, name: str, step: str, payload: bytes) -> None:
        try:
            if len(payload) > MAX_MESSAGE_BYTES:
                detail = f"{len(payload)} bytes where at most {MAX_MESSAGE_BYTES} are allowed"
                raise InputError("enrolment-limit", detail)
            if step == "request":
                await self._request(name, payload)
            else:
                await self._proof(name, payload)
        except (InputError, Refusal) as error:
            log.warning("enrolment of %s: %s", name, error)
            self._challenged.pop(name, None)
            await self._transport.publish(topics.enrolment(name, "answer"), self._authority.refuse(payload, error))
            fields = {"about": name, "code": error.code, "detail": error.detail, "place": error.place}
            await self._events.publish("enrolment-refused", fields)

    async def _request(self, name: str, payload: bytes) -> None:
        now = self._now()
        known = self._challenged.get(name)
        if known is None or known.request != message_digest(payload) or known.pending.expires <= now:
            challenge, pending = await asyncio.to_thread(self._authority.challenge, payload, now)
            known = self._challenged[name] = _Challenged(message_digest(payload), challenge, pending)
            while len(self._challenged) > MAX_PENDING:
                self._challenged.popitem(last=False)
        await self._transport.publish(topics.enrolment(name, "challenge"), known.challenge)

    async def _proof(self, name: str, payload: bytes) -> None:
        proof = message_digest(payload)
        async with self._recording:
            given = self._registry.answer(name)
            if given is not None and given.proof == proof:
                await self._transport.publish(topics.enrolment(name, "answer"), given.answer)
                return
            known = self._challenged.pop(name, None)
            if known is None:
                log.info("%s sent a proof without a challenge", name)
                return
            try:
                enrolled = await asyncio.to_thread(self._authority.answer, known.pending, payload, self._now())
                self._registry.add(_record(enrolled), name, GivenAnswer(proof, enrolled.answer))
            except EnvironmentFault:
                self._challenged[name] = known
                raise
        await self._transport.publish(topics.enrolment(name, "answer"), enrolled.answer)
        await self._events.publish("enrolled", {"about": enrolled.device_id, "serial": enrolled.serial})

    def _now(self) -> int:
        return self._clock.now().ms // 1000


def _record(enrolled: Enrolled) -> EnrolledDevice:
    return EnrolledDevice(
        device=enrolled.device_id,
        serial=enrolled.serial,
        ek_hash=enrolled.ek_hash,
        attestation_key=enrolled.lak_spki,
        qualified_name=enrolled.lak_qualified_name,
        client_key_thumbprint=enrolled.client_key_thumbprint,
        accountable_owner=enrolled.accountable_owner,
        escrow=enrolled.escrow,
        nv_names=enrolled.nv_names,
        floor=enrolled.floor,
        floor_base=enrolled.floor_base,
        iak_public=enrolled.iak_public,
        ldevid_public=enrolled.ldevid_public,
        certificates=tuple(_serial(certificate) for certificate in enrolled.certificates),
    )


def _serial(certificate: bytes) -> bytes:
    return load(certificate).parsed.serial_number.to_bytes(MAX_SERIAL_BYTES, "big")
