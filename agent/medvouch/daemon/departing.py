"""A device that is sanitised: it finishes what a power cut interrupted, delivers the proof, and is silent from then on.

What it had in service is gone, so it speaks with the bootstrap credential, on `medvouch/v1/enrol/{name}/sanitised`,
again and again until the enrolment authority says on `…/released` that the message was taken.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Annotated

from medvouch.attestation.refusals import AUTHORITY_SIGNATURE_INVALID
from medvouch.attestation.sanitisation import sanitise
from medvouch.crypto import cose
from medvouch.daemon.health import Health
from medvouch.daemon.link import watch_link
from medvouch.daemon.standing import Change, Standing
from medvouch.daemon.surroundings import Surroundings
from medvouch.daemon.worker import Worker
from medvouch.errors import InputError, NetworkFault, Refusal, StorageFault
from medvouch.formats.enrolment import CONTENT_TYPE, Nonce, message_digest
from medvouch.formats.record import Octets, Record
from medvouch.formats.sanitisation import MAX_CERTIFICATE_BYTES, Released, SanitisationCertificate
from medvouch.lifecycle.life import Cause, Life
from medvouch.lifecycle.refusals import DEVICE_DECOMMISSIONED
from medvouch.lifecycle.roles import TrustedRole
from medvouch.messages import topics
from medvouch.ports import Commit, Store, Tpm, Transport

log = logging.getLogger(__name__)

COMPONENT = "decommissioning"
INTENT_KEY = "sanitisation-intent"
SANITISED_KEY = "sanitised"
RELEASED_KEY = "released"
REPEAT_S = 60.0
"""How long the authority may take over the message before the device repeats it."""


@dataclass(frozen=True)
class SanitisationIntent(Record):
    """What is about to be done: the encoded SanitisationCertificate, and the collector's nonce."""

    FORMAT = "intent"

    certificate: Annotated[bytes, Octets(MAX_CERTIFICATE_BYTES)]
    nonce: Nonce


def carry_out(tpm: Tpm, intent: SanitisationIntent, lockout: bytes) -> bytes:
    """Clear the TPM, and the message that proves it. Blocking; raises TpmFault."""
    return sanitise(tpm, lockout, SanitisationCertificate.parse(intent.certificate), intent.nonce)


def carried_out(standing: Standing, message: bytes) -> Change:
    """The last step of a life, and the proof of it; no entry of the ledger, for the keys that sign those are gone."""
    return standing.moved(Cause.SANITISE).with_values({SANITISED_KEY: message, INTENT_KEY: None})


def _intent(data: bytes) -> SanitisationIntent:
    try:
        return SanitisationIntent.parse(data)
    except InputError as error:
        raise _corrupt(f"the stored intent: {error}") from error


def _corrupt(detail: str) -> StorageFault:
    return StorageFault("state-corrupt", detail, remedy="restore the state directory from a backup")


class Departure:
    """What is left to do for a device that is sanitised, or was about to be."""

    def __init__(
        self,
        around: Surroundings,
        worker: Worker,
        standing: Standing,
        store: Store,
        authority: TrustedRole,
        health: Health,
    ) -> None:
        self._around = around
        self._worker = worker
        self._standing = standing
        self._store = store
        self._authority = authority
        self._health = health

    async def resumed(self) -> bool:
        """Whether this device's life has ended: what was left of that is done then.

        Raises Refusal `device-decommissioned` where nothing is.
        """
        if self._store.get(RELEASED_KEY) is not None:
            raise Refusal(DEVICE_DECOMMISSIONED, "its proof of sanitisation was delivered")
        if self._standing.life is Life.FROZEN:
            await self._complete()
        if self._standing.life is not Life.DECOMMISSIONED:
            return False
        await self.deliver()
        return True

    async def _complete(self) -> None:
        """Power went between TPM2_Clear and its proof: clear the TPM, which nobody owns, once more."""
        data = self._store.get(INTENT_KEY)
        if data is None or await self._worker.run(self._around.tpm.ownership_taken):
            return
        intent = _intent(data)
        message = await self._worker.run(lambda: carry_out(self._around.tpm, intent, b""))
        self._store.commit(Commit(carried_out(self._standing, message).values))

    async def deliver(self) -> None:
        """Say it until the authority has heard it."""
        message = self._store.get(SANITISED_KEY)
        if message is None:
            raise _corrupt("the proof of sanitisation is not there")
        links = self._around.links
        transport, name = links.enrolment(), links.bootstrap_name()
        watching = asyncio.create_task(watch_link(transport, self._health))
        try:
            await transport.start([topics.enrolment(name, "released")])
            while (released := await self._answer(transport, name, message)) is None:
                detail = f"the enrolment authority did not answer within {REPEAT_S:.0f} s"
                remedy = "check that the collector runs and that the broker lets it answer; trying again"
                self._health.report(COMPONENT, NetworkFault("release-unanswered", detail, remedy=remedy))
            self._store.put({RELEASED_KEY: released})
        finally:
            watching.cancel()
            await transport.close()

    async def _answer(self, transport: Transport, name: str, message: bytes) -> bytes | None:
        """Say it once; the authority's word that it was taken, or None where that does not come in time."""
        await transport.publish(topics.enrolment(name, "sanitised"), message)
        try:
            async with asyncio.timeout(REPEAT_S):
                async for heard in transport.messages():
                    if heard.topic == topics.enrolment(name, "released") and self._releases(heard.payload, message):
                        return heard.payload
        except TimeoutError:
            return None
        raise ConnectionError("the transport ended before the authority answered")

    def _releases(self, data: bytes, message: bytes) -> bool:
        try:
            authorities = self._authority.at(self._around.clock.now().ms // 1000)
            payload = cose.verify1_by_any(
                data, authorities, content_type=CONTENT_TYPE, otherwise=AUTHORITY_SIGNATURE_INVALID
            )
            return Released.parse(payload).about == message_digest(message)
        except (InputError, Refusal) as error:
            log.warning("not an answer to us: %s", error)
            return False
