"""The life of each gateway in the demo, chapter by chapter: what it goes through before the attacks, and after them."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.endorsements import read_certificate, read_ek_chain
from medvouch.attestation.provisioning import EK_CERTIFICATE_INDEX
from medvouch.crypto.certificates import EK
from medvouch.crypto.x509 import verify_chain
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection
from medvouch.messages import topics
from medvouch_sim.demo.stage import Stage
from medvouch_sim.fixtures import SECURITY_EPOCHS
from medvouch_sim.gateway import Gateway
from medvouch_sim.observer import Heard
from medvouch_sim.site import OWNER

GATEWAYS = ("gw1", "gw2", "gw3")
CERTIFIED = "TPM of a trusted vendor"
REPLAYED = "as tpm2_eventlog says"
FIRMWARE_PCRS = range(8)
"""What the firmware alone extends; tpm2_eventlog knows nothing of IMA and systemd."""
NEXT_RELEASE = "1.1.0"


class Teller:
    """Records the steps of one gateway."""

    def __init__(self, stage: Stage, gateway: Gateway) -> None:
        self._stage = stage
        self._gateway = gateway

    def __call__(self, name: str, expected: str, actual: object, *, code: str = "", detail: str = "") -> None:
        """One row."""
        self._stage.record(self._gateway.name, "step", name, expected, str(actual), code=code, detail=detail)


Play = Callable[[Stage, Gateway, Teller], Awaitable[None]]


@dataclass(frozen=True)
class Chapter:
    """Steps in order, and what plays them; only gateways named in `gateways` go through it."""

    steps: Sequence[str]
    play: Play
    gateways: Sequence[str] = GATEWAYS

    async def played(self, stage: Stage, gateway: Gateway) -> None:
        """Play it, where this gateway is one of those."""
        if gateway.name in self.gateways:
            await self.play(stage, gateway, Teller(stage, gateway))


async def into_service(stage: Stage, gateway: Gateway, tell: Teller) -> None:
    """From the factory to an accountable owner."""
    mark = stage.mark
    await gateway.boot()
    tell("manufactured", CERTIFIED, await asyncio.to_thread(_manufactured, gateway))
    tell("measured boot", REPLAYED, await asyncio.to_thread(_measured, gateway))
    enrolled = await stage.observer.first(lambda heard: _enrolment(heard, gateway), since=mark)
    tell("enrolled", "enrolled", enrolled.code or "enrolled", code=enrolled.code)
    await stage.online(gateway, since=mark)
    mark = stage.mark
    await stage.collector.challenger.command(gateway.device, "commission", {"owner": OWNER})
    commissioned = await stage.observer.first(lambda heard: _answered(heard, gateway), since=mark)
    tell("commissioned", OWNER, commissioned.payload.fields.get("owner") if commissioned.payload else None)


async def attested(stage: Stage, gateway: Gateway, tell: Teller) -> None:
    """Found good, told so, and found good again after a reboot."""
    outcome = await stage.challenge(gateway, "attested")
    boots = outcome.ear.boot_count or 0
    tell("attested", "affirming", outcome.ear.status.name.lower(), code=_code(outcome.error))
    tell("verdict at home", "affirming", _verdict_at_home(gateway))
    await gateway.reboot()
    outcome = await stage.challenge(gateway, "attested again")
    tell("rebooted", "resetCount up", "resetCount up" if (outcome.ear.boot_count or 0) > boots else "resetCount not up")
    tell("attested again", "affirming", outcome.ear.status.name.lower(), code=_code(outcome.error))


async def updated(stage: Stage, gateway: Gateway, tell: Teller) -> None:
    """Directed to the next release, which counts as attested only once the appraiser has seen it run."""
    mark = stage.mark
    stage.publish(gateway, stage.release(NEXT_RELEASE))
    await stage.look(gateway)
    for state in ("staged", "activated"):
        told = await stage.update(gateway, state, "failed", since=mark)
        tell(f"update {state}", state, told["state"], code=str(told.get("reason", "")))
    await gateway.reboot()
    told = await stage.update(gateway, "self_checked", "failed", since=mark)
    tell("update self-checked", "installed_unattested", told.get("outcome"), code=str(told.get("reason", "")))
    outcome = await stage.challenge(gateway, f"attested on {NEXT_RELEASE}")
    release = outcome.appraisal.release if outcome.appraisal else "an unknown release"
    status = outcome.ear.status.name.lower()
    actual = status if release == NEXT_RELEASE else f"{status} on {release}"
    tell(f"attested on {NEXT_RELEASE}", "affirming", actual, code=_code(outcome.error))
    told = await stage.update(gateway, "closed", "failed", since=mark)
    tell("update closed", "attested", told.get("outcome"), code=str(told.get("reason", "")))
    raised = await stage.observer.first(
        lambda heard: heard.topic == topics.Event(gateway.device, "floor-raised"), since=mark
    )
    epoch = raised.payload.fields.get("security_epoch") if raised.payload else None
    tell("floor raised", f"epoch {SECURITY_EPOCHS[NEXT_RELEASE]}", f"epoch {epoch}")


async def healthy(stage: Stage, gateway: Gateway, tell: Teller) -> None:
    """All that was done to it has left no trace."""
    outcome = await stage.challenge(gateway, "healthy after all attacks")
    tell("healthy after all attacks", "affirming", outcome.ear.status.name.lower(), code=_code(outcome.error))


LIFE: Sequence[Chapter] = (
    Chapter(("manufactured", "measured boot", "enrolled", "commissioned"), into_service),
    Chapter(("attested", "verdict at home", "rebooted", "attested again"), attested),
    Chapter(
        (
            "update staged",
            "update activated",
            "update self-checked",
            f"attested on {NEXT_RELEASE}",
            "update closed",
            "floor raised",
        ),
        updated,
    ),
)
"""Before the attacks."""
RECOVERY: Sequence[Chapter] = (Chapter(("healthy after all attacks",), healthy),)
"""After them."""


def step_rows(*parts: Sequence[Chapter]) -> Sequence[tuple[str, str]]:
    """(gateway, step) of the chapters of these parts, gateway by gateway."""
    return [
        (name, step)
        for part in parts
        for name in GATEWAYS
        for chapter in part
        if name in chapter.gateways
        for step in chapter.steps
    ]


def _manufactured(gateway: Gateway) -> str:
    with TssTpm(gateway.tpm.tcti()) as tpm:
        leaf, chain = read_certificate(tpm, EK_CERTIFICATE_INDEX), read_ek_chain(tpm)
    roots = [gateway.site.vendor.root.certificate]
    verify_chain(leaf, chain, roots, gateway.site.started_at, profile=EK)
    return CERTIFIED


def _measured(gateway: Gateway) -> str:
    with TssTpm(gateway.tpm.tcti()) as tpm:
        present = tpm.pcr_read(PcrSelection.of({HashAlg.SHA256: FIRMWARE_PCRS}))[HashAlg.SHA256]
    command = ["tpm2_eventlog", str(gateway.machine.uefi_log)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    replayed = told[told.index("\npcrs:") :].partition("sha256:")[2]
    values = {int(pcr): bytes.fromhex(value) for pcr, value in re.findall(r"(\d+)\s*: 0x([0-9a-f]{64})\b", replayed)}
    differing = [pcr for pcr in FIRMWARE_PCRS if values.get(pcr) != present[pcr]]
    return f"PCRs {differing} differ" if differing else REPLAYED


def _verdict_at_home(gateway: Gateway) -> str:
    service = gateway.agent.service if gateway.agent else None
    verdict = service.status()["attestation"] if service else None
    return str(verdict["status"]) if isinstance(verdict, dict) else "none"


def _enrolment(heard: Heard, gateway: Gateway) -> bool:
    payload = heard.payload
    if payload is None or payload.schema not in {"event/enrolled", "event/enrolment-refused"}:
        return False
    return payload.fields.get("about") == gateway.device


def _answered(heard: Heard, gateway: Gateway) -> bool:
    topic = heard.topic
    return isinstance(topic, topics.Response) and (topic.device, topic.name) == (gateway.device, "commission")


def _code(error: object) -> str:
    return str(getattr(error, "code", "") or "")
