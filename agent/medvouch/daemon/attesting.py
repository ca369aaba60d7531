"""Challenges answered with evidence, and the verdict that comes home."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from medvouch.attestation.attester import Attester
from medvouch.attestation.evidence import evidence_digest
from medvouch.attestation.policy import STATIC_PCRS
from medvouch.attestation.results import VerifiedEar, verify_result
from medvouch.crypto.keys import PublicKey
from medvouch.daemon.health import Health
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import Standing
from medvouch.daemon.worker import Worker
from medvouch.errors import MedvouchError
from medvouch.formats.ear import Ear
from medvouch.lifecycle.roles import TrustedRole
from medvouch.messages.payloads import Fields
from medvouch.ports import Clock

log = logging.getLogger(__name__)

MAX_PENDING = 64
"""Challenges whose verdict may be outstanding; the oldest is forgotten first."""


@dataclass(frozen=True)
class Verdicts:
    """Whose results this device believes, by which clock, and what it is called."""

    appraiser: TrustedRole
    device: str
    clock: Clock

    def appraisers(self) -> Sequence[PublicKey]:
        """The keys believed now. Raises Refusal `trust-expired`, `role-expired`."""
        return self.appraiser.at(self.clock.now().ms // 1000)


class AttestingService:
    """Makes evidence for challenges and checks what the appraiser makes of it."""

    def __init__(
        self,
        attester: Attester,
        worker: Worker,
        reporter: Reporter,
        standing: Standing,
        health: Health,
        verdicts: Verdicts,
    ) -> None:
        self._attester = attester
        self._worker = worker
        self._reporter = reporter
        self._standing = standing
        self._health = health
        self._verdicts = verdicts
        self._pending: OrderedDict[bytes, bytes] = OrderedDict()

    async def evidence(self, nonce: bytes, appraiser: str) -> bytes:
        """Evidence for one challenge; what goes wrong is reported as a problem and an event, then raised."""
        try:
            data = await self._worker.run(lambda: self._attester.evidence(nonce, appraiser, STATIC_PCRS))
        except MedvouchError as error:
            if self._health.report("attestation", error):
                log.warning("%s", error)
            await self._reporter.event("attestation-failed", {"code": error.code, "detail": error.detail})
            raise
        self._health.clear("attestation")
        return data

    async def challenged(self, nonce: bytes, appraiser: str) -> None:
        """Answer a challenge that came as a command."""
        data = await self.evidence(nonce, appraiser)
        self._pending[nonce] = evidence_digest(data)
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        await self._reporter.evidence("attestation", data, nonce)

    async def verdict(self, nonce: bytes, data: bytes) -> None:
        """Check and keep a result; one not ours, not the appraiser's or not to be kept becomes an event."""
        try:
            verified = verify_result(
                data,
                self._verdicts.appraisers(),
                device=self._verdicts.device,
                nonce=nonce,
                evidence_digest=self._pending.get(nonce, b""),
            )
            self._standing.judged(verified.ear, verified.data)
        except MedvouchError as error:
            log.warning("%s", error)
            await self._reporter.event("result-refused", {"code": error.code, "detail": error.detail})
            return
        del self._pending[nonce]
        await self.announce(verified)

    async def announce(self, verified: VerifiedEar) -> None:
        """Publish a verdict as event and as retained state."""
        fields = summary(verified.ear)
        await self._reporter.event("attestation", fields)
        await self._reporter.state("attestation", fields)


def summary(ear: Ear) -> Fields:
    """A verdict as flat scalars: status, first reason, nonce, policy and time."""
    reason = ear.reasons[0] if ear.reasons else None
    return {
        "status": ear.status.name.lower(),
        "code": reason.code if reason else None,
        "place": reason.place if reason else None,
        "detail": reason.detail if reason else None,
        "nonce": ear.nonce.hex(),
        "policy": ear.policy_id,
        "judged_at": ear.issued_at,
        "boot_count": ear.boot_count,
    }
