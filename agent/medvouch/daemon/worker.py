"""Blocking work in threads: nothing goes on in one when whoever began it has ended, and a TPM has one owner."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Unwanted(Exception):
    """Whoever began this work has ended."""


class Worker:
    """Runs functions in `executor` (None: the event loop's own), never two at once."""

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._lock = asyncio.Lock()

    async def run(self, function: Callable[[], T]) -> T:
        """As `in_thread`: a TPM command that was sent is answered before the next one."""
        async with self._lock:
            return await in_thread(function, executor=self._executor)


async def in_thread(function: Callable[..., T], *args: Any, executor: Executor | None = None) -> T:
    """What the function returns or raises, run in a thread.

    A cancelled caller still waits for the function, however often it is cancelled.
    """
    return await _waited(asyncio.get_running_loop().run_in_executor(executor, functools.partial(function, *args)))


async def interruptible(function: Callable[..., T], *args: Any) -> T:
    """As `in_thread`, for what takes long: its last argument is an event that is set once nobody wants it any more."""
    unwanted = threading.Event()
    work = functools.partial(function, *args, unwanted)
    return await _waited(asyncio.get_running_loop().run_in_executor(None, work), unwanted.set)


async def _waited(future: asyncio.Future[T], interrupt: Callable[[], None] = lambda: None) -> T:
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        interrupt()
        with suppress(asyncio.CancelledError):
            await outlast(future)
        if not future.cancelled():
            future.exception()  # nobody wants to know any more, and asyncio need not complain of that
        raise


def while_wanted(chunks: Iterable[bytes], unwanted: threading.Event) -> Iterator[bytes]:
    """The same chunks. Raises Unwanted once that is set."""
    for chunk in chunks:
        if unwanted.is_set():
            raise Unwanted
        yield chunk


async def outlast(*futures: asyncio.Future[Any]) -> None:
    """Wait until all are done, however often that is cancelled; if it was, CancelledError then."""
    cancelled: asyncio.CancelledError | None = None
    while not all(future.done() for future in futures):
        try:
            await asyncio.wait(futures)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
