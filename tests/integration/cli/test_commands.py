"""The commands in one process with the agent that they talk to."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from medvouch.adapters.tss import TssTpm
from medvouch.cli import commands, wiring
from medvouch.errors import StorageFault
from medvouch.messages import topics
from support import sites
from support.cli import Called, Caller
from support.sites import Scene

NONCE = "00112233445566778899aabbccddeeff"


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A gateway in service, its control socket open."""
    async with sites.scene(tmp_path) as scene:
        agent = await scene.gateway.boot()
        async with wiring.control_server(scene.gateway.config(), agent):
            await scene.state("health")
            yield scene


@pytest.fixture
def medvouch(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


async def call(medvouch: Caller, *arguments: object) -> Called:
    return await asyncio.to_thread(medvouch, *arguments)


async def becomes(scene: Scene, state: str) -> None:
    async with asyncio.timeout(15):
        while scene.agent.health.state != state:  # noqa: ASYNC110 - health tells of changes once, and somebody listens
            await asyncio.sleep(0.05)


async def test_status(scene: Scene, medvouch: Caller) -> None:
    config = scene.gateway.config_path
    called = await call(medvouch, "status", "--config", config)
    assert (called.code, called.err) == (0, "")
    assert re.search(r"^attestation +never judged$", called.out, re.MULTILINE)
    await scene.collector.challenger.challenge(scene.device)
    await scene.event("attestation")
    document = (await call(medvouch, "status", "--config", config, "--json")).json
    assert document["attestation"]["status"] == "affirming"
    assert document["problems"] == []
    scene.agent.health.report("x", StorageFault("x-broken", "it is \x1b[2J broken", remedy="mend it"))
    called = await call(medvouch, "status", "--config", config)
    assert called.code == 6
    assert called.out.endswith("x: x-broken: it is \\x1b[2J broken; mend it\n")


async def test_attest_and_verify(scene: Scene, medvouch: Caller, tmp_path: Path) -> None:
    config, trust, out = scene.gateway.config_path, scene.site.trust_path, tmp_path / "evidence"
    attest = ("attest", "--config", config, "--nonce", NONCE, "--out", out)
    assert (await call(medvouch, *attest, "--json")).json["appraiser"] == "collector"
    assert (await call(medvouch, "verify", out, "--trust", trust, "--nonce", NONCE, "--json")).code == 0
    text = (await call(medvouch, "verify", out, "--trust", trust)).out
    assert "freshness    not judged (no --nonce)\n" in text
    assert "sha256:7   match" in text
    await call(medvouch, *attest, "--appraiser", "somebody")
    called = await call(medvouch, "verify", out, "--trust", trust, "--json")
    assert (called.code, called.json["code"]) == (1, "audience-mismatch")


async def test_evidence_that_is_not_explained(scene: Scene, medvouch: Caller, tmp_path: Path) -> None:
    """The table of PCRs goes with the refusal."""
    config, out = scene.gateway.config_path, tmp_path / "evidence"
    log = scene.gateway.machine.uefi_log
    log.write_bytes(log.read_bytes().replace(b"Calling EFI Application", b"Kalling EFI Application"))
    scene.gateway.machine.ima_log.write_bytes(b"")
    await call(medvouch, "attest", "--config", config, "--nonce", NONCE, "--out", out)
    verify = ("verify", out, "--trust", scene.site.trust_path)
    document = (await call(medvouch, *verify, "--json")).json
    assert document["code"] == "pcr-unexplained"
    assert {row["pcr"]: row["status"] for row in document["pcrs"]}[10] != "match"
    assert "sha256:10" in (await call(medvouch, *verify)).out


async def test_the_link_is_a_component_of_health(scene: Scene, medvouch: Caller) -> None:
    scene.site.broker.stop()
    await becomes(scene, "degraded")
    called = await call(medvouch, "status", "--config", scene.gateway.config_path, "--json")
    assert called.code == 5
    (problem,) = called.json["problems"]
    assert (problem["component"], problem["code"].split("-")[0]) in {("broker", "broker"), ("broker", "session")}
    scene.site.broker.start()
    await becomes(scene, "ok")


async def test_what_the_broker_refuses_becomes_an_event(scene: Scene) -> None:
    topic = topics.command(scene.device, "attest", "1")
    assert scene.agent.reporter is not None
    await scene.agent.reporter.send(topic, b"my own command")
    assert (await scene.event("publish-refused"))["topic"] == topic
    mark = scene.mark
    await scene.agent.reporter.send("medvouch/v1/elsewhere/event/x", b"an event of another device")
    assert (await scene.event("publish-refused", since=mark))["topic"] == "medvouch/v1/elsewhere/event/x"
    await scene.agent.reporter.flushed()


async def test_run_until_told_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal tells it; what is published last says that it went on purpose."""
    async with sites.scene(tmp_path) as scene:
        gateway = scene.gateway
        await asyncio.to_thread(gateway.power_on)
        gateway.config()
        tpm = TssTpm(gateway.tpm.tcti())
        monkeypatch.setattr(wiring, "TssTpm", lambda tcti: tpm)  # a socketpair has no TCTI string
        running = asyncio.create_task(commands._serve(gateway.config_path))
        await scene.status("online")
        os.kill(os.getpid(), signal.SIGTERM)
        await running
        await scene.status("offline")
