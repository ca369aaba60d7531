"""The image of a release on its way into the other slot: counted and hashed as it comes, then read back."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from medvouch.daemon import refusals
from medvouch.daemon.reporting import Reporter
from medvouch.errors import Refusal, StorageFault
from medvouch.formats.update import UpdateRecord
from medvouch.ports import Fetcher, Slots
from medvouch.update.payload import Payload, checked

PROGRESS_STEP = 10
"""Percent between two events of progress."""


@dataclass(frozen=True)
class Staging:
    """Where images come from and where they go; `reboot` asks for a restart of the machine and returns."""

    slots: Slots
    fetcher: Fetcher
    reporter: Reporter
    reboot: Callable[[], Awaitable[None]]

    async def stage(self, record: UpdateRecord) -> None:
        """Fetch, write and read back. Raises Refusal `payload-*`, `slot-mismatch`; NetworkFault, StorageFault."""
        capacity = await asyncio.to_thread(self.slots.capacity)
        if record.size > capacity:
            detail = f"the image has {record.size} bytes, a slot {capacity}"
            raise StorageFault("slot-too-small", detail, remedy="direct the device to a release that is made for it")
        loop = asyncio.get_running_loop()

        def tell(done: int) -> None:
            fields = {"bytes": done, "total": record.size, "percent": 100 * done // max(record.size, 1)}
            asyncio.run_coroutine_threadsafe(self.reporter.event("update-progress", fields), loop)

        await asyncio.to_thread(self._write, record, tell)
        await self.reread(record)

    def _write(self, record: UpdateRecord, tell: Callable[[int], None]) -> None:
        with closing(self.fetcher.fetch(record.uri)) as chunks:
            payload = Payload(record.slot, record.uri, record.digest, record.size)
            self.slots.write(record.slot, _counted(checked(chunks, payload), record.size, tell))

    async def reread(self, record: UpdateRecord) -> None:
        """Hash what the medium holds. Raises Refusal `slot-mismatch`, StorageFault."""
        found = await asyncio.to_thread(self._hash, record)
        if found != record.digest:
            detail = f"slot {record.slot} holds {found.hex()}, the release is {record.digest.hex()}"
            raise Refusal(refusals.SLOT_MISMATCH, detail)

    def _hash(self, record: UpdateRecord) -> bytes:
        hashed = hashlib.sha256()
        for chunk in self.slots.read(record.slot, record.size):
            hashed.update(chunk)
        return hashed.digest()


def _counted(chunks: Iterable[bytes], total: int, tell: Callable[[int], None]) -> Iterator[bytes]:
    done = told = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if 100 * done // max(total, 1) >= told + PROGRESS_STEP:
            told = 100 * done // max(total, 1)
            tell(done)
