"""Whether the clinical workload is busy, as a hook says; one that cannot say counts as busy."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from medvouch.daemon.health import Health
from medvouch.errors import EnvironmentFault

log = logging.getLogger(__name__)

COMPONENT = "busy-command"


@dataclass(frozen=True)
class Workload:
    """`ask` raises EnvironmentFault where it gets no answer; None: nothing that runs here must not be interrupted."""

    ask: Callable[[], Awaitable[bool]] | None
    health: Health

    async def busy(self) -> bool:
        """Now; where nobody can say, that is a problem in `health`, and the answer is yes."""
        if self.ask is None:
            return False
        try:
            busy = await self.ask()
        except EnvironmentFault as fault:
            if self.health.report(COMPONENT, fault):
                log.warning("%s", fault)
            return True
        self.health.clear(COMPONENT)
        return busy
