"""Releases for parts of which there is one: no slot to write beside, and none to go back to.

So all that can be known is known before anything is changed: the payloads are there and whole, the reference values are
signed, and they are of this very device wherever the release changes nothing. The parts are installed just before the
restart, by the install section of the manifest. That it was begun is durable first: after a power cut it is run again,
whatever the user or the director says by then, since each part recognises what it has already and half of a release is
what nobody has predicted. Where the next boot is not as predicted the update has failed, and another release has to
mend it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from medvouch.daemon import refusals, suit_reports
from medvouch.daemon.mirrors import Places
from medvouch.daemon.self_check import SelfCheck
from medvouch.daemon.standing import PARTS_KEY, Standing
from medvouch.daemon.worker import in_thread
from medvouch.errors import InputError, MedvouchError, NetworkFault, Refusal, StorageFault
from medvouch.formats.reference import ReferenceValues
from medvouch.formats.secure_boot import MAX_UPDATE_BYTES, SignedUpdate
from medvouch.formats.suit_manifest import ComponentId, component_name
from medvouch.formats.suit_report import SuitReport
from medvouch.formats.update import PARTS, PartsRecord, UpdateRecord
from medvouch.ports import Fetcher, Source, Store
from medvouch.update.execution import Procedure
from medvouch.update.parts import REFERENCE_FILE, SECURE_BOOT, Outcome, parts_in, staged, unaffected
from medvouch.update.payload import SPOILED, bounded
from medvouch.update.platform import Platform
from medvouch.update.secure_boot import check_keeps_booting
from medvouch.update.transitions import Update

log = logging.getLogger(__name__)

_MEASURED = range(16)


@dataclass(frozen=True)
class Parts:
    """The parts that this device has, and how to get at them. Blocking.

    `stage` runs STAGE of an envelope with what a Source has; `staging` is where that puts payloads. `install` runs
    INSTALL or BOOT of a release whose payloads are staged, as whoever may write the parts. Both raise where the
    envelope is not to be believed, or nobody can be asked.
    """

    here: Collection[ComponentId]
    staging: Platform
    stage: Callable[[bytes, Source], Outcome]
    install: Callable[[bytes, Procedure], Outcome]


@dataclass(frozen=True)
class PlacedFetcher:
    """Fetches from the first of the places that has it, `only` from one."""

    fetcher: Fetcher
    places: Places
    only: str = ""

    def fetch(self, url: str) -> Iterator[bytes]:
        """NetworkFault of the last place where none has it; one that breaks off midway is not made up for here."""
        *others, last = self.places.bases(self.only)
        for base in others:
            chunks = self.fetcher.fetch(self.places.at(base, url))
            try:
                first = next(chunks, b"")
            except NetworkFault:
                continue
            with closing(chunks):
                yield first
                yield from chunks
            return
        with closing(self.fetcher.fetch(self.places.at(last, url))) as chunks:
            yield from chunks


class PartsWay:
    """`ways.Way` of such releases; `source(only)` has their payloads."""

    def __init__(
        self, parts: Parts, source: Callable[[str], PlacedFetcher], check: SelfCheck, standing: Standing, store: Store
    ) -> None:
        self._parts = parts
        self._source = source
        self._check = check
        self._standing = standing
        self._store = store
        self._outcome: Outcome | None = None

    async def target(self) -> str:
        """No slot."""
        return PARTS

    async def stage(self, record: UpdateRecord, only: str) -> None:
        """All payloads into the state directory, by the manifest's own commands; where a mirror has something else, all
        from the repository.
        """
        source = self._source(only)
        try:
            await self._run(record, lambda envelope: self._parts.stage(envelope, source))
        except Refusal as refusal:
            if only or not source.places.mirrors or refusal.kind not in SPOILED:
                raise
            log.warning("all comes anew, from the repository: %s", refusal)
            alone = replace(source, only=source.places.repository)
            await self._run(record, lambda envelope: self._parts.stage(envelope, alone))

    async def recheck(self, record: UpdateRecord) -> None:
        """What is predicted is of this system, and no change of Secure Boot's databases is in the way of it.

        Raises Refusal `reference-untrusted`, `reference-of-another-system`, `secure-boot-update-*`.
        """
        values, parts = self._check.values(record.reference), self._named(record)
        evidence = await self._check.evidence()
        try:
            await in_thread(self._check.judge, evidence, record.reference, unaffected(parts, _MEASURED))
        except Refusal as error:
            detail = f"{error.code}: {error.detail}"
            raise Refusal(refusals.REFERENCE_OF_ANOTHER_SYSTEM, detail, place=error.place) from error
        await in_thread(self._check_starts, parts, values)

    def _check_starts(self, parts: Collection[ComponentId], values: ReferenceValues) -> None:
        for part in parts:
            if part in SECURE_BOOT:
                data = bounded(self._parts.staging.read(staged(part), None), MAX_UPDATE_BYTES + 1)
                try:
                    update = SignedUpdate.parse(data)
                except InputError:
                    continue  # whoever installs it says so
                check_keeps_booting(update, *SECURE_BOOT[part], values, component_name(part))

    async def activate(self, record: UpdateRecord) -> Mapping[str, bytes | None]:
        """Installed, in this boot; the intent is durable first."""
        intent = {PARTS_KEY: replace(self._kept(record), installed_in=self._check.boot_count).encode()}
        self._store.put(intent)
        await self._run(record, lambda envelope: self._parts.install(envelope, Procedure.INSTALL))
        return intent

    async def begun(self, record: UpdateRecord) -> bool:
        """Some parts may be installed, and others not."""
        return self._kept(record).installed_in is not None

    async def tried(self, record: UpdateRecord) -> bool:
        """The parts were installed in another boot than this one."""
        if record.state not in (Update.ACTIVATED, Update.BOOTED):
            return False
        return self._kept(record).installed_in != self._check.boot_count

    async def pending(self, _: UpdateRecord) -> bool:
        """They were, and there has been no other boot: nothing else can become of them."""
        return True

    async def validate(self, record: UpdateRecord) -> None:
        """The manifest's own sections for a boot."""
        await self._run(record, lambda envelope: self._parts.install(envelope, Procedure.BOOT))

    async def confirm(self, record: UpdateRecord) -> None:
        """What was staged is not needed any more."""
        await in_thread(self._forget, self._named(record))

    async def leave(self, record: UpdateRecord) -> None:
        """There is nowhere to go; what was staged is not to be installed again."""
        await in_thread(self._forget, self._named(record))

    def _forget(self, parts: Collection[ComponentId]) -> None:
        for component in (*map(staged, parts), REFERENCE_FILE):
            self._parts.staging.remove(component)

    def report(self, last: SuitReport, record: UpdateRecord) -> SuitReport | None:
        """The processor's own, command by command."""
        return suit_reports.continued(last, self._outcome.report, record) if self._outcome else None

    def failure(self, last: SuitReport, record: UpdateRecord, error: MedvouchError) -> SuitReport:
        """Likewise, where it was a command that failed."""
        if self._outcome and self._outcome.error is error:
            return suit_reports.continued(last, self._outcome.report, record)
        return suit_reports.failed(last, record, error)

    async def _run(self, record: UpdateRecord, run: Callable[[bytes], Outcome]) -> None:
        self._outcome = None
        self._outcome = outcome = await in_thread(run, self._kept(record).envelope)
        if outcome.error:
            raise outcome.error

    def _named(self, record: UpdateRecord) -> tuple[ComponentId, ...]:
        return parts_in(self._kept(record).envelope)

    def _kept(self, record: UpdateRecord) -> PartsRecord:
        kept = self._standing.parts
        if kept is None or kept.manifest != record.manifest:
            remedy = "restore the state directory from a backup, or enrol the device again"
            raise StorageFault("state-corrupt", f"the manifest of release {record.version} is lost", remedy=remedy)
        return kept
