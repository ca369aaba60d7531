"""An update from the repository's word to the appraiser's: looked for, staged, activated, tried, self-checked, closed.

Each step is done first and recorded then; what a power cut leaves in between is settled at the next start, from what
the slots say, and what a fault leaves in between at the next try. The old slot stays as it was until the new one is
confirmed. What a release without a slot does instead is said in `parts`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from medvouch.daemon import refusals, suit_reports
from medvouch.daemon.consenting import Consent
from medvouch.daemon.data_migration import DataMigration
from medvouch.daemon.delivery import FORGOTTEN, JOURNAL_KEY
from medvouch.daemon.health import Health
from medvouch.daemon.parts import PartsWay
from medvouch.daemon.recording import Circumstances, Recorder
from medvouch.daemon.refreshing import Refreshing
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.self_check import SelfCheck
from medvouch.daemon.staging import Staging
from medvouch.daemon.standing import (
    DIRECTIVE_KEY,
    INSTALLED_KEY,
    PARTS_KEY,
    REPORT_KEY,
    UPDATE_KEY,
    Change,
    Standing,
)
from medvouch.daemon.update_source import Offer, Present, UpdateSource
from medvouch.daemon.update_state import progress, summary, way_back
from medvouch.daemon.ways import SlotWay, Way
from medvouch.daemon.worker import in_thread
from medvouch.errors import EnvironmentFault, InputError, MedvouchError, Refusal
from medvouch.formats.ear import Ear, Tier
from medvouch.formats.ledger import Attachments, Transition
from medvouch.formats.suit_report import SuitReport
from medvouch.formats.update import PARTS, InstalledRelease, PartsRecord, UpdateRecord
from medvouch.messages.payloads import Fields
from medvouch.ports import Message
from medvouch.update.admission import check_floor
from medvouch.update.refusals import UPDATE_WITHDRAWN
from medvouch.update.transitions import ESCAPABLE, Cause, Update, advance

log = logging.getLogger(__name__)

COMPONENT = "update"
INTERVAL_S = 6 * 3600.0
"""Between two looks at the repository where nothing else asks for one."""
RETRY_S = 300.0
"""Until the next try where the network or the disk was at fault."""
MAX_TRIES = 3
"""Starts of a slot that lose power before it is confirmed."""


class Updating:
    """The update of one device; `run` ends only when it is cancelled."""

    def __init__(
        self,
        source: UpdateSource,
        staging: Staging,
        parts: PartsWay,
        check: SelfCheck,
        standing: Standing,
        recorder: Recorder,
        reporter: Reporter,
        health: Health,
        repository: Refreshing,
        consent: Consent,
        data: DataMigration,
        floor: Callable[[], Awaitable[int]],
        jitter: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._source = source
        self._staging = staging
        self._parts = parts
        self._slots = SlotWay(staging)
        self._check = check
        self._standing = standing
        self._recorder = recorder
        self._reporter = reporter
        self._health = health
        self._repository = repository
        self.consent = consent
        self._holding = consent.holding
        self._data = data
        self._floor = floor
        self._jitter = jitter
        self._nudge = asyncio.Event()
        self._only = ""
        """The place that the next look is at, and no other; empty: where it always is."""
        self._leaving = False
        """Whether the running slot has failed: nothing is done any more but to leave it."""

    def _way(self, record: UpdateRecord) -> Way:
        return self._parts if record.slot == PARTS else self._slots

    @property
    def progress(self) -> Fields:
        """Of the image that is on its way."""
        there = self._staging.delivery.progress
        return progress(there.done, there.total)

    # --- at start ----------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Make of what the last run left what the slots say; a slot that is tried is confirmed or given up."""
        with suppress(MedvouchError):
            await self._guarded(self._settle)
            if (record := self._standing.update) and record.state in (Update.NOTIFIED, Update.STAGED):
                await self._held(record)

    async def _settle(self) -> None:
        record = self._standing.update
        if record is None:
            return
        tried = await self._way(record).tried(record)
        state = Update(record.state)
        if state is Update.STAGED and tried:
            record = await self._move(replace(record, tries=record.tries + 1), Cause.ACTIVATE)
            state = Update.ACTIVATED
        if state is Update.ACTIVATED:
            await self._settle_activated(record, tried)
        elif state is Update.BOOTED:
            await self._settle_booted(record, tried)
        elif state in (Update.FAILED, Update.WITHDRAWN) and tried:
            await self._leave(record)

    async def _settle_activated(self, record: UpdateRecord, tried: bool) -> None:
        if tried:
            await self._self_check(await self._move(record, Cause.BOOT, values=self._data.started()))
        elif await self._way(record).pending(record):
            await self._staging.reboot()
        else:
            running = await in_thread(self._staging.slots.running)
            detail = f"slot {record.slot} did not start, {running} is running again"
            started = self._data.started()  # perhaps it was, without an agent, and wrote data
            await self._end(record, Refusal(refusals.SLOT_FELL_BACK, detail), values=started)

    async def _settle_booted(self, record: UpdateRecord, tried: bool) -> None:
        if tried:
            await self._self_check(record)
        elif record.tries < MAX_TRIES:
            await self._move(record, Cause.FALL_BACK)
        else:
            detail = f"slot {record.slot} was started {record.tries} times and never confirmed"
            await self._end(record, Refusal(refusals.SLOT_FELL_BACK, detail))

    async def _self_check(self, record: UpdateRecord) -> None:
        evidence = await self._check.evidence()
        try:
            await in_thread(self._check.judge, evidence, record.reference)
            if await self._data.expanded():  # by a system that is what it should be, and was not changed by it
                evidence = await self._check.evidence()
                await in_thread(self._check.judge, evidence, record.reference)
            await self._way(record).validate(record)
        except (Refusal, InputError) as error:
            log.error("self-check of %s: %s", record.version, error)
            await self._end(record, error, {"evidence": evidence})
            await self._leave(record)
            return
        await self._way(record).confirm(record)
        installed = InstalledRelease(record.version, record.sequence, record.security_epoch)
        values = {INSTALLED_KEY: installed.encode(), **self._data.confirmed()}
        await self._move(record, Cause.SELF_CHECK, values=values, report=self._report(record))

    async def _leave(self, record: UpdateRecord) -> None:
        """From what failed to what was before, where there is such a thing."""
        self._leaving = record.slot != PARTS
        await self._way(record).leave(record)

    # --- in service --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look for updates, from time to time and when told to.

        `jitter` gives seconds by which each look that nobody asked for comes later: a fleet that was switched on at one
        time does not look at one time.
        """
        await self._rest(self._jitter())
        while True:
            patience = INTERVAL_S
            try:
                await self._guarded(self._advance)
            except EnvironmentFault:
                patience = RETRY_S
            except (Refusal, InputError):
                pass
            await self._rest(patience + self._jitter())

    async def _rest(self, seconds: float) -> None:
        """Until somebody asks for a look, or so long; what is held up meanwhile goes on as soon as it may."""
        now = asyncio.get_running_loop().time
        end = now() + seconds
        while not self._nudge.is_set() and (left := end - now()) > 0:
            with suppress(TimeoutError):  # no wait_for: in Python 3.11 a nudge hides a cancellation that comes with it
                async with asyncio.timeout(min(left, self._holding.patience())):
                    await self._nudge.wait()
            if self._holding.held and not self._nudge.is_set() and not await self._went_on():
                break
        self._nudge.clear()

    async def _went_on(self) -> bool:
        """Go on where nothing holds any more, without a look; whether nothing went wrong."""
        try:
            await self._guarded(self._go_on)
        except MedvouchError:
            return False
        return True

    async def _go_on(self) -> None:
        if self._standing.closed:
            return
        await self._settle()
        await self.consent.lapse()
        if (record := self._standing.update) is not None:
            await self._install(record)

    def nudge(self, only: str = "") -> None:
        """Look now, `only` at this place (a base URL)."""
        self._only = only
        self._nudge.set()

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do it; whatever stops it is told: a refusal as an event, a fault as a problem too. Then it is raised."""
        try:
            await step()
        except MedvouchError as error:
            log.warning("update: %s", error)
            fields = {"code": error.code, "place": error.place or None, "detail": error.detail}
            if isinstance(error, EnvironmentFault):
                self._health.report(COMPONENT, error)
                await self._reporter.event("update-held-up", fields)
            else:
                await self._reporter.event("update-refused", fields)
            raise
        self._health.clear(COMPONENT)

    async def _advance(self) -> None:
        """From wherever it stands as far as it goes."""
        if self._standing.closed:
            return
        await self._settle()
        if self._leaving:
            return
        await self._data.contract()
        only, self._only = self._only, ""
        record = self._standing.update
        if record is None or Update(record.state) in ESCAPABLE:
            record = await self._chosen(record, only)
        elif record.state == Update.STAGED and not await self._way(record).begun(record):
            record = await self._still_wanted(record, only)
        await self.consent.lapse()
        if record is not None:
            await self._install(record, only)

    async def _still_wanted(self, record: UpdateRecord, only: str) -> UpdateRecord | None:
        """What is staged, perhaps for a year, or what took its place; where no look can tell, it goes on if it may."""
        try:
            return await self._chosen(record, only)
        except MedvouchError as error:
            if self._standing.update != record or await self._held(record):
                raise
            log.warning("update: %s goes on without a look: %s", record.version, error)
            return record

    async def _held(self, record: UpdateRecord) -> bool:
        """Whether its next step has to wait."""
        return not await self._way(record).begun(record) and await self._holding.holds()

    async def _install(self, record: UpdateRecord, only: str = "") -> None:
        """As far as nothing holds it up."""
        try:
            if record.state == Update.NOTIFIED and not await self._held(record):
                record = await self._stage(record, only)
            if record.state == Update.STAGED and not await self._held(record):
                await self._activate(record)
        except (Refusal, InputError) as error:
            await self._end(record, error)
            raise

    async def _chosen(self, last: UpdateRecord | None, only: str) -> UpdateRecord | None:
        """The release to install: the one that was chosen before, or another; None where there is none."""
        await self._repository.refresh(only)
        present = Present(self._standing.installed, last, self._standing.directive, await self._floor())
        under_way = last if last and last.state in (Update.NOTIFIED, Update.STAGED) else None
        try:
            offer = await in_thread(self._source.look, present)
        except Refusal as error:
            if under_way and error.kind is UPDATE_WITHDRAWN:
                await self._end(under_way, error, cause=Cause.WITHDRAW, actor="director")
            raise
        if offer is None:
            return under_way
        if under_way and under_way.manifest == offer.manifest:
            await self.consent.directed(offer.directive)
            return under_way
        return await self._notified(offer)

    async def _notified(self, offer: Offer) -> UpdateRecord:
        record = offer.record(PARTS if offer.for_parts else await self._slots.target())
        attachments = {"directive": offer.directive, "manifest": offer.envelope}
        values: dict[str, bytes | None] = {**FORGOTTEN, PARTS_KEY: None, DIRECTIVE_KEY: offer.directive}
        if offer.for_parts:
            values |= {PARTS_KEY: PartsRecord(offer.envelope, None).encode(), **self._data.untouched()}
        else:
            values |= {JOURNAL_KEY: offer.journal(record.slot).encode(), **self._data.admitted(offer.plan.contents)}
        report, notice = suit_reports.chosen(offer.envelope), self._holding.available(record, offer.directive)
        return await self._move(
            record,
            offer.cause,
            values=values,
            attachments=attachments,
            actor="director",
            detail=way_back(offer.cause, self._standing.installed, record),
            report=report,
            notices=[notice],
        )

    async def _stage(self, record: UpdateRecord, only: str) -> UpdateRecord:
        """Into the slot that is not running now: since it was chosen the other one may have been given up."""
        way = self._way(record)
        record = replace(record, slot=await way.target())
        await way.stage(record, only)
        return await self._move(record, Cause.STAGE, values=FORGOTTEN, report=self._report(record))

    def _report(self, record: UpdateRecord) -> SuitReport | None:
        last = self._standing.suit_report
        return last and self._way(record).report(last, record)

    async def _activate(self, record: UpdateRecord) -> None:
        """Again held against the floor and read back: since it was staged the device may have been off for a year.

        Reading back takes its time, in which somebody may have had their say.
        """
        check_floor(record.version, record.security_epoch, await self._floor())
        way = self._way(record)
        await way.recheck(record)
        async with self.consent.lock:
            if await self._held(record):
                return
            values = await way.activate(record)
            tried = replace(record, tries=record.tries + 1)
            await self._move(tried, Cause.ACTIVATE, values=values, report=self._report(record))
        await self._staging.reboot()

    async def judged(self, ear: Ear) -> None:
        """A verdict came home: a good one on this boot closes the update."""
        record = self._standing.update
        if record is None or record.state != Update.SELF_CHECKED or ear.status is not Tier.AFFIRMING:
            return
        if ear.boot_count == self._check.boot_count:
            await self._move(record, Cause.CLOSE, actor="appraiser", named={"evidence": ear.evidence_digest})
            if self._data.waits:
                self._nudge.set()

    async def _end(
        self,
        record: UpdateRecord,
        error: MedvouchError,
        attachments: Attachments | None = None,
        *,
        values: Mapping[str, bytes | None] | None = None,
        cause: Cause = Cause.FAIL,
        actor: str = "agent",
    ) -> None:
        ended, last = replace(record, code=error.code), self._standing.suit_report
        report = last and self._way(record).failure(last, record, error)
        detail = f"{error.code}: {error.detail}"
        await self._move(
            ended, cause, values=values, attachments=attachments, actor=actor, detail=detail, report=report
        )

    async def _move(
        self,
        record: UpdateRecord,
        cause: Cause,
        *,
        values: Mapping[str, bytes | None] | None = None,
        attachments: Attachments | None = None,
        named: Mapping[str, bytes] | None = None,
        actor: str = "agent",
        detail: str = "",
        report: SuitReport | None = None,
        notices: Sequence[Message] = (),
    ) -> UpdateRecord:
        """One transition: record, ledger entry, event and state at once, and a checkpoint; a report goes into both."""
        last = self._standing.update
        before = Update(last.state) if last else Update.NONE
        after = advance(before, cause)
        moved = replace(record, state=after)
        kept: dict[str, bytes | None] = {UPDATE_KEY: moved.encode(), **(values or {})}
        attached = dict(attachments or {})
        if report:
            kept[REPORT_KEY] = attached["suit-report"] = report.encode()
        change = Change(Transition("update", before, after, cause), kept)
        subject = {"image": record.digest, "envelope": record.manifest}
        around = Circumstances(
            actor=actor,
            owner=self._standing.owner,
            attachments=attached,
            named={**subject, **(named or {})},
            detail=detail or f"release {record.version}, sequence {record.sequence}, slot {record.slot}",
        )
        self._holding.over()
        told = self._reporter.event_message("update", summary(moved))
        state = self._reporter.state_message("update", self._holding.state(moved))
        await self._recorder.record(change, around, [told, *notices, state], checkpoint=True)
        return moved
