from __future__ import annotations

import asyncio

import pytest

from medvouch.daemon.agent import _until


async def test_a_service_that_takes_its_leave_is_waited_for_however_often_that_is_cancelled() -> None:
    """It may be in the middle of a TPM command, and the TPM is closed next."""
    begun, told, may_end, over = (asyncio.Event() for _ in range(4))

    async def serve() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            told.set()
            await may_end.wait()
            over.set()

    running = asyncio.create_task(_until(asyncio.Event(), serve()))
    await begun.wait()
    running.cancel()
    await told.wait()
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0)
    assert not running.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert over.is_set()


async def test_a_cancellation_that_comes_while_the_service_ends_by_itself_counts() -> None:
    ended, told, may_end = (asyncio.Event() for _ in range(3))

    async def serve() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.set()
            await may_end.wait()

    running = asyncio.create_task(_until(ended, serve()))
    await asyncio.sleep(0)
    ended.set()
    await told.wait()
    running.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running
