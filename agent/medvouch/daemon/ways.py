"""How a release gets onto the device and is started: by way of a slot, or into parts of which there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from medvouch.daemon import suit_reports
from medvouch.daemon.staging import Staging
from medvouch.daemon.worker import in_thread
from medvouch.errors import MedvouchError
from medvouch.formats.suit_report import SuitReport
from medvouch.formats.update import UpdateRecord
from medvouch.update.transitions import Update


class Way(Protocol):
    """What `Updating` asks for between one state of an update and the next.

    `last` is the report of the update so far; a report that is given goes on from it.
    """

    async def target(self) -> str:
        """What to call the place that a release goes to now."""
        ...

    async def stage(self, record: UpdateRecord, only: str, /) -> None:
        """Fetch all of it, `only` from this place, and hold it against what was signed. Once more is no different."""
        ...

    async def recheck(self, record: UpdateRecord, /) -> None:
        """Whether what was staged, perhaps long ago, may be started."""
        ...

    async def activate(self, record: UpdateRecord, /) -> Mapping[str, bytes | None]:
        """The next start tries it; what is to be remembered with that. Once more is no different."""
        ...

    async def begun(self, record: UpdateRecord, /) -> bool:
        """Whether that may have been done in part, so that the rest of it waits for nobody."""
        ...

    async def tried(self, record: UpdateRecord, /) -> bool:
        """Whether this is that start."""
        ...

    async def pending(self, record: UpdateRecord, /) -> bool:
        """Whether that start has not come yet."""
        ...

    async def validate(self, record: UpdateRecord, /) -> None:
        """Hold what was started against what was signed, where it can be read back."""
        ...

    async def confirm(self, record: UpdateRecord, /) -> None:
        """It is good: every start is of it from now on."""
        ...

    async def leave(self, record: UpdateRecord, /) -> None:
        """It is not: go back to what was before, where there is such a thing."""
        ...

    def report(self, last: SuitReport, record: UpdateRecord, /) -> SuitReport | None:
        """What has come of the step from where `record` stands; None where there is no more to say."""
        ...

    def failure(self, last: SuitReport, record: UpdateRecord, error: MedvouchError, /) -> SuitReport:
        """The same where that was an error."""
        ...


@dataclass(frozen=True)
class SlotWay:
    """Two slots, of which one goes on running whatever becomes of the other."""

    staging: Staging

    async def target(self) -> str:
        """The slot that is not running."""
        return await in_thread(self.staging.slots.other)

    async def stage(self, record: UpdateRecord, only: str) -> None:
        """Delivered, and read back."""
        await self.staging.stage(record, only)

    async def recheck(self, record: UpdateRecord) -> None:
        """Read back once more."""
        await self.staging.reread(record)

    async def activate(self, record: UpdateRecord) -> Mapping[str, bytes | None]:
        """Once: the boot record remembers."""
        await in_thread(self.staging.slots.activate, record.slot)
        return {}

    async def begun(self, _: UpdateRecord) -> bool:
        """It is done at once, or not at all."""
        return False

    async def tried(self, record: UpdateRecord) -> bool:
        """It is running."""
        return await in_thread(self.staging.slots.running) == record.slot

    async def pending(self, record: UpdateRecord) -> bool:
        """It is armed."""
        return await in_thread(self.staging.slots.activated) == record.slot

    async def validate(self, _: UpdateRecord) -> None:
        """What runs from a slot is measured."""

    async def confirm(self, _: UpdateRecord) -> None:
        """The default from now on."""
        await in_thread(self.staging.slots.confirm)

    async def leave(self, record: UpdateRecord) -> None:
        """To the slot before."""
        await in_thread(self.staging.slots.retire, record.slot)
        await self.staging.reboot()

    def report(self, last: SuitReport, record: UpdateRecord) -> SuitReport | None:
        """The plan was followed: one claim, and in the end that this is what runs."""
        match record.state:
            case Update.NOTIFIED:
                return suit_reports.staged(last, record)
            case Update.BOOTED:
                return suit_reports.done(last)
        return None

    def failure(self, last: SuitReport, record: UpdateRecord, error: MedvouchError) -> SuitReport:
        """In the section that comes next."""
        return suit_reports.failed(last, record, error)
