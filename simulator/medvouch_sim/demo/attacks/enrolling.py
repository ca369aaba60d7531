"""Attacks on enrolment: who gets in that should not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from medvouch.adapters.tss import TssTpm
from medvouch.daemon.enrolling import enrol
from medvouch.daemon.health import Health
from medvouch.daemon.worker import Worker
from medvouch.errors import Refusal
from medvouch.formats.enrolment import Request
from medvouch.messages import topics
from medvouch.ports import Transport
from medvouch_sim.demo.attacks.base import Attack, Plan, Provoke
from medvouch_sim.demo.malware import lying_enrollee, stolen_lak
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway


async def plain_enrolment(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The gateway enrols as every gateway does; what is wrong with it was wrong when it was built."""

    async def start() -> None:
        await gateway.boot()

    yield start
    await _end(gateway)


async def _end(gateway: Gateway) -> None:
    with contextlib.suppress(Refusal):  # the agent has ended with the refusal that it got
        await gateway.stop_agent()
    gateway.power_off()


def lying(alter: Callable[[Stage, Request], Request]) -> Plan:
    """A plan in which the gateway's agent alters its own enrolment request."""

    async def plan(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
        await asyncio.to_thread(gateway.power_on)
        transport = gateway.bootstrap_transport()
        with TssTpm(gateway.tpm.tcti()) as tpm:
            enrollee = lying_enrollee(gateway, tpm, lambda request: alter(stage, request))
            yield lambda: enrol(transport, enrollee, Worker(), lambda identity: None, gateway.bootstrap_name, Health())
        await transport.close()
        gateway.power_off()

    return plan


async def second_enrolment(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The enrolment request of a device in service, once more."""
    request = next(
        heard.message.payload
        for heard in stage.observer.heard
        if heard.topic == topics.Enrolment(gateway.bootstrap_name, "request")
    )
    transport: Transport = gateway.bootstrap_transport()
    await transport.start([])
    yield lambda: transport.publish(topics.enrolment(gateway.bootstrap_name, "request"), request)
    await transport.close()


ENROLMENT_ATTACKS: Sequence[tuple[str, Attack]] = (
    ("wrong-vendor", Attack("wrong vendor root", "ek-chain-untrusted", plain_enrolment)),
    ("unlisted", Attack("genuine TPM that is not on the manifest", "ek-not-on-manifest", plain_enrolment)),
    (
        "liar",
        Attack(
            "AK not bound to the EK",
            "credential-not-activated",
            lying(lambda stage, request: replace(request, lak_public=stolen_lak(stage.gateways[0]))),
        ),
    ),
    (
        "liar",
        Attack(
            "unrestricted AK",
            "ak-not-restricted",
            lying(lambda stage, request: replace(request, lak_public=request.ldevid_public)),
        ),
    ),
)
"""(which gateway of the demo, attack)."""

SECOND_ENROLMENT = Attack("second enrolment of an EK", "ek-already-enrolled", second_enrolment)
