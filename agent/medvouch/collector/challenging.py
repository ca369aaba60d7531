"""The collector as appraiser: challenges a device, judges what comes back, and sends the signed verdict home."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from medvouch import __version__
from medvouch.attestation.appraisal import Anchors, Appraisal, Expectation, appraise
from medvouch.attestation.evidence import UnverifiedEvidence, evidence_digest
from medvouch.attestation.ledger_heads import LedgerExpectation
from medvouch.attestation.policy import Policy
from medvouch.attestation.quotes import check_nonce
from medvouch.attestation.results import Occasion, affirm, contraindicate, sign_result
from medvouch.collector.commanding import Commander
from medvouch.collector.presence import Presence
from medvouch.collector.registry import EnrolledDevice, Judged, Registry
from medvouch.collector.reporting import CollectorEvents
from medvouch.crypto.keys import Signer, load_spki
from medvouch.errors import MedvouchError, NetworkFault, Refusal, UsageFault
from medvouch.formats.ear import Ear
from medvouch.lifecycle.refusals import DEVICE_DECOMMISSIONED
from medvouch.messages import payloads, topics
from medvouch.ports import Clock, Entropy, Transport

log = logging.getLogger(__name__)

NONCE_BYTES = 32
DEVELOPER = "medvouch"


@dataclass(frozen=True)
class Judge:
    """Who judges, and against what."""

    name: str
    signer: Signer
    commander: Signer
    anchors: Anchors
    policy: Policy


@dataclass(frozen=True)
class Outcome:
    """One challenge from question to verdict; `evidence` and `result` are the encoded wholes."""

    device: str
    nonce: bytes
    evidence: bytes
    ear: Ear
    result: bytes
    appraisal: Appraisal | None
    error: MedvouchError | None


@dataclass(frozen=True)
class _Asked:
    """A challenge under way: its nonce, the id of the command that carried it, and what is to come back."""

    nonce: bytes
    command: str
    arrival: asyncio.Future[bytes]


class Challenger:
    """Asks devices for evidence and appraises it; one challenge a device at a time."""

    def __init__(
        self,
        judge: Judge,
        registry: Registry,
        transport: Transport,
        events: CollectorEvents,
        clock: Clock,
        entropy: Entropy,
        revocations: Callable[[], bytes],
    ) -> None:
        self._judge = judge
        self._registry = registry
        self._transport = transport
        self._events = events
        self._clock = clock
        self._entropy = entropy
        self._revocations = revocations
        self._asked: dict[str, _Asked] = {}
        self.presence = Presence()
        self.commander = Commander(judge.commander, transport, clock, entropy, self.presence)
        self.listeners: list[Callable[[Outcome], None]] = []
        """Whoever wants to know of verdicts that were sent home."""

    async def command(self, device: str, name: str, args: dict[str, object]) -> str:
        """Sign and send one command; its id."""
        identifier = self.commander.new_id()
        await self.commander.send(device, name, identifier, args)
        return identifier

    def enrolled(self, device: str) -> EnrolledDevice:
        """The live enrolment of a device. Raises UsageFault `device-unknown`, Refusal `device-decommissioned`."""
        record = self._registry.find(device)
        if record is None and self._registry.ended(device) is not None:
            raise Refusal(DEVICE_DECOMMISSIONED, f"{device} proved that it was sanitised")
        if record is None:
            raise UsageFault("device-unknown", f"{device} is not enrolled here", remedy="enrol it first")
        return record

    async def challenge(self, device: str, timeout_s: float = 30.0) -> Outcome:
        """Challenge a device as soon as it is there; NetworkFault `no-evidence` where nothing comes back in time.

        Raises UsageFault `device-unknown`, or `challenge-under-way` where the last one has not ended yet; Refusal
        `device-decommissioned`; NetworkFault `challenge-refused` with the device's own reason.
        """
        record = self.enrolled(device)
        if device in self._asked:
            detail = f"the last challenge of {device} has not ended yet"
            raise UsageFault("challenge-under-way", detail, remedy="wait for its verdict")
        nonce = check_nonce(self._entropy.bytes(NONCE_BYTES))
        asked = self._asked[device] = _Asked(nonce, self.commander.new_id(), asyncio.get_running_loop().create_future())
        try:
            data = await self._evidence(record, asked, timeout_s)
            expected, anchors = self._expected(record, nonce), self._anchors()
            outcome = await asyncio.to_thread(self._judge_evidence, expected, anchors, record.device, nonce, data)
            await self._announce(outcome)
        finally:
            del self._asked[device]  # not before: the next one is held against the clock that this one leaves
        for listener in self.listeners:
            listener(outcome)
        return outcome

    async def _evidence(self, record: EnrolledDevice, asked: _Asked, timeout_s: float) -> bytes:
        device = record.device
        try:
            async with asyncio.timeout(timeout_s):
                await self.presence.online(device)
                args: dict[str, object] = {
                    "nonce": asked.nonce,
                    "appraiser": self._judge.name,
                    "ledger": record.ledger_size,
                }
                await self.commander.send(device, "attest", asked.command, args)
                return await asked.arrival
        except TimeoutError:
            detail = f"{device} sent no evidence within {timeout_s:.0f} s"
            raise NetworkFault("no-evidence", detail, remedy="look at the device's state/health") from None

    def arrived(self, device: str, data: bytes, nonce: bytes | None) -> None:
        """Evidence came in on the device's own topic; `nonce` is the challenge that it says it answers.

        That is believed no further than to leave a late answer to an earlier challenge out.
        """
        asked = self._asked.get(device)
        if asked is None or asked.arrival.done() or nonce != asked.nonce:
            log.info("%s sent evidence that nobody asked for", device)
        else:
            asked.arrival.set_result(data)

    def answered(self, device: str, command: str, payload: bytes) -> None:
        """What became of an `attest` command, as the device says; only a refusal is of interest."""
        asked = self._asked.get(device)
        if asked is None or asked.arrival.done() or command != asked.command:
            return
        fields = payloads.parse(payload).fields
        if fields.get("outcome") == "refused":
            detail = f"{device}: {fields.get('code')}: {fields.get('detail')}"
            remedy = "mend what the device says; its state/health has more"
            asked.arrival.set_exception(NetworkFault("challenge-refused", detail, remedy=remedy))

    def _anchors(self) -> Anchors:
        anchors = self._judge.anchors
        return replace(anchors, revocations=[*anchors.revocations, self._revocations()])

    def _expected(self, record: EnrolledDevice, nonce: bytes) -> Expectation:
        return Expectation(
            appraiser=self._judge.name,
            device=record.device,
            nonce=nonce,
            attestation_key=load_spki(record.attestation_key),
            client_key_thumbprint=record.client_key_thumbprint,
            last_clock=record.last_clock,
            ledger=LedgerExpectation(record.nv_names, record.last_head),
            floor=self._registry.floor(record.ek_hash),
            qualified_name=record.qualified_name,
        )

    def _judge_evidence(
        self, expected: Expectation, anchors: Anchors, device: str, nonce: bytes, data: bytes
    ) -> Outcome:
        judge = self._judge
        now = self._clock.now().ms // 1000
        occasion = Occasion(device, nonce, evidence_digest(data), now, DEVELOPER, __version__, judge.policy.id)
        appraisal, refused = None, None
        try:
            appraisal = appraise(UnverifiedEvidence.parse(data), expected, anchors, judge.policy, now)
            ear = affirm(occasion, appraisal)
        except MedvouchError as error:
            refused = error
            ear = contraindicate(occasion, error)
        return Outcome(device, nonce, data, ear, sign_result(ear, judge.signer), appraisal, refused)

    async def _announce(self, outcome: Outcome) -> None:
        appraisal, judged = outcome.appraisal, _judged(outcome)
        if appraisal is not None:
            self._registry.accepted(outcome.device, appraisal.boot_clock, appraisal.ledger_head, judged)
        else:
            self._registry.refused(outcome.device, judged)
        await self._transport.publish(topics.result(outcome.device, outcome.nonce), outcome.result)
        error = outcome.error
        fields = {
            "about": outcome.device,
            "status": outcome.ear.status.name.lower(),
            "nonce": outcome.nonce.hex(),
            "code": error.code if error else None,
            "place": error.place if error else None,
            "detail": error.detail if error else None,
        }
        await self._events.publish("appraisal", fields)


def _judged(outcome: Outcome) -> Judged:
    """What is kept of a verdict."""
    code = outcome.error.code if outcome.error else ""
    release = outcome.appraisal.release or "" if outcome.appraisal else ""
    return Judged(outcome.ear.status.name.lower(), code, release, outcome.ear.issued_at)
