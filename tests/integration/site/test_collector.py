from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.attestation.appraisal import BootClock
from medvouch.collector.challenging import Outcome
from medvouch.collector.registry import GivenAnswer, Registry
from medvouch.errors import NetworkFault, StorageFault, UsageFault
from medvouch.messages import payloads, topics
from medvouch.ports import Timestamp
from support import sites
from support.sites import Scene


async def test_a_device_that_is_off_gives_no_evidence(serving: Scene) -> None:
    await serving.gateway.shut_down()
    with pytest.raises(NetworkFault, match="no-evidence"):
        await serving.collector.challenger.challenge(serving.device, timeout_s=0.3)


async def test_a_challenge_waits_for_a_device_that_is_off(serving: Scene) -> None:
    """What a broker queues for a client that is away may be dropped: mosquitto 2.0.21 does so under access patterns."""
    mark = serving.mark
    await serving.gateway.shut_down()
    await serving.status("offline", since=mark)
    challenge = asyncio.create_task(serving.collector.challenger.challenge(serving.device))
    await asyncio.sleep(0.2)
    assert not any(isinstance(heard.topic, topics.Command) for heard in serving.observer.heard[mark:])
    await serving.gateway.boot()
    assert (await challenge).error is None


async def test_a_device_that_refuses_a_challenge_says_why(serving: Scene) -> None:
    serving.gateway.machine.uefi_log.unlink()
    with pytest.raises(NetworkFault, match=r"challenge-refused: .*eventlog-missing"):
        await serving.collector.challenger.challenge(serving.device)


async def test_a_broker_that_is_away_is_no_evidence_either(serving: Scene) -> None:
    serving.site.broker.stop()
    with pytest.raises(NetworkFault, match="no-evidence"):
        await serving.collector.challenger.challenge(serving.device, timeout_s=0.3)


async def test_a_device_that_never_enrolled_is_not_challenged(scene: Scene) -> None:
    with pytest.raises(UsageFault, match="device-unknown"):
        await scene.collector.challenger.challenge(scene.device)


async def test_one_challenge_at_a_time(serving: Scene) -> None:
    challenger = serving.collector.challenger
    first = asyncio.create_task(challenger.challenge(serving.device))
    await asyncio.sleep(0)
    with pytest.raises(UsageFault, match="challenge-under-way"):
        await challenger.challenge(serving.device)
    assert (await first).error is None
    assert (await challenger.challenge(serving.device)).error is None


async def test_what_was_said_to_an_earlier_challenge_is_not_taken_for_an_answer(serving: Scene) -> None:
    challenger = serving.collector.challenger
    challenge = asyncio.create_task(challenger.challenge(serving.device))
    await asyncio.sleep(0)
    stamp = payloads.Stamp(serving.device, "boot", 1, Timestamp(1, True))
    late = payloads.encode("res/attest", stamp, {"outcome": "refused", "code": "command-expired"})
    challenger.answered(serving.device, "00" * 8, late)
    challenger.arrived(serving.device, b"late", bytes(32))
    challenger.arrived(serving.device, b"unnamed", None)
    assert (await challenge).error is None


async def test_a_challenge_lasts_until_its_verdict_is_out(serving: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    challenger = serving.collector.challenger
    judging, judged, judge = asyncio.Event(), threading.Event(), challenger._judge_evidence
    loop = asyncio.get_running_loop()

    def slowly(*args: Any) -> Outcome:
        loop.call_soon_threadsafe(judging.set)
        judged.wait(10)
        return judge(*args)

    monkeypatch.setattr(challenger, "_judge_evidence", slowly)
    first = asyncio.create_task(challenger.challenge(serving.device))
    await judging.wait()
    with pytest.raises(UsageFault, match="challenge-under-way"):
        await challenger.challenge(serving.device, timeout_s=0.1)
    judged.set()
    assert (await first).error is None


async def test_evidence_that_nobody_asked_for_is_ignored(serving: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert serving.agent.reporter is not None
    await serving.send("medvouch/v1/NOBODY/evidence/attestation", b"")
    await serving.agent.reporter.evidence("attestation", b"unasked", bytes(8))
    await serving.first(lambda heard: heard.message.payload == b"unasked")
    assert (await serving.collector.challenger.challenge(serving.device)).error is None
    assert "that nobody asked for" in caplog.text
    assert "topic-malformed" in caplog.text
    verdicts = [heard for heard in serving.observer.heard if heard.topic == topics.Event("collector", "appraisal")]
    assert len(verdicts) <= 1


async def test_the_registry_outlives_the_collector(tmp_path: Path) -> None:
    async with sites.scene(tmp_path) as scene:
        gateway = scene.gateway
        await gateway.boot()
        await scene.state("health")
        first = await scene.collector.challenger.challenge(scene.device)
        await gateway.shut_down()
    async with scene.site.running() as (collector, observer):
        again = Scene(scene.site, gateway, collector, observer)
        async with gateway.booted():
            await again.state("health", since=again.mark)
            second = await collector.challenger.challenge(gateway.device)
            record = collector.registry.find(gateway.device)
        assert not any(isinstance(heard.topic, topics.Enrolment) for heard in observer.heard)
    assert first.appraisal is not None
    assert second.appraisal is not None
    assert second.appraisal.boot_clock.reset_count == first.appraisal.boot_clock.reset_count + 1
    assert record is not None
    assert record.last_clock == second.appraisal.boot_clock
    assert record.serial == gateway.order.serial


async def test_a_registry_that_was_damaged(serving: Scene) -> None:
    store = serving.collector._enrolment._registry._store
    store.put({f"device/{serving.device}": b"\xff"})
    with pytest.raises(StorageFault, match=r"registry-corrupt: .*backup"):
        await serving.collector.challenger.challenge(serving.device)


def test_a_registry_knows_who_is_not_in_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    registry = Registry(store)
    assert registry.find("0" * 32) is None
    assert registry.answer("new") is None
    assert not registry.enrolled(bytes(32))
    registry.accepted("0" * 32, BootClock(1, 0, 0), None)
    assert registry.find("0" * 32) is None
    store.close()


async def test_the_registry_keeps_what_an_enrolment_fixed(serving: Scene) -> None:
    record = serving.collector.registry.find(serving.device)
    identity = serving.agent.standing.identity
    assert record is not None
    assert identity is not None
    assert (record.nv_names, record.floor, record.floor_base) == (
        identity.nv_names, identity.floor, identity.floor_base,
    )  # fmt: skip
    assert (record.iak_public, record.ldevid_public) == (identity.iak_public, identity.ldevid_public)


async def test_the_highest_floor_known_is_never_lowered(serving: Scene) -> None:
    registry = serving.collector.registry
    record = registry.find(serving.device)
    assert record is not None
    assert (registry.floor(record.ek_hash), registry.floor(bytes(32))) == (1, 0)
    for epoch in (7, 6, 0):
        registry.raise_floor(record.ek_hash, epoch)
        assert registry.floor(record.ek_hash) == 7
    registry.add(record, "again", GivenAnswer(bytes(32), b""))
    assert registry.floor(record.ek_hash) == 7
    registry.add(replace(record, floor=8), "again", GivenAnswer(bytes(32), b""))
    assert registry.floor(record.ek_hash) == 8
