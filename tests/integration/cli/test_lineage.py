"""`medvouch ledger lineage` on the ledger of a gateway that was updated and judged."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.crypto.keys import key_thumbprint
from medvouch.daemon.exporting import export
from medvouch_sim.publisher import signer
from support.cli import Called, Caller
from support.release_documents import CVE, EUVD, GHSA, passed
from support.updating import Updatable, release, updatable


def exported(scene: Updatable, out: Path) -> None:
    store = SqliteStore(scene.gateway.state_dir / "state.db")
    try:
        out.write_bytes(export(store, scene.device))
    finally:
        store.close()


async def test_from_the_release_to_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    medvouch, life = Caller(capsys), tmp_path / "life.cbor"
    async with updatable(tmp_path) as scene:
        assert (await scene.collector.challenger.challenge(scene.device)).error is None
        await scene.event("attestation")
        mark = await scene.installed(release("1.1.0"))
        exported(scene, tmp_path / "before.cbor")
        assert (await scene.collector.challenger.challenge(scene.device)).error is None
        await scene.update("closed", since=mark)
        exported(scene, life)
        trust, device = scene.site.trust_path, scene.device

        async def call(*arguments: object) -> Called:
            return await asyncio.to_thread(medvouch, "ledger", "lineage", *arguments, "--trust", trust)

        document = (await call(tmp_path / "before.cbor", "--json")).json
        assert [row["outcome"] for row in document["installations"]] == ["installed_unattested"]
        called = await call(life, "--json")
        (row,) = called.json["installations"]
        assert called.json["delivered"]["version"] == "1.0.0"
        assert called.json["delivered"]["entry"] < row["verdict"]["entry"]
        assert (row["version"], row["sequence"], row["outcome"], row["fixes"]) == ("1.1.0", 2, "attested", None)
        assert row["release_signers"] == [key_thumbprint(signer(r).public_key).hex() for r in ("release", "release-2")]
        assert row["quality_signers"] == [key_thumbprint(signer("quality").public_key).hex()]
        assert (row["directive"], row["purpose"]) == ("releases/1.1.0/release.suit", "update")
        assert [step["state"] for step in row["steps"]][-2:] == ["self_checked", "closed"]
        assert row["verdict"]["boot_count"] == int(row["steps"][-1]["boot"].split(".")[0])

        record = tmp_path / "release.cbor"
        record.write_bytes(replace(passed(), envelope=bytes.fromhex(row["envelope"])).encode())
        called = await call(life, "--record", record)
        first, delivered, installed = called.out.split("\n\n")
        assert first == f"{device}: 1 release since it was enrolled"
        assert delivered.startswith("1.0.0: as it was delivered\n  proven by  the verdict of ")
        assert installed.startswith("1.1.0: attested_fixed\n")
        assert f"{CVE}, {EUVD}, {GHSA}\n" in called.out
        called = await call(life, "--device", "f" * 32)
        assert (called.code, "bundle-other-device" in called.err) == (1, True)
        life.write_bytes(life.read_bytes()[:-1])
        assert (await call(life)).err.startswith("medvouch: cbor-truncated")
