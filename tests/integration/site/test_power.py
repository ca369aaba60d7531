"""The mains fail at a TPM command: it and what follows never happened, and the disk is as it was."""

from __future__ import annotations

import asyncio

from medvouch.formats.ledger import CertifiedCheckpoint, Checkpoint
from medvouch_sim.swtpm import command_code
from support.sites import HOSPITAL, Scene

NV_INCREMENT = 0x134
"""TPM_CC (Part 2, 6.5.2)."""


async def test_a_checkpoint_that_power_interrupts_is_completed_at_the_next_start(serving: Scene) -> None:
    gateway = serving.gateway
    before = checkpoints(serving)
    mark = serving.mark
    async with gateway.power_fails_at(lambda command: command_code(command) == NV_INCREMENT) as failed:
        await serving.collector.challenger.command(serving.device, "commission", {"owner": HOSPITAL})
        await asyncio.wait_for(failed.wait(), 10)
    assert not gateway.tpm.running
    await serving.status("offline", since=mark)
    mark = serving.mark
    await gateway.boot()
    assert (await serving.state("identity", since=mark))["owner"] == HOSPITAL
    assert serving.agent.health.state == "ok"
    after = checkpoints(serving)
    assert [each.counter for each in after[: len(before)]] == [each.counter for each in before]
    assert [each.counter - before[-1].counter for each in after[len(before) :]] == [1, 2]
    assert (await serving.collector.challenger.challenge(serving.device)).error is None


async def test_nothing_fails_where_the_instant_never_comes(serving: Scene) -> None:
    async with serving.gateway.power_fails_at(lambda command: False) as failed:
        assert (await serving.collector.challenger.challenge(serving.device)).error is None
    assert not failed.is_set()
    assert serving.gateway.tpm.running


def checkpoints(scene: Scene) -> list[Checkpoint]:
    return [CertifiedCheckpoint.parse(data).checkpoint for data in scene.agent._store.checkpoints()]
