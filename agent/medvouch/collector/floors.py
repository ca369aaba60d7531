"""The floor follows what devices were found to run (DESIGN §7): remembered here, and raised in their TPMs."""

from __future__ import annotations

import logging

from medvouch.collector.challenging import Outcome
from medvouch.collector.commanding import Commander
from medvouch.collector.registry import EnrolledDevice, Registry
from medvouch.crypto.floor import approve
from medvouch.crypto.keys import Signer
from medvouch.errors import MedvouchError, NetworkFault
from medvouch.formats.enrolment import ueid

log = logging.getLogger(__name__)

SETTLED = frozenset({None, "none", "self_checked", "closed", "withdrawn"})
"""States of an update in which a device does not go back to what it ran before."""


class FloorDesk:
    """Approves rises; `authority` is the floor authority's key (ECDSA on P-256)."""

    def __init__(self, registry: Registry, commander: Commander, authority: Signer) -> None:
        self._registry = registry
        self._commander = commander
        self._authority = authority
        self._under_way: set[str] = set()

    def judged(self, outcome: Outcome) -> bool:
        """Remember the security epoch of a device found good; whether its TPM has to be told."""
        appraisal, record = outcome.appraisal, self._registry.find(outcome.device)
        if appraisal is None or record is None or appraisal.claims.update_state not in SETTLED:
            return False
        if appraisal.security_epoch is None:
            return False
        self._registry.raise_floor(record.ek_hash, appraisal.security_epoch)
        return appraisal.security_epoch > record.raised_epoch

    async def follow(self, device: str) -> None:
        """Raise the device's floor step by step. What fails is left for the next verdict; nothing is raised."""
        if device in self._under_way:
            return
        self._under_way.add(device)
        try:
            while (record := self._registry.find(device)) and record.raised_epoch < self._known(record):
                await self._rise(record)
        except MedvouchError as error:
            log.warning("floor of %s: %s", device, error)
        finally:
            self._under_way.discard(device)

    def _known(self, record: EnrolledDevice) -> int:
        return self._registry.floor(record.ek_hash)

    async def _rise(self, record: EnrolledDevice) -> None:
        counter = record.present_counter
        approval = approve(self._authority, record.nv_names["floor"], counter, ueid(record.ek_hash))
        answer = await self._commander.ask(record.device, "floor", {"approval": approval.encode()})
        if answer.get("counter") != counter + 1:
            detail = f"{record.device} says {answer.get('counter')!r} where {counter + 1} was approved"
            raise NetworkFault("answer-unexpected", detail, remedy="look at the device: its agent misbehaves")
        self._registry.risen(record.device, counter + 1)
