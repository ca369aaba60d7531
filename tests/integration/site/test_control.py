"""What the agent says to users of the machine itself, before and after it is enrolled."""

from __future__ import annotations

from typing import Any

import pytest

from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.errors import InputError, Refusal, TpmFault
from support.sites import Scene

NONCE = bytes(range(16))


async def test_status_of_a_device_in_service(serving: Scene) -> None:
    status = await serving.agent.control("status", {}, 0)
    assert (status["device"], status["life"], status["state"]) == (serving.device, "enrolled", "ok")
    assert (status["connected"], status["attestation"], status["problems"]) == (True, None, [])
    assert serving.agent.service is not None
    assert serving.agent.service.connected
    await serving.collector.challenger.challenge(serving.device)
    await serving.state("attestation")
    assert (await serving.agent.control("status", {}, 0))["attestation"]["status"] == "affirming"


async def test_status_of_a_device_that_nobody_lets_in(scene: Scene) -> None:
    scene.site.broker.stop()
    agent = await scene.gateway.boot()
    status = await agent.control("status", {}, 0)
    assert (status["device"], status["life"], status["connected"]) == ("", "manufactured", False)


@pytest.mark.parametrize(
    ("call", "args"),
    [
        ("update", {}),
        ("consent", {}),
        ("consent", {"cause": "opt-out"}),
        ("attest", {"nonce": NONCE.hex(), "appraiser": "auditor"}),
        ("ledger", {}),
    ],
    ids=["update", "consent", "opt-out", "attest", "ledger"],
)
async def test_what_a_device_does_not_do_before_it_is_in_service(scene: Scene, call: str, args: dict[str, Any]) -> None:
    scene.site.broker.stop()
    agent = await scene.gateway.boot()
    with pytest.raises(Refusal, match="not-enrolled"):
        await agent.control(call, args, 0)


async def test_evidence_for_a_user(serving: Scene) -> None:
    answer = await serving.agent.control("attest", {"nonce": NONCE.hex(), "appraiser": "auditor"}, 0)
    assert UnverifiedEvidence.parse(bytes.fromhex(answer["evidence"])).uefi


@pytest.mark.parametrize(
    ("call", "args"),
    [
        ("sing", {}),
        ("attest", {}),
        ("attest", {"nonce": "xy", "appraiser": "auditor"}),
        ("attest", {"nonce": 7, "appraiser": "auditor"}),
        ("attest", {"nonce": "00" * 7, "appraiser": "auditor"}),
        ("attest", {"nonce": "00" * 65, "appraiser": "auditor"}),
        ("attest", {"nonce": NONCE.hex(), "appraiser": 7}),
    ],
)
async def test_calls_that_are_none(serving: Scene, call: str, args: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="call-malformed"):
        await serving.agent.control(call, args, 0)


async def test_a_tpm_that_died(serving: Scene) -> None:
    serving.gateway.tpm.kill()
    with pytest.raises(TpmFault, match="tpm-unreachable"):
        await serving.agent.control("attest", {"nonce": NONCE.hex(), "appraiser": "auditor"}, 0)
    event = await serving.event("attestation-failed")
    assert event["code"] == "tpm-unreachable"
    health = await serving.state("health", state="degraded")
    assert (health["component"], health["code"]) == ("attestation", "tpm-unreachable")
    status = await serving.agent.control("status", {}, 0)
    assert status["problems"][0]["exit_code"] == 4
