"""Somebody who hears all of `medvouch/v1/#`, and remembers it in order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from medvouch.errors import InputError
from medvouch.messages import payloads, topics
from medvouch.messages.payloads import Payload
from medvouch.ports import Message, Transport


@dataclass(frozen=True)
class Heard:
    """One message; `payload` None where it is none of our JSON messages; `at_s` by the observer's monotonic clock."""

    message: Message
    topic: topics.Topic
    payload: Payload | None
    at_s: float = 0.0

    @property
    def code(self) -> str:
        """The refusal code that an event carries, or nothing.

        An update that failed once it had been tried says why itself; before that, `update-refused` does.
        """
        if not isinstance(self.topic, topics.Event) or self.payload is None:
            return ""
        fields = self.payload.fields
        tried = self.topic.kind == "update" and fields.get("tries")
        return str(fields.get("code") or (tried and fields.get("reason")) or "")

    def is_event(self, device: str, kind: str) -> bool:
        """Whether it is that event of a device."""
        return self.topic == topics.Event(device, kind)

    @property
    def nonce(self) -> object:
        """The challenge that an event is about; an object like no other where it names none."""
        named = self.payload.fields.get("nonce") if self.payload else None
        return object() if named is None else named


class Observer:
    """A subscriber; `heard` grows while it runs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._more = asyncio.Condition()
        self.heard: list[Heard] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listening inside, silent after."""
        await self._transport.start([f"{topics.ROOT}/#"])
        task = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._transport.close()

    async def _listen(self) -> None:
        async for message in self._transport.messages():
            try:
                topic = topics.parse(message.topic)
            except InputError:
                continue
            async with self._more:
                self.heard.append(Heard(message, topic, _payload(message), time.monotonic()))
                self._more.notify_all()

    async def first(self, wanted: Callable[[Heard], bool], *, since: int, timeout_s: float = 20.0) -> Heard:
        """The first message from number `since` on that is wanted; TimeoutError where none comes."""
        async with asyncio.timeout(timeout_s), self._more:
            seen = since
            while True:
                for heard in self.heard[seen:]:
                    if wanted(heard):
                        return heard
                seen = max(since, len(self.heard))
                await self._more.wait()


def _payload(message: Message) -> Payload | None:
    try:
        return payloads.parse(message.payload)
    except InputError:
        return None
