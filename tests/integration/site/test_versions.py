"""What a gateway's TPM remembers of the update repository, where its disk does not."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from medvouch.adapters import tss_context
from medvouch.adapters.tss import TssTpm
from medvouch.attestation.provisioning import TUF_VERSIONS
from medvouch.daemon.standing import IDENTITY_KEY
from medvouch.daemon.versions import NAME
from medvouch.formats.tuf_versions import Versions
from medvouch_sim.swtpm import SwTpm, command_code
from support.sites import eventually
from support.unsteady import UnsteadyTcti
from support.updating import Updatable, release, updatable

NV_WRITE = 0x137
NV_RATE = 0x920


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    async with updatable(tmp_path) as scene:
        yield scene


def remembered(scene: Updatable) -> Versions:
    identity = scene.agent.standing.identity
    assert identity is not None
    with TssTpm(scene.gateway.tpm.tcti()) as tpm:
        return Versions.parse(tpm.nv_read(TUF_VERSIONS, identity.nv_auths[NAME]))


async def looked(scene: Updatable) -> None:
    """It has looked, and taken all of it in."""
    asked = len(scene.publisher.server.requests)
    await scene.look()
    requests = scene.publisher.server.requests
    await eventually(lambda: any(path.endswith("trust.cbor") for path in requests[asked:]))


class Yesterday:
    """A gateway's disk, and what the repository served."""

    def __init__(self, scene: Updatable, folder: Path) -> None:
        self.scene, self.disk, self.served = scene, folder / "disk", folder / "served"
        shutil.copytree(scene.gateway.state_dir, self.disk, ignore=shutil.ignore_patterns(".*.new"))
        shutil.copytree(scene.publisher.directory, self.served)

    def come_back(self) -> None:
        shutil.rmtree(self.scene.gateway.state_dir)
        shutil.copytree(self.disk, self.scene.gateway.state_dir)
        self.scene.publisher.server.directory = self.served


async def test_yesterdays_disk_and_yesterdays_repository(scene: Updatable, tmp_path: Path) -> None:
    await looked(scene)
    await scene.gateway.shut_down()
    yesterday = Yesterday(scene, tmp_path / "yesterday")
    await scene.gateway.boot()
    scene.publisher.publish(release("1.1.0"))
    await scene.look()
    await eventually(lambda: remembered(scene).snapshot == scene.publisher.repository.version)
    await scene.gateway.shut_down()
    yesterday.come_back()
    await scene.gateway.boot()
    mark = scene.mark
    await scene.look()
    refused = await scene.turned_down("repository-rolled-back", since=mark)
    assert refused["detail"].endswith("is remembered")
    scene.publisher.server.directory = scene.publisher.directory
    mark = await scene.directed(release("1.1.0"))
    await scene.update("activated", since=mark)


async def test_what_has_not_changed_is_not_written(scene: Updatable) -> None:
    await looked(scene)
    await eventually(lambda: remembered(scene).snapshot == scene.publisher.repository.version)
    before, writes = remembered(scene), list[bytes]()

    def tap(command: bytes) -> None:
        if command_code(command) == NV_WRITE:
            writes.append(command)

    scene.gateway.tpm.tap = tap
    for _ in range(3):
        await looked(scene)
    assert (remembered(scene), writes) == (before, [])
    scene.publisher.publish(release("1.1.0"))
    await looked(scene)
    newer = replace(before, snapshot=before.snapshot + 1)
    await eventually(lambda: remembered(scene) == newer)
    await looked(scene)
    assert (remembered(scene), len(writes)) == (newer, 1)


async def test_a_gateway_that_was_enrolled_before_there_was_such_an_index(scene: Updatable, tmp_path: Path) -> None:
    """It goes on as it did: its disk remembers, and nothing else does."""
    await looked(scene)
    identity = scene.agent.standing.identity
    assert identity is not None
    auths, names = ({k: v for k, v in of.items() if k != NAME} for of in (identity.nv_auths, identity.nv_names))
    scene.agent._store.put({IDENTITY_KEY: replace(identity, nv_auths=auths, nv_names=names).encode()})
    await scene.gateway.shut_down()
    yesterday = Yesterday(scene, tmp_path / "yesterday")
    await scene.gateway.boot()
    mark = await scene.directed(release("1.1.0"))
    await scene.update("activated", since=mark)
    await scene.gateway.shut_down()
    yesterday.come_back()
    await scene.gateway.boot()
    await looked(scene)
    mark = scene.mark
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    await scene.state("attestation", since=mark)


async def test_a_tpm_that_limits_its_nv_writes_holds_an_update_up_and_fails_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tss_context, "PAUSES_S", (0.001,) * 3)
    ways: list[UnsteadyTcti] = []

    def tcti(chip: SwTpm) -> UnsteadyTcti:
        ways.append(UnsteadyTcti(chip))
        return ways[-1]

    def limited(times: int) -> None:
        for way in ways:
            way.answers = {NV_WRITE.to_bytes(4, "big"): [NV_RATE] * times}

    monkeypatch.setattr(SwTpm, "tcti", tcti)
    async with updatable(tmp_path) as scene:
        limited(1000)
        mark = await scene.directed(release("1.1.0"))
        held = await scene.event("update-held-up", since=mark, code="tpm-refused")
        assert held["place"] == "TPM2_NV_Write"
        problem = await scene.state("health", since=mark, component="update")
        assert problem["remedy"] == "the TPM limits its NV writes: try again later"
        assert scene.agent.standing.update is None
        limited(2)
        await scene.look()
        await scene.update("activated", since=mark)
        await scene.state("health", since=mark, state="ok")
        assert remembered(scene).snapshot == scene.publisher.repository.version
