"""The floor follows what a gateway was found to run: in its TPM, in its ledger, and at the collector."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from medvouch.attestation.ownership import open_escrow
from medvouch.attestation.provisioning import FLOOR_COUNTER
from medvouch.crypto.floor import approve
from medvouch.crypto.tpm import software_public
from medvouch.daemon.floor import FloorKeeper, security_epoch
from medvouch.formats.enrolment import ueid
from medvouch.formats.floor import FloorApproval
from medvouch_sim.fixtures import private_key
from medvouch_sim.images import build_image
from medvouch_sim.swtpm import platform_clear
from support import sites
from support.sites import Scene, eventually, signer
from support.store import ledger


@pytest_asyncio.fixture
async def newer(tmp_path: Path) -> AsyncIterator[Scene]:
    """Enrolled two epochs below the release that it has just started, before anybody has judged it."""
    async with sites.scene(tmp_path, releases=("1.0.0", "1.1.0"), floor=0) as scene:
        install(scene, "1.1.0")
        await scene.gateway.boot()
        await scene.state("health")
        yield scene


def install(scene: Scene, release: str) -> None:
    slots = scene.gateway.slots
    slots.write(slots.other(), [build_image(release)])
    slots.activate(slots.other())


async def in_tpm(scene: Scene) -> int:
    agent, identity = scene.agent, scene.agent.standing.identity
    assert identity is not None
    return await agent._worker.run(lambda: security_epoch(agent._around.tpm, identity))


def approval(scene: Scene, counter: int | None, **changes: Any) -> FloorApproval:
    record = scene.record
    given = {"signer": signer("appraiser"), "reference": ueid(record.ek_hash), "name": record.nv_names["floor"]}
    return approve(counter=counter, **{**given, **changes})


async def refused(scene: Scene, identifier: str, value: object) -> str:
    return await scene.refused("floor", identifier, scene.command("floor", identifier, {"approval": value}))


async def test_it_rises_step_by_step_after_the_verdict_and_stays(newer: Scene) -> None:
    assert (await newer.collector.challenger.challenge(newer.device)).error is None
    base = newer.record.floor_base
    assert (await newer.event("floor-raised", security_epoch=1))["counter"] == base + 1
    assert (await newer.event("floor-raised", security_epoch=2))["counter"] == base + 2
    await newer.state("identity", security_epoch=2)
    await eventually(lambda: newer.record.raised_epoch == 2)
    assert await in_tpm(newer) == newer.agent.standing.security_epoch == 2
    assert newer.collector.registry.floor(newer.record.ek_hash) == 2
    steps = [entry for entry in ledger(newer) if entry.machine == "floor"]
    assert [(entry.before, entry.after, entry.cause) for entry in steps] == [
        ("0", "1", "approval"), ("1", "2", "approval"),
    ]  # fmt: skip

    mark = newer.mark
    assert (await newer.collector.challenger.challenge(newer.device)).error is None
    await newer.event("attestation", since=mark)
    assert not [heard for heard in newer.observer.heard[mark:] if getattr(heard.topic, "name", "") == "floor"]


async def test_a_release_of_a_closed_epoch_is_refused_though_it_is_genuine(newer: Scene) -> None:
    assert (await newer.collector.challenger.challenge(newer.device)).error is None
    await newer.event("floor-raised", security_epoch=2)
    await newer.gateway.reboot()
    assert newer.gateway.release == "1.0.0"
    outcome = await newer.collector.challenger.challenge(newer.device)
    assert outcome.error is not None
    assert outcome.error.code == "release-below-floor"
    assert outcome.ear.vector.executables == 96


async def enrolled_anew(scene: Scene) -> None:
    """With an empty state directory and a TPM that nobody owns."""
    await scene.gateway.stop_agent()
    shutil.rmtree(scene.gateway.state_dir)
    mark = scene.mark
    await scene.gateway.start_agent()
    await scene.state("health", since=mark)


async def test_a_wiped_tpm_enrols_at_its_floor_again_and_not_below(newer: Scene) -> None:
    """The site's own floor is 0, and the counter begins anew: what the collector remembers is what counts."""
    assert (await newer.collector.challenger.challenge(newer.device)).error is None
    await newer.event("floor-raised", security_epoch=2)
    await eventually(lambda: newer.record.raised_epoch == 2)
    before = newer.record
    await newer.commissioned()
    lockout = open_escrow(before.escrow, private_key("owner"), before.ek_hash).lockout
    await newer.collector.decommissioner.decommission(newer.device, lockout)
    await newer.gateway.ended()
    await enrolled_anew(newer)
    assert newer.record.attestation_key != before.attestation_key
    assert (newer.record.floor, newer.agent.standing.security_epoch, await in_tpm(newer)) == (2, 2, 2)
    await newer.gateway.reboot()
    assert newer.gateway.release == "1.0.0"
    outcome = await newer.collector.challenger.challenge(newer.device)
    assert outcome.error is not None
    assert outcome.error.code == "release-below-floor"


async def test_a_tpm_that_was_wiped_behind_the_collectors_back_does_not_enrol(newer: Scene) -> None:
    assert (await newer.collector.challenger.challenge(newer.device)).error is None
    await newer.event("floor-raised", security_epoch=2)
    await newer.gateway.stop_agent()
    newer.gateway.tpm.raw(platform_clear(newer.gateway.tpm.platform_auth))
    shutil.rmtree(newer.gateway.state_dir)
    mark = newer.mark
    await newer.gateway.start_agent()
    refused = await newer.collected("enrolment-refused", since=mark)
    assert refused["code"] == "ek-already-enrolled"
    assert newer.collector.registry.floor(newer.record.ek_hash) == 2


@pytest.mark.parametrize("state", ["staged", "activated", "booted"])
async def test_not_while_an_update_is_under_way(newer: Scene, state: str) -> None:
    attester = newer.agent.attesting._attester  # type: ignore[union-attr]
    attester._update_state = lambda: state
    assert (await newer.collector.challenger.challenge(newer.device)).error is None
    assert newer.collector.registry.floor(newer.record.ek_hash) == 0
    attester._update_state = lambda: "self_checked"
    assert (await newer.collector.challenger.challenge(newer.device)).error is None
    await newer.event("floor-raised", security_epoch=2)


async def test_an_answer_that_was_lost_is_asked_for_again_after_the_next_verdict(newer: Scene) -> None:
    registry = newer.collector.registry
    assert (await newer.collector.challenger.challenge(newer.device)).error is None
    await eventually(lambda: newer.record.raised_epoch == 2)
    base = newer.record.floor_base
    registry.risen(newer.device, base + 1)  # as if the second answer had never come
    mark = newer.mark
    assert (await newer.collector.challenger.challenge(newer.device)).error is None
    await eventually(lambda: newer.record.raised_epoch == 2)
    assert await in_tpm(newer) == 2
    told = [heard for heard in newer.observer.heard[mark:] if getattr(heard.topic, "kind", "") == "floor-raised"]
    assert told == []


async def test_a_rise_that_power_interrupted_is_recorded_when_it_is_repeated(serving: Scene) -> None:
    counter = serving.record.floor_base
    good = approval(serving, counter)
    agent, identity = serving.agent, serving.agent.standing.identity
    assert identity is not None
    key = software_public(signer("appraiser").public_key)
    await agent._worker.run(
        lambda: agent._around.tpm.nv_increment_approved(
            FLOOR_COUNTER, identity.nv_auths["floor"], good, key, identity.ueid
        )
    )
    assert agent.standing.security_epoch == 1
    answer = await serving.collector.challenger.commander.ask(serving.device, "floor", {"approval": good.encode()})
    assert (answer["counter"], answer["security_epoch"]) == (counter + 1, 2)
    assert agent.standing.security_epoch == 2
    assert [entry.after for entry in ledger(serving) if entry.machine == "floor"] == ["2"]


async def risen(scene: Scene) -> int:
    """By two approvals; the counter before."""
    counter = scene.record.floor_base
    ask = scene.collector.challenger.commander.ask
    for step in (counter, counter + 1):
        good = approval(scene, step).encode()
        assert (await ask(scene.device, "floor", {"approval": good}))["counter"] == step + 1
    return counter


async def stands_as_risen(scene: Scene) -> None:
    assert await in_tpm(scene) == 3
    assert [entry.after for entry in ledger(scene) if entry.machine == "floor"] == ["2", "3"]


async def test_approvals_that_are_spent_early_or_of_another_kind(serving: Scene) -> None:
    counter = await risen(serving)
    for number, step in enumerate((counter, counter + 3, None)):
        assert await refused(serving, f"c{number}", approval(serving, step).encode()) == "floor-approval-spent"
    await stands_as_risen(serving)


async def test_approvals_for_another_device_or_by_another(serving: Scene) -> None:
    counter = await risen(serving)
    other = approval(serving, counter + 2, reference=b"\x01" + bytes(32)).encode()
    assert await refused(serving, "c1", other) == "floor-approval-invalid"
    forged = approval(serving, counter + 2, signer=signer("release")).encode()
    assert await refused(serving, "c2", forged) == "floor-approval-invalid"
    await stands_as_risen(serving)


@pytest.mark.parametrize("value", [None, "text", bytes(129)], ids=["none", "text", "long"])
async def test_what_is_no_approval_by_its_kind_or_size(serving: Scene, value: object) -> None:
    assert await refused(serving, "c1", value) == "command-malformed"
    assert await in_tpm(serving) == 1


async def test_an_approval_that_says_nothing(serving: Scene) -> None:
    assert await refused(serving, "c1", b"\xa0") == "floor-malformed"
    assert await in_tpm(serving) == 1


async def test_the_tpm_refuses_where_the_agent_would_not(serving: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = serving.record.floor_base
    good = approval(serving, counter)
    await serving.collector.challenger.commander.ask(serving.device, "floor", {"approval": good.encode()})
    await serving.collector.challenger.commander.ask(
        serving.device, "floor", {"approval": approval(serving, counter + 1).encode()}
    )

    def unchecked(keeper: FloorKeeper, spent: FloorApproval, key: Any) -> int:
        identity = keeper._identity
        public = software_public(key)
        keeper._tpm.nv_increment_approved(FLOOR_COUNTER, identity.nv_auths["floor"], spent, public, identity.ueid)
        return 0

    monkeypatch.setattr(FloorKeeper, "_risen", unchecked)
    assert await refused(serving, "c1", good.encode()) == "tpm-refused"
    assert await in_tpm(serving) == 3
