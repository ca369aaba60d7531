"""The image of a release on its way into the other slot: delivered, then read back from the medium."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from medvouch.daemon import refusals
from medvouch.daemon.ahead import ahead
from medvouch.daemon.delivery import UNREAD_KEY, Delivery
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.update_state import progress
from medvouch.daemon.worker import in_thread, interruptible, while_wanted
from medvouch.errors import Refusal, StorageFault
from medvouch.formats.update import UpdateRecord
from medvouch.ports import Slots

MAX_UNREAD = 5
"""Times that the medium may fail to give back what was written to it, in all lives of the agent together."""


@dataclass(frozen=True)
class Staging:
    """How images get into slots; `reboot` asks for a restart of the machine and returns."""

    delivery: Delivery
    reporter: Reporter
    reboot: Callable[[], Awaitable[None]]

    @property
    def slots(self) -> Slots:
        """Where images go."""
        return self.delivery.slots

    async def stage(self, record: UpdateRecord, only: str = "") -> None:
        """Fetch, write and read back; `only` from this place.

        Raises Refusal `payload-*`, `blocks-mismatch`, `slot-mismatch`, `slot-lost`; InputError, NetworkFault,
        StorageFault.
        """
        capacity = await in_thread(self.slots.capacity)
        if record.size > capacity:
            detail = f"the image has {record.size} bytes, a slot {capacity}"
            raise StorageFault("slot-too-small", detail, remedy="direct the device to a release that is made for it")
        loop = asyncio.get_running_loop()

        def tell(done: int) -> None:
            event = self.reporter.event("update-progress", progress(done, record.size))
            asyncio.run_coroutine_threadsafe(event, loop)

        await interruptible(self.delivery.deliver, record, tell, only)
        await self.reread(record)

    async def reread(self, record: UpdateRecord) -> None:
        """Hash what the medium holds. Raises Refusal `slot-mismatch`; StorageFault where it cannot be read, and at the
        MAX_UNREAD-th time Refusal `slot-lost`.
        """
        found = await interruptible(self._hash, record)
        if found != record.digest:
            detail = f"slot {record.slot} holds {found.hex()}, the release is {record.digest.hex()}"
            raise Refusal(refusals.SLOT_MISMATCH, detail)

    def _hash(self, record: UpdateRecord, unwanted: threading.Event) -> bytes:
        try:
            return digest_of(while_wanted(self.slots.read(record.slot, record.size), unwanted))
        except StorageFault as fault:
            store = self.delivery.store
            unread = int(store.get(UNREAD_KEY) or 0) + 1
            if unread >= MAX_UNREAD:
                detail = f"slot {record.slot}, {unread} times, at last: {fault.detail}"
                raise Refusal(refusals.SLOT_LOST, detail) from fault
            store.put({UNREAD_KEY: str(unread).encode()})
            raise


def digest_of(chunks: Iterable[bytes]) -> bytes:
    """SHA-256 of all of them, which are read while those before them are hashed."""
    hashed = hashlib.sha256()
    for chunk in ahead(chunks):
        hashed.update(chunk)
    return hashed.digest()
