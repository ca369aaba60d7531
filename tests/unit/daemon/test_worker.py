from __future__ import annotations

import asyncio
import gc
import itertools
import threading

import pytest

from medvouch.daemon.worker import Unwanted, Worker, interruptible, while_wanted


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


async def test_a_caller_that_is_cancelled_twice_still_waits() -> None:
    worker = Worker()
    begun, go_on, log = threading.Event(), threading.Event(), list[str]()

    def slow() -> None:
        begun.set()
        go_on.wait(5)
        log.append("slow")

    first = asyncio.create_task(worker.run(slow))
    await asyncio.to_thread(begun.wait, 5)
    for _ in range(2):
        first.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    second = asyncio.create_task(worker.run(lambda: log.append("second")))
    await asyncio.sleep(0.05)
    assert log == []
    go_on.set()
    await second
    assert log == ["slow", "second"]
    assert first.cancelled()


async def test_work_that_fails_when_its_caller_is_gone_is_no_unhandled_error() -> None:
    begun, go_on, complaints = threading.Event(), threading.Event(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))

    def failing() -> None:
        begun.set()
        go_on.wait(5)
        raise ZeroDivisionError

    first = asyncio.create_task(Worker().run(failing))
    await asyncio.to_thread(begun.wait, 5)
    first.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait([first])
    assert first.cancelled()
    del first
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_work_that_takes_long_ends_with_its_caller() -> None:
    begun, seen = threading.Event(), list[type[Exception]]()

    def endless(unwanted: threading.Event) -> None:
        begun.set()
        try:
            for _ in while_wanted(itertools.repeat(b""), unwanted):
                pass
        except Unwanted:
            seen.append(Unwanted)
            raise

    task = asyncio.create_task(interruptible(endless))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert seen == [Unwanted]
