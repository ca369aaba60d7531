"""What the collector says under its own name: one event for each refusal and each verdict."""

from __future__ import annotations

from medvouch.messages import payloads, topics
from medvouch.ports import Clock, Store, Transport


class CollectorEvents:
    """Publishes on `medvouch/v1/{appraiser}/event/…`."""

    def __init__(self, transport: Transport, store: Store, clock: Clock, appraiser: str) -> None:
        self._transport = transport
        self._store = store
        self._clock = clock
        self._appraiser = appraiser

    async def publish(self, kind: str, fields: payloads.Fields) -> None:
        """`event/KIND` with a stamp of the collector's."""
        stamp = payloads.Stamp(self._appraiser, self._appraiser, self._store.next_seq(), self._clock.now())
        await self._transport.publish(
            topics.event(self._appraiser, kind), payloads.encode(f"event/{kind}", stamp, fields)
        )
