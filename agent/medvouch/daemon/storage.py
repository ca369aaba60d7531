"""The durable state as a component of the agent's health."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from medvouch.daemon.health import Health
from medvouch.errors import StorageFault
from medvouch.ports import Commit, Message, Store

COMPONENT = "storage"
PROBE_KEY = "probe"
PROBE_INTERVAL_S = 5.0


class WatchedStore:
    """`ports.Store`: a fault of the store behind it is a problem of the agent until something can be written again."""

    def __init__(self, store: Store, health: Health) -> None:
        self._store = store
        self._health = health
        self._failed = False

    def get(self, key: str) -> bytes | None:
        """As the store."""
        with self._watched():
            return self._store.get(key)

    def put(self, values: Mapping[str, bytes | None]) -> None:
        """As the store."""
        with self._watched():
            self._store.put(values)
        self._written()

    def commit(self, change: Commit) -> None:
        """As the store."""
        with self._watched():
            self._store.commit(change)
        self._written()

    def leaves(self) -> Sequence[bytes]:
        """As the store."""
        with self._watched():
            return self._store.leaves()

    def entries(self) -> Sequence[bytes]:
        """As the store."""
        with self._watched():
            return self._store.entries()

    def checkpoints(self, *, newest: int | None = None) -> Sequence[bytes]:
        """As the store."""
        with self._watched():
            return self._store.checkpoints(newest=newest)

    def outbox(self, after: int, limit: int) -> Sequence[tuple[int, Message]]:
        """As the store."""
        with self._watched():
            return self._store.outbox(after, limit)

    def published(self, numbers: Sequence[int]) -> None:
        """As the store."""
        with self._watched():
            self._store.published(numbers)

    def next_seq(self) -> int:
        """As the store; most numbers are reserved already, so that success says nothing of the disk."""
        with self._watched():
            return self._store.next_seq()

    def first_time(self, kind: str, identifier: str) -> bool:
        """As the store."""
        with self._watched():
            first = self._store.first_time(kind, identifier)
        self._written()
        return first

    def close(self) -> None:
        """As the store."""
        self._store.close()

    async def recover(self) -> None:
        """While the store fails, try from time to time whether it still does, until cancelled."""
        while True:
            await asyncio.sleep(PROBE_INTERVAL_S)
            if self._failed:
                with suppress(StorageFault):
                    self.put({PROBE_KEY: b""})

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except StorageFault as fault:
            self._failed = True
            self._health.report(COMPONENT, fault)
            raise

    def _written(self) -> None:
        self._failed = False
        self._health.clear(COMPONENT)
