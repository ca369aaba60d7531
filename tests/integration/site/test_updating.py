from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from support.updating import Updatable, release, updatable


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    async with updatable(tmp_path) as scene:
        yield scene


async def test_an_update_from_the_directive_to_the_verdict(scene: Updatable) -> None:
    mark = await scene.directed(release("1.1.0"))
    for state in ("notified", "staged", "activated"):
        assert (await scene.update(state, since=mark))["version"] == "1.1.0"
    progress = await scene.event("update-progress", since=mark, percent=100)
    assert progress["bytes"] == progress["total"] == len(release("1.1.0").image)
    assert scene.gateway.release == "1.0.0"
    await scene.gateway.reboot()
    for state in ("booted", "self_checked"):
        await scene.update(state, since=mark)
    assert scene.gateway.release == "1.1.0"
    assert (await scene.state("update", since=mark, state="self_checked"))["outcome"] == "installed_unattested"
    outcome = await scene.collector.challenger.challenge(scene.device)
    assert outcome.error is None
    assert outcome.appraisal is not None
    assert (outcome.appraisal.release, outcome.appraisal.claims.update_state) == ("1.1.0", "self_checked")
    closed = await scene.state("update", since=mark, state="closed")
    assert (closed["outcome"], closed["security_epoch"]) == ("attested", 2)
