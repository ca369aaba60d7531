"""What the agent tells the world: states, events and answers, in order, through one queue."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from medvouch.errors import MedvouchError, Refusal, StorageFault
from medvouch.messages import payloads, topics
from medvouch.messages.payloads import Fields
from medvouch.ports import Clock, Message, Store, Transport

log = logging.getLogger(__name__)

OUTBOX_BATCH = 20
"""Messages that are forgotten together once the broker has them: after a crash some come twice, none is lost."""
QUEUE_LENGTH = 1000
"""Messages that may wait for the broker; beyond that, whoever makes one waits."""


@dataclass(frozen=True)
class _Outgoing:
    topic: str
    payload: bytes
    retain: bool = False
    correlation: bytes | None = None


class Reporter:
    """Stamps every message with device, boot, sequence number and time, and publishes it once the broker takes it.

    What was committed with a transition waits in the store's outbox and outlives the agent; `wake` says that there is
    some. All else waits in memory. Both go out in the order in which they were said.
    """

    def __init__(self, store: Store, clock: Clock, device: str, boot: str) -> None:
        self._store = store
        self._clock = clock
        self._device = device
        self._boot = boot
        self._queue: asyncio.Queue[_Outgoing | None] = asyncio.Queue(QUEUE_LENGTH)
        self._sent = 0
        """The last message of the outbox that was published."""

    def will(self) -> bytes:
        """What the broker shall publish on `status/agent` when the agent is lost."""
        return self._stamped("status/agent", {"state": "offline"})

    def event_message(self, kind: str, fields: Fields) -> Message:
        """`event/KIND`, to be committed with what it tells of."""
        return Message(topics.event(self._device, kind), self._stamped(f"event/{kind}", fields))

    def state_message(self, kind: str, fields: Fields) -> Message:
        """`state/KIND`, retained, likewise."""
        return Message(topics.state(self._device, kind), self._stamped(f"state/{kind}", fields), retain=True)

    async def wake(self) -> None:
        """Messages were committed to the outbox."""
        await self._queue.put(None)

    async def status(self, state: str) -> None:
        """`status/agent`, retained."""
        await self._json(topics.status(self._device), "status/agent", {"state": state}, retain=True)

    async def state(self, kind: str, fields: Fields) -> None:
        """`state/KIND`, retained."""
        await self._json(topics.state(self._device, kind), f"state/{kind}", fields, retain=True)

    async def event(self, kind: str, fields: Fields) -> None:
        """`event/KIND`."""
        await self._json(topics.event(self._device, kind), f"event/{kind}", fields)

    async def answer(self, name: str, identifier: str, fields: Fields) -> None:
        """`res/NAME/ID`."""
        await self._json(topics.response(self._device, name, identifier), f"res/{name}", fields)

    async def evidence(self, kind: str, data: bytes, nonce: bytes) -> None:
        """`evidence/KIND`, the nonce as correlation data."""
        await self.send(topics.evidence(self._device, kind), data, correlation=nonce)

    async def send(self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes | None = None) -> None:
        """Queue a message as it is; waits while the queue is full."""
        await self._queue.put(_Outgoing(topic, payload, retain, correlation))

    async def _json(self, topic: str, schema: str, fields: Fields, *, retain: bool = False) -> None:
        await self.send(topic, self._stamped(schema, fields), retain=retain)

    def _stamped(self, schema: str, fields: Fields) -> bytes:
        stamp = payloads.Stamp(self._device, self._boot, self._store.next_seq(), self._clock.now())
        return payloads.encode(schema, stamp, fields)

    async def run(self, transport: Transport) -> None:
        """Publish what is queued, forever. What the broker refuses becomes an event, and is dropped."""
        with suppress(StorageFault):  # the store has told health of it
            await self._empty_outbox(transport)
        while True:
            message = await self._queue.get()
            try:
                if message is None:
                    with suppress(StorageFault):
                        await self._empty_outbox(transport)
                else:
                    await self._say(transport, message)
            finally:
                self._queue.task_done()

    async def _empty_outbox(self, transport: Transport) -> None:
        while rows := self._store.outbox(self._sent, OUTBOX_BATCH):
            for number, row in rows:
                await self._say(transport, _Outgoing(row.topic, row.payload, row.retain, row.correlation))
                self._sent = number
            self._store.published([number for number, _ in rows])

    async def _say(self, transport: Transport, message: _Outgoing) -> None:
        try:
            await _publish(transport, message)
        except Refusal as error:
            log.warning("%s", error)
            with suppress(MedvouchError):  # of this event too
                await _publish(transport, self._refusal(message, error))

    def _refusal(self, message: _Outgoing, error: Refusal) -> _Outgoing:
        fields = {"code": error.code, "topic": message.topic, "detail": error.detail}
        kind = "publish-refused"
        return _Outgoing(topics.event(self._device, kind), self._stamped(f"event/{kind}", fields))

    async def flushed(self) -> None:
        """Wait until all that is queued was taken or refused."""
        await self._queue.join()


async def _publish(transport: Transport, message: _Outgoing) -> None:
    await transport.publish(message.topic, message.payload, retain=message.retain, correlation=message.correlation)
