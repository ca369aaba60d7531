"""A process that runs some gateways of a fleet, seen from its parent.

Parent and child speak JSON, a message a line, over a socket pair that ends with either of them. The child is forked,
so that both hold the program in the same memory, before the parent starts a thread; the kernel kills it with its
parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

STOP_S = 30.0
"""How long a child may take to switch off its gateways once its socket has ended."""
_PR_SET_PDEATHSIG = 1

Message = dict[str, Any]
Main = Callable[["Channel", Sequence[int]], Any]


class Channel:
    """One end of the socket pair; to be used inside `opened`."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """It belongs to this loop inside; gone after."""
        self._reader, self._writer = await asyncio.open_connection(sock=self.sock)
        try:
            yield
        finally:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    def send(self, message: Message) -> None:
        """Queue one message; nothing where the other end has gone, its reader says so."""
        assert self._writer
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[Message]:
        """What the other end sends, until it is gone."""
        assert self._reader
        with contextlib.suppress(ConnectionError):
            async for line in self._reader:
                yield json.loads(line)


@dataclass(frozen=True, eq=False)
class Shard:
    """A child's share of the fleet's numbers, and the way to it."""

    indexes: Sequence[int]
    channel: Channel


@contextmanager
def shards(devices: int, processes: int, main: Main) -> Iterator[list[Shard]]:
    """`processes` children at work on the numbers 0 to `devices` - 1, dealt out in turn; none is left afterwards."""
    shares: list[Shard] = []
    children: list[BaseProcess] = []
    gc.collect()
    gc.freeze()  # a collection in the child would write to, and so copy, all that it shares with us
    try:
        for number in range(processes):
            ours, theirs = socket.socketpair()
            shares.append(Shard(range(number, devices, processes), Channel(ours)))
            with theirs:
                children.append(_fork(Channel(theirs), shares, main))
        yield shares
    finally:
        for share in shares:
            share.channel.sock.close()
        _join(children)
        gc.unfreeze()


def _fork(channel: Channel, shares: Sequence[Shard], main: Main) -> BaseProcess:
    """A child for the last of `shares`; the ends of the parent's are not for it to hold open."""
    foreign = [share.channel.sock for share in shares]
    arguments = os.getpid(), channel, foreign, main, shares[-1].indexes
    child = multiprocessing.get_context("fork").Process(target=_child, args=arguments, daemon=True)
    child.start()
    return child


def _join(children: Sequence[BaseProcess]) -> None:
    """Wait for their end, or bring it about."""
    deadline = time.monotonic() + STOP_S
    try:
        for child in children:
            child.join(max(0.0, deadline - time.monotonic()))
    finally:
        for child in children:
            child.kill()
            child.join()


def _child(parent: int, channel: Channel, foreign: Sequence[socket.socket], main: Main, indexes: Sequence[int]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C too, and ends us in order
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    for sock in foreign:
        sock.close()
    asyncio.new_event_loop().run_until_complete(main(channel, indexes))
    os._exit(0)  # agents that are still running have lost their TPMs: no goodbyes
