"""Every boot is appraised by itself: a device whose resetCount changed is challenged as soon as it says so."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from medvouch.collector.presence import ONLINE
from medvouch.collector.registry import Registry
from medvouch.errors import InputError, MedvouchError, NetworkFault
from medvouch.messages import payloads

log = logging.getLogger(__name__)

MAX_RESET_DIGITS = 10


class BootWatch:
    """Reads `boot_id` on `status/agent`. It is the device's own word, and costs it no more than a challenge for a boot.

    A device that hides a reset gains nothing: the quote of its next evidence says resetCount, signed by the TPM.
    """

    def __init__(self, registry: Registry, challenge: Callable[[str], Awaitable[object]]) -> None:
        self._registry = registry
        self._challenge = challenge
        self._asked: dict[str, int] = {}

    def heard(self, device: str, payload: bytes) -> bool:
        """Whether the device is there in a boot that was neither accepted nor asked about yet; then it counts as asked.

        Raises StorageFault.
        """
        reset_count = _reset_count(payload)
        record = self._registry.find(device)
        if record is None or reset_count is None:
            return False
        accepted = record.reset_count if record.clock_ms else None
        if reset_count in (accepted, self._asked.get(device)):
            return False
        self._asked[device] = reset_count
        return True

    async def appraise(self, device: str) -> None:
        """Challenge it; where no evidence comes, its next word on `status/agent` is a reason to ask again."""
        try:
            await self._challenge(device)
        except NetworkFault as error:
            self._asked.pop(device, None)
            log.warning("%s booted, and: %s", device, error)
        except MedvouchError as error:
            log.warning("%s booted, and: %s", device, error)


def _reset_count(payload: bytes) -> int | None:
    """Of the boot that a device that is there names; a boot's name is `resetCount.restartCount`."""
    try:
        said = payloads.parse(payload)
    except InputError:
        return None
    number = said.stamp.boot_id.partition(".")[0]
    if said.fields.get("state") != ONLINE or len(number) > MAX_RESET_DIGITS or not number.isdecimal():
        return None
    return int(number)
