"""Attacks on evidence: malware with root answers the challenge instead of the agent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.attester import Attester
from medvouch.attestation.evidence import QuoteRecord, UnverifiedEvidence, qualifying_data
from medvouch.attestation.policy import STATIC_PCRS
from medvouch.attestation.provisioning import attestation_key
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cose import Sign1
from medvouch.formats.tpm import PcrSelection
from medvouch_sim.demo.attacks.base import Attack, Plan, Provoke
from medvouch_sim.demo.malware import Forge, altered, answering, with_eat
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway


def forged(forge: Callable[[Stage, Gateway], Forge]) -> Plan:
    """A plan in which malware answers the challenge instead of the agent."""

    async def plan(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
        await gateway.stop_agent()
        async with answering(gateway, forge(stage, gateway)):
            yield lambda: stage.collector.challenger.challenge(gateway.device)
        await gateway.start_agent()

    return plan


def replayed(stage: Stage, gateway: Gateway) -> Forge:
    """What the device sent when it was last found good."""
    old = stage.outcomes[gateway.device].evidence
    return lambda attester, nonce, appraiser: old


def relabelled(stage: Stage, gateway: Gateway) -> Forge:
    """The value of PCR 12 is shown as PCR 4's, and PCR 4's as PCR 16's."""

    def move(record: QuoteRecord) -> QuoteRecord:
        values = dict(record.pcrs[HashAlg.SHA256])
        values[16], values[4] = values[4], values.pop(12)
        return replace(record, pcrs={HashAlg.SHA256: dict(sorted(values.items()))})

    return lambda attester, nonce, appraiser: altered(attester.evidence(nonce, appraiser, STATIC_PCRS), move)


def empty_selection(stage: Stage, gateway: Gateway) -> Forge:
    """A true quote, over no PCR."""
    return lambda attester, nonce, appraiser: attester.evidence(nonce, appraiser, PcrSelection.of({HashAlg.SHA256: ()}))


def quote_of_another_tpm(stage: Stage, gateway: Gateway) -> Forge:
    """The claims of this device, bound by the TPM of a healthy one."""
    healthy = next(other for other in stage.gateways if other is not gateway)

    def forge(attester: Attester, nonce: bytes, appraiser: str) -> bytes:
        evidence = attester.evidence(nonce, appraiser, STATIC_PCRS)
        payload = Sign1.parse(UnverifiedEvidence.parse(evidence).eat).payload or b""
        with TssTpm(healthy.tpm.tcti()) as tpm:
            quote = tpm.quote(attestation_key(tpm), qualifying_data(appraiser, nonce, payload), STATIC_PCRS)
        return altered(evidence, lambda record: replace(record, quote=quote))

    return forge


def for_another_appraiser(stage: Stage, gateway: Gateway) -> Forge:
    """A true answer to this nonce, made for somebody else who relays challenges."""
    return lambda attester, nonce, appraiser: attester.evidence(nonce, "other-appraiser", STATIC_PCRS)


def mixed_challenges(stage: Stage, gateway: Gateway) -> Forge:
    """Fresh claims, with the quote that was made for an earlier challenge."""
    old = stage.outcomes[gateway.device].evidence

    def forge(attester: Attester, nonce: bytes, appraiser: str) -> bytes:
        return with_eat(old, UnverifiedEvidence.parse(attester.evidence(nonce, appraiser, STATIC_PCRS)).eat)

    return forge


EVIDENCE_ATTACKS: Sequence[Attack] = (
    Attack("replayed evidence", "nonce-mismatch", forged(replayed)),
    Attack("PCRs relabelled", "pcr-values-relabelled", forged(relabelled)),
    Attack("empty PCR selection", "pcr-selection-empty", forged(empty_selection)),
    Attack("quote from another TPM", "quote-signature-invalid", forged(quote_of_another_tpm)),
    Attack("evidence meant for another appraiser", "audience-mismatch", forged(for_another_appraiser)),
    Attack("evidence and quote from different challenges", "binding-mismatch", forged(mixed_challenges)),
)
