"""Attacks on the network: stolen keys, others' names, commands that nobody issued."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence

from medvouch.adapters.system import SystemClock
from medvouch.attestation.attester import Attester
from medvouch.attestation.policy import STATIC_PCRS
from medvouch.messages import topics
from medvouch.messages.commands import issue_command
from medvouch_sim.demo.attacks.base import Attack, Plan, Provoke
from medvouch_sim.demo.malware import answering
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway
from medvouch_sim.publisher import signer

MINUTE_MS = 60_000


async def copied_key(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The connection key of one gateway, copied to another, which answers with its own good state."""
    thief = next(other for other in stage.gateways if other is not gateway)
    await gateway.stop_agent()
    await thief.stop_agent()
    async with answering(thief, _honest, posing_as=gateway):
        yield lambda: stage.collector.challenger.challenge(gateway.device)
    await thief.start_agent()
    await gateway.start_agent()


def _honest(attester: Attester, nonce: bytes, appraiser: str) -> bytes:
    return attester.evidence(nonce, appraiser, STATIC_PCRS)


async def client_id_takeover(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """A valid device connects under another's client id; the broker lets it throw off nobody but itself."""
    target = next(other for other in stage.gateways if other is not gateway)
    intruder = stage.site.connect(target.device, gateway.client)
    try:
        yield lambda: intruder.start([])
    finally:
        await intruder.close()


async def own_command(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """A device issues a command to itself, over its own agent's connection."""

    async def publish() -> None:
        if gateway.agent and gateway.agent.reporter:
            await gateway.agent.reporter.send(topics.command(gateway.device, "commission", "1"), b"\xd2\x84")

    yield publish


def commanded(role: str = "commander", *, age_ms: int = 0, times: int = 1) -> Plan:
    """A plan in which a command signed by `role` so long ago, good for a minute, is published so often."""

    async def plan(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
        issued, identifier = SystemClock().now().ms - age_ms, secrets.token_hex(8)
        command = issue_command(
            signer(role), "update", identifier, gateway.device, {}, issued_at=issued, expires_at=issued + MINUTE_MS
        )

        async def publish() -> None:
            for _ in range(times):
                await stage.send(topics.command(gateway.device, "update", identifier), command)

        yield publish

    return plan


NETWORK_ATTACKS: Sequence[Attack] = (
    Attack("copied TLS key on another gateway", "identity-mismatch", copied_key),
    Attack("client-id takeover", "session-taken-over", client_id_takeover),
    Attack("device writing its own cmd", "publish-refused", own_command),
    Attack("forged command", "command-forged", commanded("quality")),
    Attack("expired command", "command-expired", commanded(age_ms=2 * MINUTE_MS)),
    Attack("replayed command", "command-replayed", commanded(times=2)),
)
