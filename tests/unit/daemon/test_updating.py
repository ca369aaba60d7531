from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from medvouch.daemon.updating import Updating


@pytest.mark.parametrize("turns", range(4))
async def test_a_stop_that_comes_with_a_nudge_stops_it(turns: int) -> None:
    """However many turns of the loop lie between the two: an agent that goes on is killed by its service manager."""
    updating = Updating.__new__(Updating)
    updating._nudge = asyncio.Event()
    updating._holding = cast(Any, SimpleNamespace(held=False, patience=lambda: 60.0))
    resting = asyncio.create_task(updating._rest(60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    updating.nudge()
    for _ in range(turns):
        await asyncio.sleep(0)
    stopped = resting.cancel()
    await asyncio.wait([resting], timeout=5)
    assert resting.cancelled() or not stopped
