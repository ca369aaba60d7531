from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.cli import wiring
from medvouch.collector import enrolling as desk
from medvouch.crypto import escrow
from medvouch.daemon import enrolling
from medvouch.daemon.agent import Agent
from medvouch.errors import InputError, Refusal
from medvouch.formats.enrolment import MAX_MESSAGE_BYTES, ueid
from medvouch.formats.identity import OwnershipAuths
from medvouch.formats.tpm import sized
from medvouch.messages import topics
from medvouch.ports import Message, Transport
from medvouch_sim.fixtures import private_key
from medvouch_sim.swtpm import command
from support import sites
from support.filling import full
from support.sites import Scene, eventually

RH_OWNER, HIERARCHY_CHANGE_AUTH = 0x40000001, 0x129


class Lossy:
    """A transport on whose way in the next message of each of these steps is lost."""

    def __init__(self, inner: Transport, losing: Sequence[str]) -> None:
        self._inner = inner
        self._losing = list(losing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def messages(self) -> AsyncIterator[Message]:
        async for message in self._inner.messages():
            step = message.topic.rpartition("/")[2]
            if step in self._losing:
                self._losing.remove(step)
            else:
                yield message


class LossyLinks:
    def __init__(self, inner: Any, losing: Sequence[str]) -> None:
        self._inner = inner
        self._losing = losing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def enrolment(self) -> Transport:
        return Lossy(self._inner.enrolment(), self._losing)  # type: ignore[return-value]


async def boot_losing(scene: Scene, *steps: str) -> Agent:
    """As `Gateway.boot`, with a network that loses these messages on the way to the device."""
    gateway = scene.gateway
    await asyncio.to_thread(gateway.power_on)
    agent = await gateway._stack.enter_async_context(wiring.agent(gateway.config(), tpm=TssTpm(gateway.tpm.tcti())))
    agent._around = dataclasses.replace(agent._around, links=LossyLinks(agent._around.links, steps))
    gateway.agent = agent
    gateway._running = asyncio.create_task(agent.run())
    return agent


def heard(scene: Scene, step: str) -> list[bytes]:
    """What was sent as one step of the enrolment."""
    wanted = topics.enrolment(scene.gateway.bootstrap_name, step)  # type: ignore[arg-type]
    return [heard.message.payload for heard in scene.observer.heard if heard.message.topic == wanted]


async def settled(scene: Scene, step: str, count: int) -> list[bytes]:
    await eventually(lambda: len(heard(scene, step)) >= count)
    return heard(scene, step)


async def test_a_gateway_enrols_itself(serving: Scene) -> None:
    event = await serving.collected("enrolled")
    assert (event["about"], event["serial"]) == (serving.device, serving.gateway.order.serial)
    identity = serving.agent.standing.identity
    assert identity is not None
    assert identity.device_id == serving.device
    assert (await serving.state("identity"))["life"] == "enrolled"
    assert serving.agent.health.state == "ok"
    assert [len(heard(serving, step)) for step in ("request", "challenge", "proof", "answer")] == [1, 1, 1, 1]


async def test_an_identity_outlives_agent_and_power(serving: Scene) -> None:
    before = serving.agent.standing.identity
    for restart in (serving.gateway.stop_agent, serving.gateway.shut_down):
        await restart()
        mark = serving.mark
        await (serving.gateway.start_agent() if serving.gateway.tpm.running else serving.gateway.boot())
        await serving.state("health", since=mark)
        assert serving.agent.standing.identity == before
    assert len(heard(serving, "request")) == 1
    assert (await serving.collector.challenger.challenge(serving.device)).error is None


async def test_a_refusal_is_answered_and_published(tmp_path: Path) -> None:
    async with sites.scene(tmp_path, listed=False) as scene:
        await scene.gateway.boot()
        event = await scene.collected("enrolment-refused")
        assert (event["about"], event["code"]) == (scene.gateway.bootstrap_name, "ek-not-on-manifest")
        running = scene.gateway._running
        assert running is not None
        with pytest.raises(Refusal, match="enrolment-refused: ek-not-on-manifest"):
            await running
        assert scene.agent.standing.identity is None
        assert scene.collector.registry.find(scene.device) is None
        with pytest.raises(Refusal):
            await scene.gateway.shut_down()
        assert not scene.gateway.tpm.running


@pytest.mark.parametrize("step", ["request", "proof"])
async def test_a_message_that_is_none_is_refused(scene: Scene, step: str) -> None:
    transport = scene.gateway.bootstrap_transport()
    await transport.start([])
    topic = topics.enrolment(scene.gateway.bootstrap_name, step)  # type: ignore[arg-type]
    await transport.publish(topic, b"\xff")
    if step == "request":
        assert (await scene.collected("enrolment-refused"))["code"]
        assert len(await settled(scene, "answer", 1)) == 1
    else:
        await transport.publish(topics.enrolment(scene.gateway.bootstrap_name, "request"), b"\xfe")
        await scene.collected("enrolment-refused")  # of the request: a proof without a challenge gets no word
        assert len(heard(scene, "answer")) == 1
    await transport.close()


async def test_a_bug_that_one_device_brings_out_ends_the_enrolment_of_none(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(message: bytes, now: int) -> None:
        raise ValueError("unheard of")

    monkeypatch.setattr(enrolling, "ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr(scene.collector._enrolment._authority, "challenge", bug)
    await scene.gateway.boot()
    await eventually(lambda: "a bug of ours" in caplog.text)
    assert "ValueError: unheard of" in caplog.text
    monkeypatch.undo()
    await scene.collected("enrolled")


async def test_a_message_larger_than_any_is_refused_unread(scene: Scene) -> None:
    transport = scene.gateway.bootstrap_transport()
    await transport.start([])
    topic = topics.enrolment(scene.gateway.bootstrap_name, "request")
    await transport.publish(topic, bytes(MAX_MESSAGE_BYTES + 1))
    assert (await scene.collected("enrolment-refused"))["code"] == "enrolment-limit"
    await transport.close()


async def test_a_device_that_floods_the_desk_waits_for_itself_only(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    enrolment, asked = scene.collector._enrolment, 10 * desk.MAX_UNDER_WAY
    async with asyncio.TaskGroup() as tasks:
        for number in range(asked):
            tasks.create_task(enrolment.take("flood", "request", bytes([number])))
    assert caplog.text.count("sends faster than it is answered") == asked - desk.MAX_UNDER_WAY
    assert not enrolment._under_way
    await scene.gateway.boot()
    await scene.collected("enrolled")


async def test_a_second_enrolment_is_refused(serving: Scene) -> None:
    (request,) = heard(serving, "request")
    transport = serving.gateway.bootstrap_transport()
    await transport.start([])
    await transport.publish(topics.enrolment(serving.gateway.bootstrap_name, "request"), request)
    assert (await serving.collected("enrolment-refused"))["code"] == "ek-already-enrolled"
    await transport.close()


async def test_the_same_proof_gets_the_same_answer_also_after_a_restart(serving: Scene) -> None:
    name = serving.gateway.bootstrap_name
    (proof,), (answer,) = heard(serving, "proof"), heard(serving, "answer")
    transport = serving.gateway.bootstrap_transport()
    await transport.start([])
    await transport.publish(topics.enrolment(name, "proof"), proof)
    assert await settled(serving, "answer", 2) == [answer, answer]
    serving.collector._enrolment._challenged.clear()  # all that a restart forgets
    await transport.publish(topics.enrolment(name, "proof"), proof)
    assert await settled(serving, "answer", 3) == [answer] * 3
    await transport.publish(topics.enrolment(name, "proof"), proof + b"\0")
    await transport.publish(topics.enrolment(name, "request"), b"")
    await serving.collected("enrolment-refused")
    assert len(heard(serving, "answer")) == 4  # no word to the other proof, the refusal of the last request
    assert sum(heard.topic == topics.Event("collector", "enrolled") for heard in serving.observer.heard) == 1
    await transport.close()


@pytest.mark.parametrize("lost", [["challenge"], ["answer"], ["challenge", "answer", "answer"]])
async def test_what_is_lost_is_asked_for_again(scene: Scene, monkeypatch: pytest.MonkeyPatch, lost: list[str]) -> None:
    monkeypatch.setattr(enrolling, "ANSWER_TIMEOUT_S", 0.5)
    agent = await boot_losing(scene, *lost)
    await scene.state("health")
    assert agent.standing.identity is not None
    assert agent.health.state == "ok"
    for step in ("request", "challenge", "proof", "answer"):
        assert len(set(heard(scene, step))) == 1
    assert len(heard(scene, "answer")) == 1 + lost.count("answer")
    assert (await scene.collector.challenger.challenge(scene.device)).error is None


async def test_an_authority_that_forgot_is_asked_anew(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolling, "ANSWER_TIMEOUT_S", 0.4)
    monkeypatch.setattr(enrolling, "REPETITIONS", 1)
    monkeypatch.setattr(desk, "MAX_PENDING", 0)
    agent = await scene.gateway.boot()
    await settled(scene, "proof", 2)
    assert [problem.code for problem in agent.health] == ["enrolment-unanswered"]
    assert (await agent.control("status", {}, 0))["state"] == "degraded"
    assert len(set(heard(scene, "proof"))) == 1
    monkeypatch.setattr(desk, "MAX_PENDING", 1)
    await scene.state("health")
    assert agent.health.state == "ok"
    assert len(set(heard(scene, "request"))) >= 2


async def test_challenges_grow_old(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated request gets its challenge again only while that is good."""
    monkeypatch.setattr(enrolling, "ANSWER_TIMEOUT_S", 0.5)
    terms = scene.collector._enrolment._authority._terms
    scene.collector._enrolment._authority._terms = dataclasses.replace(terms, challenge_lifetime=0)
    await boot_losing(scene, "challenge")
    await settled(scene, "challenge", 1)
    scene.collector._enrolment._authority._terms = terms
    await scene.state("health")
    assert len(set(heard(scene, "challenge"))) == 2


async def test_words_of_strangers_do_not_end_an_enrolment(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(enrolling, "ANSWER_TIMEOUT_S", 1.0)
    await boot_losing(scene, "challenge")
    await settled(scene, "challenge", 1)
    name = scene.gateway.bootstrap_name
    foreign = scene.collector._enrolment._authority.refuse(b"some other message", InputError("x", "y"))
    for data in (b"\xff", foreign):
        await scene.send(topics.enrolment(name, "challenge"), data)
        await scene.send(topics.enrolment(name, "answer"), data)
    await scene.state("health")
    assert "answer-mismatch: a refusal of some other message" in caplog.text


async def test_a_disk_that_takes_no_certificate(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is there, and cannot be kept: asked for again until it can."""
    monkeypatch.setattr(enrolling, "STORAGE_RETRY_S", 0.1)
    obstacle = scene.gateway.client.certificate
    obstacle.mkdir(parents=True)
    agent = await scene.gateway.boot()
    await settled(scene, "answer", 3)
    (problem,) = agent.health
    assert (problem.component, problem.code, problem.exit_code) == ("enrolment", "file-not-written", 6)
    obstacle.rmdir()
    await scene.state("health")
    assert agent.health.state == "ok"


async def test_a_collector_whose_disk_is_full_refuses_nobody(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(enrolling, "ANSWER_TIMEOUT_S", 0.5)
    with full(scene.collector.registry._store):  # type: ignore[arg-type]
        await scene.gateway.boot()
        await settled(scene, "proof", 2)
    await scene.state("health")
    assert "state-full" in caplog.text
    assert len(heard(scene, "answer")) == 1
    assert scene.collector.registry.find(scene.device) is not None


async def test_a_device_that_lost_power_before_it_took_its_tpm(serving: Scene) -> None:
    """The TPM as it would be then: with the escrow's own words its owner's authorisation is taken back."""
    gateway = serving.gateway
    await gateway.shut_down()
    record = serving.collector.registry.find(serving.device)
    assert record is not None
    sealed = escrow.open_sealed(record.escrow, private_key("owner"), context=ueid(record.ek_hash))
    auths = OwnershipAuths.parse(sealed)
    await asyncio.to_thread(gateway.power_on)
    gateway.tpm._checked(command(HIERARCHY_CHANGE_AUTH, RH_OWNER, parameters=sized(b""), password=auths.owner))
    mark = serving.mark
    await gateway.start_agent()
    health = await serving.state("health", since=mark)
    assert (health["state"], health["component"], health["code"]) == ("degraded", "tpm", "tpm-unowned")
    assert "escrow" in health["remedy"]
    assert (await serving.collector.challenger.challenge(serving.device)).error is None


async def test_a_proof_out_of_the_blue_is_noted(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    transport = scene.gateway.bootstrap_transport()
    await transport.start([])
    await transport.publish(topics.enrolment(scene.gateway.bootstrap_name, "proof"), b"")
    await eventually(lambda: "sent a proof without a challenge" in caplog.text)
    await transport.close()
    assert not heard(scene, "answer")
