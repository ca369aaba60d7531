from __future__ import annotations

import asyncio

import pytest

from medvouch.messages import topics
from support.sites import Scene


async def test_what_is_not_ours_is_heard_or_passed_over(scene: Scene) -> None:
    await scene.send("medvouch/v1/NOBODY/state/x", b"{}")
    await scene.send(topics.state("0" * 32, "x"), b"no JSON")
    heard = await scene.first(lambda heard: True)
    assert heard.topic == topics.State("0" * 32, "x")
    assert (heard.payload, heard.code) == (None, "")
    assert heard.nonce != heard.nonce


async def test_an_event_shows_its_code_and_nonce(serving: Scene) -> None:
    outcome = await serving.collector.challenger.challenge(serving.device)
    heard = await serving.first(lambda heard: heard.topic == topics.Event("collector", "appraisal"))
    assert (heard.nonce, heard.code) == (outcome.nonce.hex(), "")


async def test_nothing_comes(scene: Scene) -> None:
    with pytest.raises(TimeoutError):
        await scene.observer.first(lambda heard: True, since=0, timeout_s=0.05)


async def test_a_reboot_is_a_reset_of_the_tpm(serving: Scene) -> None:
    challenger = serving.collector.challenger
    before = (await challenger.challenge(serving.device)).appraisal
    mark = serving.mark
    await serving.gateway.reboot()
    await serving.state("health", since=mark)
    after = (await challenger.challenge(serving.device)).appraisal
    assert before is not None
    assert after is not None
    assert after.boot_clock.reset_count == before.boot_clock.reset_count + 1
    await serving.gateway.shut_down()
    await serving.gateway.shut_down()  # once more is nothing
    await asyncio.sleep(0)
