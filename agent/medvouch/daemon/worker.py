"""Blocking work in threads, one piece at a time: a TPM has one owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs functions in `executor` (None: the event loop's own), never two at once."""

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._lock = asyncio.Lock()

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result, or what it raised.

        A cancelled caller still waits for the function, however often it is cancelled: a TPM command that was sent is
        answered before the next one.
        """
        async with self._lock:
            future = asyncio.get_running_loop().run_in_executor(self._executor, function)
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError:
                with suppress(asyncio.CancelledError):
                    await outlast(future)
                if not future.cancelled():
                    future.exception()  # nobody wants to know any more, and asyncio need not complain of that
                raise


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
