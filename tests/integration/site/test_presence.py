"""Online, offline, thrown off, cut off: what others see of an agent."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from medvouch.daemon import storage
from medvouch.messages import topics
from medvouch_sim.observer import Heard
from support import lone_agent
from support.filling import full, read_only
from support.sites import HOSPITAL, Scene, eventually


@pytest.fixture(autouse=True)
def _probing_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PROBE_INTERVAL_S", 0.1)


async def retained_status(scene: Scene) -> str:
    message = await scene.retained(topics.status(scene.device))
    return str(json.loads(message.payload)["state"])


async def healthy(scene: Scene, state: str) -> None:
    await eventually(lambda: scene.agent.health.state == state)


def _number(heard: Heard) -> object:
    return heard.payload and heard.payload.fields["number"]


async def test_an_agent_says_goodbye(serving: Scene) -> None:
    await serving.status("online")
    assert await retained_status(serving) == "online"
    await serving.gateway.stop_agent()
    await serving.status("offline")
    assert await retained_status(serving) == "offline"


async def test_a_killed_agent_leaves_its_will(serving: Scene) -> None:
    gateway = serving.gateway
    await gateway.shut_down()
    gateway.config()
    mark = serving.mark
    paths = os.pathsep.join(filter(None, sys.path))
    process = subprocess.Popen(  # noqa: ASYNC220 (it does not block)
        [sys.executable, lone_agent.__file__, gateway.config_path, gateway.tpm.state_dir],
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        await serving.status("online", since=mark)
        mark = serving.mark
    finally:
        process.kill()
        process.wait()
    await serving.status("offline", since=mark)
    assert await retained_status(serving) == "offline"


async def test_whoever_has_the_devices_key_throws_it_off_and_is_noticed(serving: Scene) -> None:
    intruder = serving.site.connect(serving.device, serving.gateway.client)
    await intruder.start([])
    event = await serving.event("session-taken-over")
    assert event["code"] == "session-taken-over"
    await intruder.close()
    mark = serving.mark
    await serving.status("online", since=mark - 1)


async def test_a_device_may_not_command_itself(serving: Scene) -> None:
    reporter = serving.agent.reporter
    assert reporter is not None
    topic = topics.command(serving.device, "commission", "c1")
    await reporter.send(topic, b"x")
    event = await serving.event("publish-refused")
    assert (event["code"], event["topic"]) == ("publish-refused", topic)
    await reporter.send(topics.event("0" * 32, "enrolled"), b"x")
    await serving.event("publish-refused", topic=topics.event("0" * 32, "enrolled"))
    assert (await serving.collector.challenger.challenge(serving.device)).error is None


async def test_a_broker_that_goes_and_comes(serving: Scene) -> None:
    reporter = serving.agent.reporter
    assert reporter is not None
    async with serving.patient() as patient:
        mark = len(patient.heard)
        await asyncio.to_thread(serving.site.broker.stop)
        await healthy(serving, "degraded")
        status = await serving.agent.control("status", {}, os.getuid())
        assert (status["state"], status["connected"]) == ("degraded", False)
        (problem,) = status["problems"]
        assert (problem["component"], problem["exit_code"]) == ("broker", 5)
        for number in range(50):
            await reporter.event("test-noted", {"number": number})
        await asyncio.to_thread(serving.site.broker.start)
        noted = topics.Event(serving.device, "test-noted")
        await patient.first(lambda heard: heard.topic == noted and _number(heard) == 49, since=mark)
        told = [heard.payload for heard in patient.heard[mark:] if heard.payload is not None and heard.topic == noted]
        assert [payload.fields["number"] for payload in told] == list(range(50))
        numbers = [payload.stamp.seq for payload in told]
        assert numbers == sorted(set(numbers))
    await healthy(serving, "ok")
    await reporter.flushed()
    retained = json.loads((await serving.retained(topics.state(serving.device, "health"))).payload)
    assert retained["state"] == "ok"
    assert (await serving.collector.challenger.challenge(serving.device)).error is None


async def test_more_events_than_the_queue_holds_wait_and_are_not_lost(serving: Scene) -> None:
    """Refusals among them too: what makes an event of a refusal must not wait for room in the same queue."""
    reporter = serving.agent.reporter
    assert reporter is not None
    async with serving.patient() as patient:
        await asyncio.to_thread(serving.site.broker.stop)
        mark = len(patient.heard)

        async def flood() -> None:
            await reporter.send(topics.command(serving.device, "commission", "c1"), b"x")
            for number in range(1200):
                await reporter.event("test-noted", {"number": number})

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(0.1)
        assert not flooding.done()
        await asyncio.to_thread(serving.site.broker.start)
        await flooding
        await reporter.flushed()
        noted = topics.Event(serving.device, "test-noted")
        await patient.first(lambda heard: heard.topic == noted and _number(heard) == 1199, since=mark)
        told = [heard for heard in patient.heard[mark:] if heard.topic == noted]
        assert len({heard.message.payload for heard in told}) == 1200


async def test_a_full_disk_is_told_and_passes(serving: Scene) -> None:
    store = serving.agent._around.store
    command = serving.command("commission", "c1", {"owner": HOSPITAL})
    mark = serving.mark
    with full(store):  # type: ignore[arg-type]
        assert await serving.refused("commission", "c1", command) == "state-full"
        health = await serving.state("health", since=mark)
        assert (health["state"], health["code"]) == ("degraded", "state-full")
        assert "free some space" in health["remedy"]
        mark = serving.mark
    assert (await serving.state("health", since=mark))["state"] == "ok"
    await serving.collector.challenger.command(serving.device, "commission", {"owner": HOSPITAL})
    await serving.event("commissioned")


async def test_a_disk_that_cannot_be_written_and_no_number_left_for_a_message(serving: Scene) -> None:
    """Nothing can be said then, but the agent goes on, and says so afterwards."""
    store = serving.agent._around.store
    store._next = store._reserved  # type: ignore[attr-defined] # as after a thousand messages
    mark = serving.mark
    with read_only(store):  # type: ignore[arg-type]
        await serving.send(topics.command(serving.device, "commission", "c1"), b"x")
        await healthy(serving, "degraded")
        (problem,) = serving.agent.health
        assert problem.code == "state-unusable"
    await serving.state("health", since=mark, state="ok")
    assert (await serving.collector.challenger.challenge(serving.device)).error is None
