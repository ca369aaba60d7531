"""What the enrolment authority has revoked: one list, for the appraiser and for whoever else enforces it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from medvouch.collector.registry import Registry
from medvouch.errors import MedvouchError
from medvouch.ports import Clock

log = logging.getLogger(__name__)

RENEWAL_S = 86_400
"""How old a list may be before it is made anew."""

Issue = Callable[[Mapping[int, int], int], bytes]
"""Makes a list (DER) of serial numbers and times, at a time; all in seconds since 1970."""
Enforce = Callable[[bytes], Awaitable[None]]
"""Takes the current list (DER) to the broker, which refuses new connections by it."""


class Revocations:
    """The current list. Two lists never bear the same time: of such, OpenSSL keeps the one it had."""

    def __init__(self, registry: Registry, issue: Issue, clock: Clock, enforce: Enforce | None) -> None:
        self._registry = registry
        self._issue = issue
        self._clock = clock
        self._enforce = enforce
        self._issued = 0
        self._list = b""

    def current(self) -> bytes:
        """The list, DER: as it was last published, or made anew where that is long ago."""
        return self._list if self._clock.now().ms // 1000 < self._issued + RENEWAL_S else self._renewed()

    def _renewed(self) -> bytes:
        self._issued = max(self._clock.now().ms // 1000, self._issued + 1)
        self._list = self._issue(self._registry.revoked(), self._issued)
        return self._list

    async def publish(self) -> None:
        """What the registry says is revoked becomes the current list, and is enforced."""
        renewed = self._renewed()
        if self._enforce is not None:
            await self._enforce(renewed)

    async def keep_current(self) -> None:
        """Have it enforced now and every day, until cancelled."""
        while True:
            try:
                await self.publish()
            except MedvouchError as error:
                log.error("revocation list: %s", error)
            await asyncio.sleep(RENEWAL_S)
