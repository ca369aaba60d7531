"""A look at the repository: brought up to date, remembered, and what it says of trust and time taken over."""

from __future__ import annotations

from dataclasses import dataclass

from medvouch.daemon.mirrors import Mirrors
from medvouch.daemon.trust_adoption import TrustAdoption
from medvouch.daemon.versions import VersionMemory
from medvouch.daemon.worker import in_thread


@dataclass(frozen=True)
class Refreshing:
    """In this order: the versions count before anything that they came with does."""

    mirrors: Mirrors
    memory: VersionMemory
    trust: TrustAdoption

    async def refresh(self, only: str = "") -> None:
        """`only` from this place (a base URL).

        Raises Refusal, InputError where the repository must not be believed; ConfigFault where its trust document
        cannot be used; NetworkFault, StorageFault, TpmFault.
        """
        floor = await self.memory.floor()
        repository = await in_thread(self.mirrors.refresh, floor, only)
        await self.memory.keep(repository.versions)
        await self.trust.refreshed(repository.testified_time)
