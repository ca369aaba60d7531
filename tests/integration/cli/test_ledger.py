"""`medvouch ledger`, and `medvouch verify` on what it exports, beside the agent whose ledger it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from medvouch.cli import wiring
from medvouch.formats.ledger import Bundle
from support import sites
from support.cli import Called, Caller
from support.sites import HOSPITAL, Scene


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A gateway that was commissioned and judged, its control socket open."""
    async with sites.scene(tmp_path) as scene:
        agent = await scene.gateway.boot()
        async with wiring.control_server(scene.gateway.config(), agent):
            await scene.state("health")
            identifier = await scene.collector.challenger.command(scene.device, "commission", {"owner": HOSPITAL})
            await scene.answer("commission", identifier)
            await scene.collector.challenger.challenge(scene.device)
            await scene.event("attestation")
            yield scene


@pytest.fixture
def medvouch(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


def read(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path, data: bytes) -> None:
    file.write_bytes(data)


async def call(medvouch: Caller, *arguments: object) -> Called:
    return await asyncio.to_thread(medvouch, *arguments)


async def test_a_ledger_from_the_agent_to_an_auditor(scene: Scene, medvouch: Caller, tmp_path: Path) -> None:
    config, trust, out = scene.gateway.config_path, scene.site.trust_path, tmp_path / "life.cbor"
    called = await call(medvouch, "ledger", "export", "--config", config, "--out", out)
    assert (called.code, called.err) == (0, "")
    assert called.out == f"3 entries and 2 checkpoints of {scene.device} in {out}\n"

    for command in (("ledger", "verify"), ("verify",)):
        called = await call(medvouch, *command, out, "--trust", trust)
        assert (called.code, called.err) == (0, "")
        assert "  1      " in called.out
        assert "enrolled -> commissioned" in called.out
        assert "TPM        confirms 2 of 3 entries\n" in called.out
        assert "appraiser  confirms 2 of 3 entries\n" in called.out
        document = (await call(medvouch, *command, out, "--trust", trust, "--json")).json
        assert (document["kind"], document["status"], document["device"]) == ("bundle", "holds", scene.device)
        assert document["owner"] == HOSPITAL
        assert document["states"] == {"life": "commissioned", "attestation": "affirming"}
        assert [row["attached"] for row in document["entries"]] == [["answer"], ["command"], ["ear"]]
        assert document["entries"][2]["verdict"]["confirms_entries"] == 2

    for of, file in (("the agent's", ()), ("the file's", (out,))):
        called = await call(medvouch, "ledger", "show", "--config", config, *file)
        assert called.code == 0, of
        assert called.out.startswith(f"ledger of {scene.device}: 3 entries, 2 checkpoints\n")
        assert called.out.endswith("read, not checked: see `medvouch ledger verify`\n")
    inspected = await call(medvouch, "inspect", "ledger", out, "--json")
    assert inspected.json == (await call(medvouch, "ledger", "show", out, "--json")).json
    called = await call(medvouch, "inspect", "cmw", out)
    assert "try `medvouch inspect ledger`" in called.err

    await assert_broken(scene, medvouch, out)


async def assert_broken(scene: Scene, medvouch: Caller, out: Path) -> None:
    """The first entry that does not hold is named and marked, whatever else can be read is shown."""
    verify = ("verify", out, "--trust", scene.site.trust_path)
    whole = read(out)
    bundle = Bundle.parse(whole)
    statement = bundle.entries[1].statement
    edited = replace(bundle.entries[1], statement=statement[:-1] + bytes([statement[-1] ^ 1]))
    write(out, replace(bundle, entries=(bundle.entries[0], edited, bundle.entries[2])).encode())
    called = await call(medvouch, *verify)
    assert called.code == 1
    assert "\n! 1      " in called.out
    assert "place   entry 1\n" in called.out
    document = (await call(medvouch, *verify, "--json")).json
    assert (document["status"], document["code"], document["place"]) == ("broken", "ledger-entry-forged", "entry 1")
    assert (await call(medvouch, "ledger", *verify, "--json")).json == document

    for data in (whole[:-1], whole + b"\0", whole[:100]):
        write(out, data)
        called = await call(medvouch, *verify)
        assert (called.code, called.err) == (1, "")
        assert "status  broken\n" in called.out
    write(out, whole)
    called = await call(medvouch, *verify, "--device", "f" * 32, "--json")
    assert (called.code, called.json["code"]) == (1, "bundle-other-device")
    called = await call(medvouch, *verify, "--nonce", "00" * 16)
    assert (called.code, called.err) == (2, "medvouch: usage: a ledger answers no challenge; leave out --nonce\n")
    called = await call(medvouch, *verify, "--at", "2126-01-01")
    assert called.code == 3
    assert called.err.startswith("medvouch: trust-expired: ")


async def test_a_device_that_nobody_enrolled_has_no_ledger(tmp_path: Path, medvouch: Caller) -> None:
    async with sites.scene(tmp_path, listed=False) as scene:
        scene.site.broker.stop()
        agent = await scene.gateway.boot()
        async with wiring.control_server(scene.gateway.config(), agent):
            out = tmp_path / "life.cbor"
            called = await call(medvouch, "ledger", "export", "--config", scene.gateway.config_path, "--out", out)
    assert called.code == 1
    assert called.err.startswith("medvouch: not-enrolled: ")
    assert not out.exists()
