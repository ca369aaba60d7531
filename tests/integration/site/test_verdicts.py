from __future__ import annotations

import json

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.evidence import evidence_digest
from medvouch.attestation.results import Occasion, contraindicate, sign_result
from medvouch.crypto.keys import Signer
from medvouch.daemon import attesting
from medvouch.errors import InputError, NetworkFault, TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.messages import topics
from support.sites import Scene, signer

NONCE, OTHER = bytes(range(32)), bytes(32)


async def asked(scene: Scene, nonce: bytes, identifier: str) -> bytes:
    """Challenge by hand; the evidence."""
    mark = scene.mark
    data = scene.command("attest", identifier, {"nonce": nonce, "appraiser": "collector"})
    await scene.send(topics.command(scene.device, "attest", identifier), data)
    heard = await scene.first(lambda heard: heard.topic == topics.Evidence(scene.device, "attestation"), since=mark)
    assert heard.message.correlation == nonce
    return heard.message.payload


def result(device: str, nonce: bytes, evidence: bytes, by: Signer | None = None) -> bytes:
    occasion = Occasion(device, nonce, evidence_digest(evidence), 1_800_000_000, "medvouch", "test", "release-1")
    return sign_result(contraindicate(occasion, InputError("cbor-malformed", "by hand")), by or signer("appraiser"))


async def test_a_verdict_is_kept_and_published(serving: Scene) -> None:
    outcome = await serving.collector.challenger.challenge(serving.device)
    assert outcome.ear.status.name == "AFFIRMING"
    event = await serving.event("attestation")
    assert (event["status"], event["nonce"]) == ("affirming", outcome.nonce.hex())
    assert await serving.state("attestation") == event
    retained = await serving.retained(topics.state(serving.device, "attestation"))
    assert json.loads(retained.payload)["status"] == "affirming"
    assert serving.agent.standing.last_verdict == outcome.ear
    appraisal = await serving.collected("appraisal")
    assert (appraisal["about"], appraisal["status"]) == (serving.device, "affirming")


async def test_a_verdict_against_the_device_comes_home_too(serving: Scene) -> None:
    with TssTpm(serving.gateway.tpm.tcti()) as tpm:
        tpm.pcr_extend(12, {HashAlg.SHA256: bytes(32)})
    outcome = await serving.collector.challenger.challenge(serving.device)
    assert outcome.error is not None
    state = await serving.state("attestation")
    assert (state["status"], state["code"]) == ("contraindicated", outcome.error.code)
    appraisal = await serving.collected("appraisal")
    assert (appraisal["code"], appraisal["detail"]) == (outcome.error.code, outcome.error.detail)
    record = serving.collector.registry.find(serving.device)
    assert record is not None
    assert record.reset_count == 0  # nothing is learnt from evidence that was refused


async def test_results_that_are_not_the_verdict_on_this_evidence(serving: Scene) -> None:
    evidence = await asked(serving, NONCE, "a1")
    refused = {
        "result-signature-invalid": result(serving.device, NONCE, evidence, signer("release")),
        "result-device-mismatch": result("0" * 32, NONCE, evidence),
        "result-nonce-mismatch": result(serving.device, OTHER, evidence),
        "result-evidence-mismatch": result(serving.device, NONCE, evidence + b"\0"),
    }
    for code, data in refused.items():
        await serving.send(topics.result(serving.device, NONCE), data)
        await serving.event("result-refused", code=code)
    assert serving.agent.standing.last_verdict is None

    good = result(serving.device, NONCE, evidence)
    await serving.send(topics.result(serving.device, NONCE), good)
    verdict = await serving.state("attestation")
    assert (verdict["status"], verdict["code"]) == ("contraindicated", "cbor-malformed")
    mark = serving.mark
    await serving.send(topics.result(serving.device, NONCE), good)
    await serving.event("result-refused", since=mark, code="result-evidence-mismatch")


async def test_a_result_that_nobody_waits_for_or_can_read(serving: Scene) -> None:
    await serving.send(topics.result(serving.device, NONCE), result(serving.device, NONCE, b""))
    await serving.event("result-refused", code="result-evidence-mismatch")
    await serving.send(topics.result(serving.device, NONCE), b"\xff")
    heard = await serving.event("result-refused", since=serving.mark - 1)
    assert heard["code"]


async def test_the_oldest_challenge_is_forgotten_first(serving: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attesting, "MAX_PENDING", 1)
    first = await asked(serving, NONCE, "a1")
    second = await asked(serving, OTHER, "a2")
    await serving.send(topics.result(serving.device, NONCE), result(serving.device, NONCE, first))
    await serving.event("result-refused", code="result-evidence-mismatch")
    await serving.send(topics.result(serving.device, OTHER), result(serving.device, OTHER, second))
    await serving.event("attestation", nonce=OTHER.hex())


async def test_evidence_that_cannot_be_made(serving: Scene) -> None:
    uefi = serving.gateway.machine.uefi_log
    log = uefi.read_bytes()
    uefi.unlink()
    data = serving.command("attest", "a1", {"nonce": NONCE, "appraiser": "collector"})
    code = await serving.refused("attest", "a1", data)
    assert (await serving.event("attestation-failed"))["code"] == code
    health = await serving.state("health", state="degraded")
    assert (health["component"], health["code"], health["problems"]) == ("attestation", code, 1)
    assert health["remedy"]
    mark = serving.mark
    uefi.write_bytes(log)
    assert (await serving.collector.challenger.challenge(serving.device)).error is None
    assert (await serving.state("health", since=mark))["state"] == "ok"


async def test_a_tpm_that_was_gone_for_a_while(serving: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent goes on by itself; nobody has to start it again."""

    def gone(_: bytes) -> bytes:
        raise TpmFault("tpm-unreachable", "the line to the TPM is cut")

    with monkeypatch.context() as cut:
        cut.setattr(type(serving.gateway.tpm), "begin", lambda _, data: gone(data))
        with pytest.raises(NetworkFault, match="tpm-unreachable"):
            await serving.collector.challenger.challenge(serving.device)
        health = await serving.state("health", state="degraded")
        assert (health["component"], health["code"]) == ("attestation", "tpm-unreachable")
    mark = serving.mark
    outcome = await serving.collector.challenger.challenge(serving.device)
    assert outcome.ear.status.name == "AFFIRMING"
    await serving.state("health", state="ok", since=mark)
