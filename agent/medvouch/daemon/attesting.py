"""Challenges answered with evidence, and the verdict that comes home."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from medvouch.attestation.attester import Attester
from medvouch.attestation.evidence import claimed_head, evidence_digest
from medvouch.attestation.policy import STATIC_PCRS
from medvouch.attestation.results import VerifiedEar, verify_result
from medvouch.crypto.keys import PublicKey
from medvouch.daemon.health import Health
from medvouch.daemon.recording import Circumstances, Recorder
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import RECEIPT_KEY, Standing
from medvouch.daemon.worker import Worker
from medvouch.errors import MedvouchError
from medvouch.formats.ear import Ear, Tier
from medvouch.formats.eat import LedgerHead
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


@dataclass(frozen=True)
class _Sent:
    """Evidence that was sent."""

    digest: bytes
    head: LedgerHead | None


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
        recorder: Recorder,
    ) -> None:
        self._attester = attester
        self._worker = worker
        self._reporter = reporter
        self._standing = standing
        self._health = health
        self._verdicts = verdicts
        self._recorder = recorder
        self._pending: OrderedDict[bytes, _Sent] = OrderedDict()
        """By nonce."""
        self.listeners: list[Callable[[Ear], Awaitable[None]]] = []
        """Whoever wants to know of verdicts that were believed and kept."""

    async def evidence(self, nonce: bytes, appraiser: str, *, ledger_since: int = 0) -> bytes:
        """Evidence for one challenge; what goes wrong is reported as a problem and an event, then raised."""
        try:
            data = await self._worker.run(
                lambda: self._attester.evidence(nonce, appraiser, STATIC_PCRS, ledger_since=ledger_since)
            )
        except MedvouchError as error:
            if self._health.report("attestation", error):
                log.warning("%s", error)
            await self._reporter.event("attestation-failed", {"code": error.code, "detail": error.detail})
            raise
        self._health.clear("attestation")
        return data

    async def challenged(self, nonce: bytes, appraiser: str, ledger_since: int) -> None:
        """Answer a challenge that came as a command."""
        data = await self.evidence(nonce, appraiser, ledger_since=ledger_since)
        self._pending[nonce] = _Sent(evidence_digest(data), claimed_head(data))
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        await self._reporter.evidence("attestation", data, nonce)

    async def verdict(self, nonce: bytes, data: bytes) -> None:
        """Check and keep a result; one not ours, not the appraiser's or not to be kept becomes an event."""
        sent = self._pending.get(nonce, _Sent(b"", None))
        try:
            verified = verify_result(
                data,
                self._verdicts.appraisers(),
                device=self._verdicts.device,
                nonce=nonce,
                evidence_digest=sent.digest,
                ledger_head=sent.head,
            )
            await self._keep(verified)
        except MedvouchError as error:
            log.warning("%s", error)
            fields = {"code": error.code, "detail": error.detail, "nonce": nonce.hex()}
            await self._reporter.event("result-refused", fields)
            return
        del self._pending[nonce]
        for listener in self.listeners:
            await listener(verified.ear)

    async def _keep(self, verified: VerifiedEar) -> None:
        """Record a verdict, and tell of it as event and as retained state; where the ledger has ended, as receipt."""
        fields = summary(verified.ear)
        messages = [
            self._reporter.event_message("attestation", fields),
            self._reporter.state_message("attestation", fields),
        ]
        around = Circumstances(
            actor=f"appraiser {verified.ear.verifier_developer} {verified.ear.verifier_build}",
            owner=self._standing.owner,
            attachments={"ear": verified.data},
            named={"evidence": verified.ear.evidence_digest},
        )
        change = self._standing.judged(verified)
        if self._standing.closed:
            receipt = {RECEIPT_KEY: verified.data} if verified.ear.status is Tier.AFFIRMING else {}
            await self._recorder.keep({**change.values, **receipt}, messages)
        else:
            await self._recorder.record(change, around, messages)


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
