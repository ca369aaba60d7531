"""The attacks of the demo: each acts on bytes, TPM commands, disks or sockets, and is expected to meet one code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.attester import Attester
from medvouch.attestation.evidence import QuoteRecord, UnverifiedEvidence, qualifying_data
from medvouch.attestation.policy import STATIC_PCRS
from medvouch.attestation.provisioning import attestation_key
from medvouch.daemon.enrolling import enrol
from medvouch.daemon.health import Health
from medvouch.daemon.worker import Worker
from medvouch.errors import Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cose import Sign1
from medvouch.formats.enrolment import Request
from medvouch.formats.tpm import PcrSelection
from medvouch.messages import topics
from medvouch.ports import Transport
from medvouch_sim import uki
from medvouch_sim.demo.malware import Forge, altered, answering, lying_enrollee, stolen_lak, with_eat
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway
from medvouch_sim.site import APPRAISER

Provoke = Callable[[], Awaitable[object]]
Plan = Callable[[Stage, Gateway], AsyncIterator[Provoke]]
GIGABYTE = 1 << 30
FREE_PCR = 13
"""A static PCR that nothing in the boot chain uses."""


@dataclass(frozen=True)
class Attack:
    """`code` is what it must be refused with; `plan` prepares it, yields what sets it off, and repairs the damage."""

    name: str
    code: str
    plan: Plan


async def carry_out(attack: Attack, stage: Stage, gateway: Gateway) -> None:
    """Prepare, provoke, record what the observer heard on MQTT, repair."""
    async with asynccontextmanager(attack.plan)(stage, gateway) as provoke:
        try:
            heard = await stage.refused_with(gateway, attack.name, provoke)
            fields = heard.payload.fields if heard.payload else {}
            place, detail = fields.get("place") or "", fields.get("detail") or ""
            told = f"{place}: {detail}" if place else str(detail)
            actual = heard.code if heard.topic.device in {gateway.device, APPRAISER} else f"{heard.code} elsewhere"
            stage.record(gateway.name, "attack", attack.name, attack.code, actual, code=heard.code, detail=told)
        except TimeoutError:
            stage.record(gateway.name, "attack", attack.name, attack.code, "unnoticed")


# --- on the disk -----------------------------------------------------------------------------------------------------


async def modified_kernel(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """One byte of the kernel inside the boot image."""
    async with _another_kernel(gateway):
        yield lambda: stage.collector.challenger.challenge(gateway.device)


async def edited_log(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The same, and the log says that the good image was started."""
    honest = gateway.machine.uefi_log.read_bytes()
    async with _another_kernel(gateway):
        gateway.machine.uefi_log.write_bytes(honest)
        yield lambda: stage.collector.challenger.challenge(gateway.device)


@asynccontextmanager
async def _another_kernel(gateway: Gateway) -> AsyncIterator[None]:
    """Booted with one byte of .linux changed inside; with the original after."""
    machine = gateway.machine
    original = machine.image
    at = original.uki.index(dict(uki.sections(original.uki))[".linux"])
    other = original.uki[:at] + bytes([original.uki[at] ^ 1]) + original.uki[at + 1 :]
    await gateway.shut_down()
    machine.alter_running_image(lambda image: replace(image, uki=other))
    await gateway.boot()
    yield
    await gateway.shut_down()
    machine.alter_running_image(lambda _: original)
    await gateway.boot()


async def truncated_log(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The log ends in the middle of its last event."""
    log = gateway.machine.uefi_log
    honest = log.read_bytes()
    log.write_bytes(honest[:-3])
    yield lambda: stage.collector.challenger.challenge(gateway.device)
    log.write_bytes(honest)


async def gigabyte_log(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The log is a gigabyte long (a sparse file)."""
    log = gateway.machine.uefi_log
    honest = log.read_bytes()
    os.truncate(log, GIGABYTE)
    yield lambda: stage.collector.challenger.challenge(gateway.device)
    log.write_bytes(honest)


async def restored_tpm(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The TPM's own state, put back to what it was some boots ago."""
    state = gateway.tpm.state_dir
    old, present = state.with_name("tpm-old"), state.with_name("tpm-present")
    await gateway.shut_down()
    shutil.copytree(state, old)
    for _ in range(2):
        await gateway.boot()
        await gateway.shut_down()
    await gateway.boot()
    await stage.challenge(gateway, "before the TPM is restored")
    await gateway.shut_down()
    shutil.copytree(state, present)
    _replace_folder(state, old)
    mark = stage.mark
    await gateway.boot()
    await stage.observer.first(lambda heard: heard.code == "tpm-behind-ledger", since=mark)  # it notices by itself, too
    yield lambda: stage.collector.challenger.challenge(gateway.device)
    await gateway.shut_down()
    _replace_folder(state, present)
    await gateway.boot()


def _replace_folder(target: Path, source: Path) -> None:
    shutil.rmtree(target)
    source.rename(target)


# --- in the TPM ------------------------------------------------------------------------------------------------------


async def extended_pcr(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """Something extends a PCR and writes no log."""
    with TssTpm(gateway.tpm.tcti()) as tpm:
        tpm.pcr_extend(FREE_PCR, {HashAlg.SHA256: bytes(range(32))})
    yield lambda: stage.collector.challenger.challenge(gateway.device)
    await gateway.reboot()


# --- in the evidence -------------------------------------------------------------------------------------------------


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


# --- on the network --------------------------------------------------------------------------------------------------


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


# --- at enrolment ----------------------------------------------------------------------------------------------------


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

SERVICE_ATTACKS: Sequence[tuple[int, Attack]] = (
    (0, Attack("second enrolment of an EK", "ek-already-enrolled", second_enrolment)),
    (0, Attack("modified kernel", "event-unexpected", modified_kernel)),
    (0, Attack("event log edited to hide it", "pcr-mismatch", edited_log)),
    (0, Attack("non-reset PCR without events", "pcr-unexplained", extended_pcr)),
    (0, Attack("truncated log", "eventlog-truncated", truncated_log)),
    (0, Attack("log of a gigabyte", "eventlog-too-large", gigabyte_log)),
    (1, Attack("replayed evidence", "nonce-mismatch", forged(replayed))),
    (1, Attack("PCRs relabelled", "pcr-values-relabelled", forged(relabelled))),
    (1, Attack("empty PCR selection", "pcr-selection-empty", forged(empty_selection))),
    (1, Attack("quote from another TPM", "quote-signature-invalid", forged(quote_of_another_tpm))),
    (1, Attack("evidence meant for another appraiser", "audience-mismatch", forged(for_another_appraiser))),
    (1, Attack("evidence and quote from different challenges", "binding-mismatch", forged(mixed_challenges))),
    (2, Attack("resetCount going back", "tpm-cleared", restored_tpm)),
    (2, Attack("copied TLS key on another gateway", "identity-mismatch", copied_key)),
    (2, Attack("client-id takeover", "session-taken-over", client_id_takeover)),
    (2, Attack("device writing its own cmd", "publish-refused", own_command)),
)
"""(number of the gateway, attack)."""
