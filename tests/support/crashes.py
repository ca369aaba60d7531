"""Every state that a power cut may leave on a disk: what was written, and what of it had not been fsynced yet.

After Pillai et al., "All File Systems Are Not Created Equal" (ALICE, OSDI 2014). `Recording` notes what the agent does
to the files in a folder, as it does it: writes page by page, truncations, new names, renames, removals, fsyncs of files
and of folders. Contents are durable after an fsync of their file, names after one of their folder, and nothing before;
what is not durable may be lost or kept piece by piece, in any order. A rename is one step where the file system sees to
that. FAT does not: in the folders that are said to be on one, the name that is replaced goes, the file comes under its
new name, and its old name goes, each of which may be lost without the others.

SQLite's own durability is trusted (WAL, synchronous FULL): a transaction is one step, durable at once. The TPM's state
is that of the same instant.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from medvouch.adapters.store import SqliteStore

PAGE = 4096
"""What a disk and a page cache lose or keep as a whole."""
EVERY_SUBSET = 10
"""Writes that wait at once in an update of the fixtures: all 2^10 disks that they may leave are built."""


@dataclass(frozen=True)
class Written:
    """Bytes at an offset of a file; no bytes at all cut the file off there."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Named:
    """A name leads to a file from now on, or to none; `was`: the name that it had before."""

    folder: str
    name: str
    file: int | None
    was: str = ""


@dataclass(frozen=True)
class Synced:
    """A file's contents are durable, or a folder's names."""

    what: int | str


@dataclass(frozen=True)
class Committed:
    """A transaction; the whole database after it."""

    database: bytes


Step = Written | Named | Synced | Committed


@dataclass(frozen=True)
class Files:
    """A disk: names and what stands in the files; `database` is SQLite's."""

    names: Mapping[str, int]
    contents: Mapping[int, bytes]
    database: bytes

    def after(self, step: Step) -> Files:
        """Once this step is on the medium."""
        if isinstance(step, Written):
            old = self.contents.get(step.file, b"")
            new = old[: step.offset].ljust(step.offset, b"\0") + step.data
            if step.data:
                new += old[len(new) :]
            return Files(self.names, {**self.contents, step.file: new}, self.database)
        if isinstance(step, Named):
            names = {name: file for name, file in self.names.items() if name not in (step.was, step.name)}
            if step.file is not None:
                names[step.name] = step.file
            return Files(names, self.contents, self.database)
        if isinstance(step, Committed):
            return Files(self.names, self.contents, step.database)
        return self

    def after_all(self, steps: Sequence[Step]) -> Files:
        files = self
        for step in steps:
            files = files.after(step)
        return files

    def by_name(self) -> dict[str, bytes]:
        """What is found there."""
        return {name: self.contents.get(file, b"") for name, file in self.names.items()}


@dataclass(frozen=True)
class Crash:
    """One state that a power cut may leave: after `point` steps, of which those in `lost` never reached the medium."""

    point: int
    lost: str
    files: Mapping[str, bytes]
    database: bytes
    tpm: Mapping[str, bytes]


@dataclass
class Recording:
    """What happens below `root`; `database` is left to SQLite, `tpm` is a folder to remember along."""

    root: Path
    database: Path
    tpm: Path
    fat: Sequence[str] = ()
    """Folders below `root` on FAT."""
    steps: list[tuple[Step, Mapping[str, bytes]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._opened: dict[int, _Open] = {}
        self._names: dict[str, int] = {}
        self._next = 0
        self._last_tpm: dict[str, bytes] = {}

    def begin(self) -> None:
        """The disk as it stands is durable."""
        contents = {}
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and not self._is_database(path):
                file = self._file(self._name(path))
                contents[file] = path.read_bytes()
        self.first = Files(dict(self._names), contents, _database(self.database))
        self.first_tpm = self._tpm()

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Note everything inside."""
        transaction = SqliteStore._transaction

        @contextmanager
        def committed(store: SqliteStore) -> Iterator[None]:
            with transaction(store):
                yield
            if store._path == self.database:  # the collector has one, too
                with store._lock:
                    self._note(Committed(store._db.serialize()))

        self.begin()
        calls = ("open", "close", "write", "ftruncate", "lseek", "fsync", "fdatasync", "replace", "unlink")
        patches = [mock.patch.object(os, name, getattr(self, f"_{name}")(getattr(os, name))) for name in calls]
        patches.append(mock.patch.object(SqliteStore, "_transaction", committed))
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()

    # --- what is noted ------------------------------------------------------------------------------------------------

    def _note(self, step: Step) -> None:
        with self._lock:
            self.steps.append((step, self._tpm()))

    def _tpm(self) -> Mapping[str, bytes]:
        found = {path.name: path.read_bytes() for path in sorted(self.tpm.glob("tpm2-*")) if path.is_file()}
        if found != self._last_tpm:
            self._last_tpm = found
        return self._last_tpm

    def _is_database(self, path: Path) -> bool:
        return path.name.startswith(self.database.name)

    def _name(self, path: Any) -> str:
        """Relative to the root; empty for what lies elsewhere."""
        full = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - links stay
        below = full.is_relative_to(self.root.absolute()) and not self._is_database(full)
        return str(full.relative_to(self.root.absolute())) if below else ""

    def _file(self, name: str) -> int:
        if name not in self._names:
            self._names[name] = self._next
            self._next += 1
        return self._names[name]

    def _open(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *args: Any, **options: Any) -> int:
            name = "" if options.get("dir_fd") is not None or isinstance(path, int) else self._name(path)
            with self._lock:
                new = bool(name) and flags & os.O_CREAT and name not in self._names
                descriptor = real(path, flags, *args, **options)
                if name in ("", "."):
                    return descriptor
                if flags & os.O_DIRECTORY:
                    self._opened[descriptor] = _Open(name)
                    return descriptor
                file = self._file(name)
                self._opened[descriptor] = _Open(file)
                if new:
                    self._note(Named(_folder(name), name, file))
                elif flags & os.O_TRUNC:
                    self._note(Written(file, 0, b""))
                return descriptor

        return call

    def _close(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            with self._lock:
                self._opened.pop(descriptor, None)
                real(descriptor)

        return call

    def _write(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(descriptor: int, data: Any) -> int:
            with self._lock:
                size = real(descriptor, data)
                if (at := self._opened.get(descriptor)) and isinstance(at.what, int):
                    for piece in _pages(at.offset, bytes(data[:size])):
                        self._note(Written(at.what, *piece))
                    at.offset += size
                return size

        return call

    def _ftruncate(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(descriptor: int, size: int) -> None:
            with self._lock:
                real(descriptor, size)
                if (at := self._opened.get(descriptor)) and isinstance(at.what, int):
                    self._note(Written(at.what, size, b""))

        return call

    def _lseek(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(descriptor: int, offset: int, how: int) -> int:
            with self._lock:
                reached = real(descriptor, offset, how)
                if at := self._opened.get(descriptor):
                    at.offset = reached
                return reached

        return call

    def _fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            with self._lock:
                real(descriptor)
                if at := self._opened.get(descriptor):
                    self._note(Synced(at.what))

        return call

    _fdatasync = _fsync

    def _replace(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(source: Any, target: Any, **options: Any) -> None:
            with self._lock:
                real(source, target, **options)
                was, name = self._name(source), self._name(target)
                if was and name:
                    file, replaced = self._names.pop(was), name in self._names
                    self._names[name] = file
                    for step in self._renamed(was, name, file, replaced):
                        self._note(step)

        return call

    def _renamed(self, was: str, name: str, file: int, replaced: bool) -> Sequence[Step]:
        if _folder(name) not in self.fat:
            return [Named(_folder(name), name, file, was)]
        gone = [Named(_folder(name), name, None)] if replaced else []
        return [*gone, Named(_folder(name), name, file), Named(_folder(was), was, None)]

    def _unlink(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, **options: Any) -> None:
            with self._lock:
                real(path, **options)
                if (name := self._name(path)) and self._names.pop(name, None) is not None:
                    self._note(Named(_folder(name), name, None))

        return call

    # --- what a power cut may leave -----------------------------------------------------------------------------------

    def crashes(self, subsets: int = 6) -> list[Crash]:
        """Every different one, in order. Of steps that are not durable any may be lost where there are `subsets` or
        fewer; of more: none, all, all after one of them, only one, all but one. And half of any one write.

        Those in which nothing is lost are what kill -9 leaves.
        """
        found: dict[bytes, Crash] = {}
        durable, pending = self.first, list[Step]()
        tpm = self.first_tpm
        for point in range(len(self.steps) + 1):
            if point:
                step, tpm = self.steps[point - 1]
                durable, pending = _flushed(durable, pending, step)
            for lost, kept in _choices(pending, subsets):
                files = durable.after_all(kept)
                crash = Crash(point, lost, files.by_name(), files.database, tpm)
                found.setdefault(_digest(crash), crash)
        return list(found.values())

    def restore(self, crash: Crash) -> None:
        """Make the disk and the TPM what they were; what nothing was noted of is as it was before."""
        for path in self.root.rglob("*"):
            if path.is_file():
                path.unlink()
        for name, data in crash.files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(data)
        self.database.write_bytes(crash.database)
        for path in self.tpm.glob("tpm2-*"):
            path.unlink()
        for name, data in crash.tpm.items():
            (self.tpm / name).write_bytes(data)


@dataclass
class _Open:
    """A descriptor: of which file or folder, and where it writes next."""

    what: int | str
    offset: int = 0


def _flushed(durable: Files, pending: list[Step], step: Step) -> tuple[Files, list[Step]]:
    """What is durable after a step, and what is not yet."""
    if isinstance(step, Committed):
        return durable.after(step), pending
    if not isinstance(step, Synced):
        return durable, [*pending, step]
    done = [each for each in pending if _belongs(each, step.what)]
    return durable.after_all(done), [each for each in pending if each not in done]


def _belongs(step: Step, what: int | str) -> bool:
    return what == (step.file if isinstance(step, Written) else step.folder if isinstance(step, Named) else None)


def _choices(pending: Sequence[Step], subsets: int) -> Iterator[tuple[str, Sequence[Step]]]:
    """What was lost, in words, and what was kept."""
    count = len(pending)
    yield "nothing", pending
    if count <= subsets:
        for kept in range((1 << count) - 1):
            lost = [number + 1 for number in range(count) if not kept >> number & 1]
            yield f"{lost} of {count}", [step for number, step in enumerate(pending) if kept >> number & 1]
    else:
        yield "everything", ()
        for kept in range(1, count):
            yield f"all after {kept} of {count}", pending[:kept]
        for one in range(count):
            yield f"{one + 1} of {count}", [*pending[:one], *pending[one + 1 :]]
            yield f"all but {one + 1} of {count}", [pending[one]]
    for number, step in enumerate(pending):
        if isinstance(step, Written) and len(step.data) > 1:
            torn = Written(step.file, step.offset, step.data[: len(step.data) // 2])
            yield f"half of {number + 1} of {count}", [*pending[:number], torn, *pending[number + 1 :]]


def _pages(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        size = min(PAGE - (offset + at) % PAGE, len(data) - at)
        yield offset + at, data[at : at + size]
        at += size


def _folder(name: str) -> str:
    return str(Path(name).parent)


def _database(path: Path) -> bytes:
    store = SqliteStore(path)
    try:
        return bytes(store._db.serialize())
    finally:
        store.close()


def _digest(crash: Crash) -> bytes:
    seen = hashlib.sha256(crash.database)
    for name, data in [*sorted(crash.files.items()), *sorted(crash.tpm.items())]:
        seen.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return seen.digest()
