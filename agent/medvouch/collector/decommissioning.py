"""The collector's side of the end of a life (DESIGN §8): freeze, receipt, sanitise, and what proves it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from medvouch.attestation.enrolment import EnrolmentAuthority
from medvouch.attestation.sanitisation import VerifiedSanitisation, verify_sanitisation
from medvouch.collector import refusals
from medvouch.collector.challenging import Challenger
from medvouch.collector.commanding import CommandRefused
from medvouch.collector.registry import Ended, EnrolledDevice, Registry, Sanitising
from medvouch.collector.reporting import CollectorEvents
from medvouch.collector.revoking import Revocations
from medvouch.errors import InputError, MedvouchError, NetworkFault, Refusal
from medvouch.formats.enrolment import NONCE_BYTES
from medvouch.formats.sanitisation import MAX_SANITISED_BYTES, SanitisationCertificate, Sanitised
from medvouch.messages import topics
from medvouch.ports import Clock, Entropy, Transport

log = logging.getLogger(__name__)

FROZEN_ALREADY = "device-frozen"
"""A device's own word that an earlier attempt came so far."""


class Decommissioner:
    """Ends lives, and takes the last messages of devices, at whatever time they come.

    What a message is judged by, the nonce, is durable before the device is told of it; so a proof is taken, too, that
    arrives after power cuts on either side.
    """

    def __init__(
        self,
        registry: Registry,
        challenger: Challenger,
        authority: EnrolmentAuthority,
        revocations: Revocations,
        transport: Transport,
        events: CollectorEvents,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._registry = registry
        self._challenger = challenger
        self._authority = authority
        self._revocations = revocations
        self._transport = transport
        self._events = events
        self._clock = clock
        self._entropy = entropy
        self._awaited: dict[str, asyncio.Future[VerifiedSanitisation]] = {}
        self._taking = asyncio.Lock()

    async def decommission(self, device: str, lockout: bytes, timeout_s: float = 60.0) -> VerifiedSanitisation:
        """Freeze a device, get the receipt for its ledger home, have it sanitised, and take its proof.

        `lockout` is the TPM's authorisation from escrow; it is kept nowhere, and void once the device has used it. May
        be called again where it failed. Raises UsageFault `device-unknown`, Refusal `device-decommissioned`, what the
        appraisal refused, CommandRefused, NetworkFault `sanitisation-unproven` where no proof comes in time.
        """
        self._challenger.enrolled(device)
        try:
            await self._challenger.commander.ask(device, "freeze", {})
        except CommandRefused as refused:
            if refused.reason != FROZEN_ALREADY:
                raise
        outcome = await self._challenger.challenge(device)
        if outcome.error is not None:
            raise outcome.error
        pending = Sanitising(self._entropy.bytes(NONCE_BYTES), outcome.result)
        self._registry.sanitising(device, pending)
        return await self._sanitised(device, pending.nonce, lockout, timeout_s)

    async def _sanitised(self, device: str, nonce: bytes, lockout: bytes, timeout_s: float) -> VerifiedSanitisation:
        """Whichever comes first: the proof, or the device's refusal. Its answer may be lost where power was cut."""
        proof: asyncio.Future[VerifiedSanitisation] = asyncio.get_running_loop().create_future()
        self._awaited[device] = proof
        args: dict[str, object] = {"nonce": nonce, "lockout": lockout}
        asking = asyncio.create_task(self._challenger.commander.ask(device, "sanitise", args, timeout_s))
        either: list[asyncio.Future[Any]] = [asking, proof]
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if not proof.done():
                    await asking
                return await proof
        except TimeoutError:
            detail = f"{device} sent no proof of its sanitisation within {timeout_s:.0f} s"
            remedy = "look at the device; its proof is taken whenever it comes"
            raise NetworkFault("sanitisation-unproven", detail, remedy=remedy) from None
        finally:
            asking.cancel()
            await asyncio.wait([asking])
            del self._awaited[device]

    async def take(self, name: str, payload: bytes) -> None:
        """What came on `enrol/{name}/sanitised`; a proof that holds is acknowledged, also where it comes again.

        A refusal is published as `event/sanitisation-refused`. Nothing is raised.
        """
        try:
            async with self._taking:
                await self._judge(payload)
            await self._transport.publish(topics.enrolment(name, "released"), self._authority.release(payload))
        except (InputError, Refusal) as error:
            log.warning("sanitisation of %s: %s", name, error)
            fields = {"about": name, "code": error.code, "detail": error.detail, "place": error.place}
            await self._events.publish("sanitisation-refused", fields)
        except MedvouchError as error:
            log.error("sanitisation of %s: %s", name, error)

    async def _judge(self, payload: bytes) -> None:
        """Which device it is of says the message itself, believed no further than to look up what it is judged by."""
        if len(payload) > MAX_SANITISED_BYTES:
            raise InputError("sanitisation-limit", f"{len(payload)} bytes where {MAX_SANITISED_BYTES} are allowed")
        device = SanitisationCertificate.parse(Sanitised.parse(payload).certificate).device_id
        record, pending = self._registry.find(device), self._registry.asked_to_sanitise(device)
        if record is None or pending is None:
            ended = self._registry.ended(device)
            if ended is None or ended.sanitisation != payload:
                raise Refusal(refusals.SANITISATION_UNASKED, f"{device} was not asked, or not for this")
            await self._revocations.publish()
            return
        resets = record.reset_count or None
        verified = verify_sanitisation(payload, record.iak_public, pending.nonce, device, resets_in_service=resets)
        await self._end(record, pending, payload, verified)

    async def _end(
        self, record: EnrolledDevice, pending: Sanitising, payload: bytes, verified: VerifiedSanitisation
    ) -> None:
        now, device = self._clock.now(), record.device
        self._registry.decommissioned(Ended(record, pending.receipt, payload, pending.nonce, now.ms))
        await self._revocations.publish()
        if (proof := self._awaited.get(device)) is not None and not proof.done():
            proof.set_result(verified)
        fields = {"about": device, "serial": record.serial, "owner": verified.certificate.accountable_owner}
        await self._events.publish("decommissioned", fields)
