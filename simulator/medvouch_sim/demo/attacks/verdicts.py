"""Attacks on the way home of a verdict: an update is not closed without one, nor by a false one."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

from medvouch.attestation.evidence import UnverifiedEvidence, evidence_digest
from medvouch.attestation.results import sign_result
from medvouch.collector.challenging import NONCE_BYTES
from medvouch.formats.cose import Sign1
from medvouch.formats.eat import Eat
from medvouch.messages import topics
from medvouch_sim.demo.attacks.base import Attack, Provoke, Trial
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway
from medvouch_sim.publisher import signer
from medvouch_sim.site import APPRAISER

UNATTESTED = "installed_unattested"


async def asked(stage: Stage, gateway: Gateway) -> tuple[bytes, bytes]:
    """Challenge the device past the collector: the nonce, and the evidence, which gets no answer."""
    nonce, mark = secrets.token_bytes(NONCE_BYTES), stage.mark
    args = {"nonce": nonce, "appraiser": APPRAISER, "ledger": 0}
    await stage.collector.challenger.command(gateway.device, "attest", args)
    heard = await stage.observer.first(lambda heard: heard.message.correlation == nonce, since=mark)
    return nonce, heard.message.payload


async def withheld(stage: Stage, gateway: Gateway) -> str:
    """Evidence goes out and no verdict comes back, not after another start either."""
    await asked(stage, gateway)
    mark = stage.mark
    await gateway.reboot()
    await stage.online(gateway, since=mark)
    await asked(stage, gateway)
    topic = topics.State(gateway.device, "update")
    heard = await stage.observer.first(lambda heard: heard.topic == topic, since=mark)
    return str(heard.payload.fields["outcome"]) if heard.payload else "unreadable"


async def forged_verdict(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """A good verdict on this very evidence and boot, signed by somebody who is no appraiser."""
    nonce, evidence = await asked(stage, gateway)
    claims = Eat.parse(Sign1.parse(UnverifiedEvidence.parse(evidence).eat).payload or b"")
    good = stage.outcomes[gateway.device].ear
    ear = replace(
        good,
        nonce=nonce,
        evidence_digest=evidence_digest(evidence),
        boot_count=claims.boot_count,
        ledger_head=claims.ledger_head,
    )
    yield lambda: stage.send(topics.result(gateway.device, nonce), sign_result(ear, signer("quality")))


WITHHELD = Trial("verdict withheld", UNATTESTED, withheld)
FORGED_VERDICT = Attack("forged verdict", "result-signature-invalid", forged_verdict)
