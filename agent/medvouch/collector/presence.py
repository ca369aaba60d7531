"""Which devices are there to be asked, by what their agents and the broker say on `status/agent`."""

from __future__ import annotations

import asyncio

from medvouch.errors import InputError
from medvouch.messages import payloads

ONLINE = "online"


class Presence:
    """The last status of each device; what a broker queues for one that is away may never arrive, so we wait for it."""

    def __init__(self) -> None:
        self._online: dict[str, asyncio.Event] = {}

    def heard(self, device: str, payload: bytes) -> None:
        """A message on the device's `status/agent`; one that is not of ours says that it is away."""
        try:
            present = payloads.parse(payload).fields.get("state") == ONLINE
        except InputError:
            present = False
        event = self._event(device)
        if present:
            event.set()
        else:
            event.clear()

    async def online(self, device: str) -> None:
        """Wait until the device is there."""
        await self._event(device).wait()

    def _event(self, device: str) -> asyncio.Event:
        return self._online.setdefault(device, asyncio.Event())
