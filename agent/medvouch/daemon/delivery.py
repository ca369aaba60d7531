"""How an image gets into its slot: from where it was left, from the active slot what is there, the rest over the wire.

Nothing on the way is trusted, neither the journal, nor the index, nor what the slots hold: in the end the whole is held
against its signed digest. Where that fails and more than the wire was involved, the wire alone gets a second try.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace

from medvouch.daemon.ahead import ahead
from medvouch.daemon.mirrors import Places
from medvouch.daemon.worker import while_wanted
from medvouch.errors import InputError, MedvouchError, NetworkFault, Refusal, StorageFault
from medvouch.formats.blocks import BlockIndex
from medvouch.formats.update import MAX_VALIDATOR, FetchJournal, UpdateRecord
from medvouch.ports import Fetcher, Remote, Slots, Store
from medvouch.update.blocks import BLOCKS, Stretch, check_index, match, proven, stretches
from medvouch.update.payload import SPOILED, Payload, checked

log = logging.getLogger(__name__)

JOURNAL_KEY = "fetch"
INDEX_KEY = "fetch-index"
UNREAD_KEY = "unread"
FORGOTTEN = {JOURNAL_KEY: None, INDEX_KEY: None, UNREAD_KEY: None}
"""What to write once an image is where it belongs."""

PROGRESS_STEP = 10
"""Percent between two events of progress."""

Tell = Callable[[int], None]
"""Is told how many bytes there are."""


class _ActiveUnreadable(Exception):
    """The active slot does not give what it gave before."""


@dataclass(frozen=True)
class _Way:
    """How the rest of an image comes: from `start` on, in `stretches`, or None: all of it over the wire."""

    start: int = 0
    stretches: Iterable[Stretch] | None = None


@dataclass
class Progress:
    """How much of the image that is on its way is there, in bytes; `total` is 0 where none is."""

    done: int = 0
    total: int = 0

    def following(self, chunks: Iterable[bytes], start: int, total: int) -> Iterator[bytes]:
        """The chunks."""
        self.done, self.total = start, total
        for chunk in chunks:
            yield chunk
            self.done += len(chunk)


@dataclass(frozen=True)
class _Task:
    """`found`: what the active slot has, by the digest of an index; to read it all once is enough."""

    record: UpdateRecord
    tell: Tell
    unwanted: threading.Event
    found: dict[bytes, array[int] | None] = field(default_factory=dict)

    def wanted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        return while_wanted(chunks, self.unwanted)


@dataclass(frozen=True)
class Delivery:
    """Fetches images into slots; what is journalled in the store outlives every interruption. Blocking."""

    slots: Slots
    fetcher: Fetcher
    store: Store
    places: Places
    progress: Progress = field(default_factory=Progress)

    def deliver(
        self, record: UpdateRecord, tell: Tell, only: str = "", unwanted: threading.Event | None = None
    ) -> None:
        """Fetch and write the image. A mirror that has something else stops nothing: the last place has the last word.

        Raises Refusal `payload-*`, `blocks-mismatch`; InputError; NetworkFault where no place has it; StorageFault;
        Unwanted once that is set.
        """
        *mirrors, last = self.places.bases(only)
        task = _Task(record, tell, unwanted or threading.Event())
        for base in mirrors:
            try:
                self._from(base, task)
                return
            except NetworkFault as fault:
                log.warning("%s: %s", base, fault)
            except Refusal as refusal:
                if refusal.kind not in SPOILED:
                    raise
                log.warning("%s: %s", base, refusal)
                self._keep(replace(self._journal(record), done=0, source="", validator=""))
        self._from(last, task)

    def _from(self, base: str, task: _Task) -> None:
        journal = self._journal(task.record)
        way = self._way(base, task, journal)
        try:
            self._write(base, task, journal, way)
        except (NetworkFault, Refusal, _ActiveUnreadable) as error:
            if way == _Way() or not _may_be_ours(error):
                raise
            log.warning("%s comes anew, and whole: %s", task.record.uri, error)
            self._write(base, task, replace(journal, source="", validator=""), _Way())

    def _keep(self, journal: FetchJournal) -> None:
        self.store.put({JOURNAL_KEY: journal.encode()})

    def _journal(self, record: UpdateRecord) -> FetchJournal:
        """That of this release, or a new one."""
        if data := self.store.get(JOURNAL_KEY):
            with suppress(InputError):
                journal = FetchJournal.parse(data)
                if journal.manifest == record.manifest:
                    elsewhere = replace(journal, slot=record.slot, done=0, source="", validator="")
                    return journal if journal.slot == record.slot else elsewhere
        return FetchJournal(record.manifest, record.slot, 0, "", "", None)

    def _way(self, base: str, task: _Task, journal: FetchJournal) -> _Way:
        record, known = task.record, task.found
        extent = self.slots.extent(record.slot)
        start = min(journal.done, extent, record.size)
        index = self._index(base, record, journal)
        if index is None or journal.index is None:
            return _Way(start)
        if journal.index.digest not in known:
            known[journal.index.digest] = self._found(index, task)
        found = known[journal.index.digest]
        start -= start % index.block_size
        with suppress(StorageFault):
            rest = min(extent, record.size) - start
            start = proven(index, self.slots.read(record.slot, rest, start=start), start)
        start -= 0 if start == record.size else start % index.block_size
        return _Way(start, None if found is None else stretches(index, found, start))

    def _index(self, base: str, record: UpdateRecord, journal: FetchJournal) -> BlockIndex | None:
        """The index of the image, if the release has one. Raises Refusal `payload-*`, `blocks-mismatch`; InputError."""
        named = journal.index
        if named is None:
            return None
        data = self.store.get(INDEX_KEY)
        if data is None or hashlib.sha256(data).digest() != named.digest:
            try:
                with closing(self.fetcher.fetch(self.places.at(base, named.uri))) as chunks:
                    data = b"".join(checked(chunks, Payload(BLOCKS, named.uri, named.digest, named.size)))
            except NetworkFault as fault:
                if fault.code != "fetch-not-found":
                    raise
                log.warning("no delta: %s", fault)
                return None
            self.store.put({INDEX_KEY: data})
        index = BlockIndex.parse(data)
        check_index(index, _image(record))
        return index

    def _found(self, index: BlockIndex, task: _Task) -> array[int] | None:
        """Which blocks the active slot has; None where it has none, or cannot be read."""
        active = self.slots.running()
        try:
            found = match(index, task.wanted(self.slots.read(active, self.slots.extent(active))))
        except StorageFault as fault:
            log.warning("no delta: %s", fault)
            return None
        return found if any(stretch.source is not None for stretch in stretches(index, found)) else None

    def _write(self, base: str, task: _Task, journal: FetchJournal, way: _Way) -> None:
        record = task.record
        url = self.places.at(base, record.uri)
        validator = journal.validator if journal.source == url and way.start else ""
        with closing(self.fetcher.open(url, validator)) as remote:

            def durable(done: int) -> None:
                named = remote.validator if len(remote.validator) <= MAX_VALIDATOR else ""
                self._keep(replace(journal, done=done, source=url, validator=named))

            durable(way.start)
            kept = self.slots.read(record.slot, way.start) if way.start else iter(())
            rest = checked(task.wanted(self._chunks(remote, record, way)), _image(record), kept)
            with closing(ahead(rest)) as made:
                followed = self.progress.following(made, way.start, record.size)
                told = counted(followed, way.start, record.size, task.tell)
                try:
                    self.slots.write(record.slot, told, start=way.start, durable=durable)
                finally:
                    self.progress.total = 0

    def _chunks(self, remote: Remote, record: UpdateRecord, way: _Way) -> Iterator[bytes]:
        if way.start == record.size and way.start:
            return
        if way.stretches is None:
            yield from remote.read(way.start)
            return
        for stretch in way.stretches:
            if stretch.source is None:
                yield from remote.read(stretch.start, stretch.end)
            else:
                yield from self._local(stretch.source, stretch.end - stretch.start)

    def _local(self, source: int, size: int) -> Iterator[bytes]:
        try:
            yield from self.slots.read(self.slots.running(), size, start=source)
        except StorageFault as fault:
            raise _ActiveUnreadable(str(fault)) from fault


def counted(chunks: Iterable[bytes], start: int, total: int, tell: Tell) -> Iterator[bytes]:
    """The chunks; `tell` hears of every PROGRESS_STEP percent."""
    done, told = start, 100 * start // max(total, 1)
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        percent = 100 * done // max(total, 1)
        if percent >= told + PROGRESS_STEP or done == total:
            told = percent
            tell(done)


def _image(record: UpdateRecord) -> Payload:
    return Payload(record.slot, record.uri, record.digest, record.size)


def _may_be_ours(error: MedvouchError | _ActiveUnreadable) -> bool:
    """Whether what was kept or copied may be at fault, and not what came over the wire."""
    if isinstance(error, Refusal):
        return error.kind in SPOILED
    return isinstance(error, _ActiveUnreadable) or error.code == "fetch-no-range"
