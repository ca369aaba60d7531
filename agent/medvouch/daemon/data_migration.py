"""The product's data on its way from one release to the next, and never further than the old slot can follow.

    chosen          the release reads what is there, and the running one what it will write: else it is refused
    booted          from now on it may have written, also where its agent never came up
    expand          `migrate_command expand OLD NEW` adds what the new release needs; where it fails, so has the update
    confirmed       every start boots the new release; the old one still reads all there is
    closed          an appraiser has seen it
    contract        `migrate_command contract OLD NEW` takes away what only the old release needed

OLD and NEW are formats. The command may be interrupted at any instant and is run again then, from its beginning.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from medvouch.daemon import refusals
from medvouch.daemon.health import Health
from medvouch.daemon.recording import Circumstances, Recorder
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import DATA_INSTALLED_KEY, DATA_OFFERED_KEY, DATA_STATE_KEY, Change, Standing
from medvouch.daemon.worker import in_thread
from medvouch.errors import EnvironmentFault, Refusal
from medvouch.formats.data_format import DataFormat, DataState
from medvouch.formats.ledger import Transition
from medvouch.messages.payloads import Fields
from medvouch.ports import Slots, Store
from medvouch.update.data_formats import begun, check_data, contracted, contracting, declared
from medvouch.update.transitions import Update

log = logging.getLogger(__name__)

COMPONENT = "data"
EXPAND, CONTRACT = "expand", "contract"
Run = Callable[[Sequence[str]], Awaitable[None]]
Values = Mapping[str, bytes | None]


@dataclass(frozen=True)
class DataMigration:
    """`run` is the product's command with these arguments after it, in bounded time; None where it has none.

    It raises EnvironmentFault where the command fails.
    """

    run: Run | None
    slots: Slots
    store: Store
    standing: Standing
    recorder: Recorder
    reporter: Reporter
    health: Health

    def admitted(self, contents: Mapping[str, bytes]) -> Values:
        """What to keep of a release with these contents. Refusal `data-*`; InputError `data-format-*`, `cbor-*`."""
        new = declared(contents)
        check_data(new, self.standing.data_installed, self.standing.data_state)
        return {DATA_OFFERED_KEY: new.encode()}

    def untouched(self) -> Values:
        """Likewise of a release that brings no system: whose data this is goes on running."""
        return {DATA_OFFERED_KEY: self.standing.data_installed.encode()}

    def started(self) -> Values:
        """What to keep once the release that was chosen has booted, or may have."""
        return {DATA_STATE_KEY: begun(self.standing.data_state, self.standing.data_offered).encode()}

    async def expanded(self) -> bool:
        """Migrate for the release that is being tried; whether there was anything to do. Refusal
        `data-migration-failed`.
        """
        old, new = self.standing.data_installed, self.standing.data_offered
        if self.run is None or new.writes <= old.writes:
            return False
        await self._carry_out(EXPAND, old.writes, new)
        await self._record(EXPAND, old.writes, new, self.standing.data_state)
        return True

    def confirmed(self) -> Values:
        """What to keep once the release that was tried is the installed one."""
        return {DATA_INSTALLED_KEY: self.standing.data_offered.encode()}

    @property
    def waits(self) -> bool:
        """Whether the installed release is closed, and what only older ones need is still there."""
        record = self.standing.update
        closed = record is not None and record.state == Update.CLOSED
        return closed and self.run is not None and self.standing.data_state.holds < self.standing.data_installed.writes

    async def contract(self) -> None:
        """Take it away, where it waits for that. What fails is a problem, and no obstacle to the next release.

        The intent is durable first: half of it may be away already after a power cut.
        """
        record = self.standing.update
        if not self.waits or record is None or await in_thread(self.slots.running) != record.slot:
            self.health.clear(COMPONENT)
            return
        there, new = self.standing.data_state, self.standing.data_installed
        self.store.put({DATA_STATE_KEY: contracting(there, new).encode()})
        try:
            await self._carry_out(CONTRACT, there.holds, new)
        except Refusal as refused:
            log.warning("%s", refused)
            if self.health.report(COMPONENT, refused):
                fields = {"code": refused.code, "place": refused.place, "detail": refused.detail}
                await self.reporter.event("update-held-up", fields)
            return
        await self._record(CONTRACT, there.holds, new, contracted(new))
        self.health.clear(COMPONENT)

    async def _carry_out(self, half: str, old: int, new: DataFormat) -> None:
        assert self.run is not None
        try:
            await self.run([half, str(old), str(new.writes)])
        except EnvironmentFault as fault:
            detail = f"{half} from format {old} to {new.writes}: {fault.detail}"
            raise Refusal(refusals.DATA_MIGRATION_FAILED, detail, place=half) from fault

    async def _record(self, half: str, old: int, new: DataFormat, left: DataState) -> None:
        before, after = self.standing.data_state.step, f"{half} {new.writes}"
        change = Change(Transition("data", before, after, half), {DATA_STATE_KEY: replace(left, step=after).encode()})
        around = Circumstances("agent", self.standing.owner, detail=f"from format {old} to {new.writes}")
        fields: Fields = {"cause": half, "before": old, "after": new.writes}
        await self.recorder.record(change, around, [self.reporter.event_message("data-migrated", fields)])
