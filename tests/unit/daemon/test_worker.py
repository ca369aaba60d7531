from __future__ import annotations

import asyncio
import threading

import pytest

from medvouch.daemon.worker import Worker


async def test_one_piece_of_work_at_a_time_also_when_its_caller_is_gone() -> None:
    worker = Worker()
    begun, go_on, log = threading.Event(), threading.Event(), list[str]()

    def slow() -> None:
        begun.set()
        go_on.wait(5)
        log.append("slow")

    first = asyncio.create_task(worker.run(slow))
    await asyncio.to_thread(begun.wait, 5)
    first.cancel()
    second = asyncio.create_task(worker.run(lambda: log.append("second")))
    await asyncio.sleep(0.05)
    assert not first.done()
    assert log == []
    go_on.set()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert log == ["slow", "second"]


async def test_what_the_work_raises_reaches_its_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        await Worker().run(lambda: 1 // 0)
