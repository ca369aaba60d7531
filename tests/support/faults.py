"""What may go wrong with a medium, a network or a clock while a device updates, and what comes of each.

`make docs` writes the table, so that it says what the tests do. Those with a `strike` come one after another over one
site (tests/integration/site/test_faults.py); the others name the test that shows them.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from medvouch.adapters import http
from medvouch.adapters.boot_record import COPIES, SECTOR_BYTES
from medvouch.adapters.metadata import FileMetadataStore
from medvouch.adapters.store import SqliteStore
from medvouch.release.repository import AuthoredRepository, Periods
from medvouch.update.repository import MAX_ROTATIONS
from medvouch_sim.publisher import repository_keys
from medvouch_sim.repository_server import Answer, Exchange, contents, endless, status, trickling, truncated
from support.updating import Updatable, release

HELD_UP, REFUSED, FAILED, NOTHING = "held up", "refused", "failed", "nothing"
ENDS = {
    HELD_UP: "held up, tried again every five minutes",
    REFUSED: "refused, looked at again after six hours",
    FAILED: "the update fails once; the next release is taken",
    NOTHING: "goes on as if it were not there",
}
SITE = "tests/integration/site"
YESTERDAY = "yesterday"
"""The repository before the device first saw the present one, beside it."""


@dataclass(frozen=True)
class Fault:
    """`end`: one of ENDS; `code` is empty where nothing is told. `test` shows it, where nothing strikes."""

    what: str
    code: str
    end: str
    strike: Callable[[Updatable], AbstractContextManager[object]] | None = None
    test: str = ""
    remark: str = ""


# --- the medium ------------------------------------------------------------------------------------------------------


def _at(
    name: str, call: str, instead: Callable[..., Any] | None = None
) -> Callable[[Updatable], AbstractContextManager[object]]:
    """A call of the system on files of this name does this, or ends in EIO; `instead` gets the real call first."""
    real = getattr(os, call)

    def replaced(descriptor: int, *arguments: Any) -> Any:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name != name:
            return real(descriptor, *arguments)
        if instead:
            return instead(real, descriptor, *arguments)
        del arguments  # the kernel keeps no buffer either, and a traceback would
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    return lambda _: mock.patch.object(os, call, replaced)


def _short(real: Any, descriptor: int, buffers: Any, offset: int) -> int:
    return min(int(real(descriptor, buffers, offset)), 512)


def _little(real: Any, descriptor: int, data: bytes) -> int:
    return int(real(descriptor, bytes(data[:999])))


@contextmanager
def _full_slot(scene: Updatable) -> Iterator[None]:
    """A file whose every write ends in ENOSPC, by the kernel's own word."""
    path = scene.gateway.slots.path("b")
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/full")
    yield
    path.unlink()


@contextmanager
def _full_metadata(scene: Updatable) -> Iterator[None]:
    beside = scene.gateway.state_dir / "tuf" / ".timestamp.json.new"
    beside.symlink_to("/dev/full")
    scene.publisher.repository.publish(scene.publisher.now)
    yield
    beside.unlink(missing_ok=True)


@contextmanager
def _full_state(scene: Updatable) -> Iterator[None]:
    """SQLite may not have one page more."""
    store = scene.agent._store._store
    assert isinstance(store, SqliteStore)
    with store._lock:
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages}")
    yield
    with store._lock:
        store._db.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def _unreadable_metadata(scene: Updatable) -> Iterator[None]:
    real = Path.open

    def opened(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.parent.name == "tuf":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *arguments, **options)

    with mock.patch.object(Path, "open", opened):
        yield


@contextmanager
def _bit_rot(scene: Updatable) -> Iterator[None]:
    """One bit of what was written is another one once it is on the medium."""
    slots = type(scene.gateway.slots)
    real = slots.write

    def written(self: Any, slot: str, *arguments: Any, **options: Any) -> None:
        real(self, slot, *arguments, **options)
        with self.path(slot).open("r+b") as image:
            image.seek(1000)
            (byte,) = image.read(1)
            image.seek(1000)
            image.write(bytes([byte ^ 1]))

    with mock.patch.object(slots, "write", written):
        yield


# --- the network -----------------------------------------------------------------------------------------------------


def _answers(path: str, make: Callable[[Updatable], Answer]) -> Callable[[Updatable], AbstractContextManager[object]]:
    @contextmanager
    def strike(scene: Updatable) -> Iterator[None]:
        scene.publisher.server.misbehave(path, make(scene))
        yield
        scene.publisher.server.behave()

    return strike


@contextmanager
def _impatient(scene: Updatable) -> Iterator[None]:
    """A body of a byte now and then, for whoever would wait for it."""
    server = scene.publisher.server
    server.misbehave("metadata/timestamp.json", trickling(server, 0.01))
    with mock.patch.object(http, "MIN_BYTES_PER_S", 1 << 20):
        updates = scene.agent._around.updates
        assert updates is not None
        with mock.patch.object(updates.fetcher._http, "timeout_s", 0.2):  # type: ignore[attr-defined]
            yield
    server.behave()


@contextmanager
def _served_from(scene: Updatable, directory: Path) -> Iterator[None]:
    """Afterwards the publisher is further than anything that was seen there."""
    server = scene.publisher.server
    before, server.directory = server.directory, directory
    yield
    server.directory = before
    for _ in range(2):
        scene.publisher.direct(scene.gateway.entry.ek_hash, release("1.1.0"))


def copied(scene: Updatable, name: str) -> Path:
    """The repository as it is."""
    copy = scene.publisher.directory.with_name(name)
    shutil.copytree(scene.publisher.directory, copy)
    return copy


@contextmanager
def _rolled_back(scene: Updatable) -> Iterator[None]:
    """A state from before, all of it signed."""
    with _served_from(scene, scene.publisher.directory.with_name(YESTERDAY)):
        yield


@contextmanager
def _frozen(scene: Updatable) -> Iterator[None]:
    """A timestamp that ran out an hour ago; the rest is good for months."""
    publisher, day = scene.publisher, 86_400
    with publisher.signing(Periods(timestamp=day)):
        publisher.repository.publish(publisher.now - day - 3600)
    yield
    publisher.repository.publish(publisher.now)


def _mixed(name: str) -> Callable[[Updatable], AbstractContextManager[object]]:
    """Two continuations by the same keys, in the same versions: this file of one, all others of the other."""

    @contextmanager
    def strike(scene: Updatable) -> Iterator[None]:
        one, other = (_continued(scene, name, data) for data in (b"one", b"another"))
        latest = [path for path in (other / "metadata").glob(name) if path.name in _latest(other)]
        found = [path for path in latest if path.read_bytes() != (one / "metadata" / path.name).read_bytes()]
        assert len(found) == 1
        shutil.copy(found[0], one / "metadata")
        with _served_from(scene, one):
            yield

    return strike


def _continued(scene: Updatable, name: str, directive: bytes) -> Path:
    directory = copied(scene, f"{name[2:6]}-{directive.decode()}")
    repository = AuthoredRepository.open(FileMetadataStore(directory), repository_keys())
    repository.direct(scene.device, directive)
    repository.publish(scene.publisher.now)
    return directory


def _latest(directory: Path) -> set[str]:
    """Files of the versions that are in force."""
    snapshot = max((directory / "metadata").glob("*.snapshot.json"), key=lambda path: int(path.name.partition(".")[0]))
    named = json.loads(snapshot.read_bytes())["signed"]["meta"]
    return {snapshot.name, *(f"{meta['version']}.{name}" for name, meta in named.items())}


@contextmanager
def _endless_roots(scene: Updatable) -> Iterator[None]:
    """Whoever has the root keys signs the next root, and the next, as long as somebody asks."""
    directory, lock = copied(scene, "roots"), threading.Lock()
    repository = AuthoredRepository.open(FileMetadataStore(directory), repository_keys())

    def answer(exchange: Exchange) -> None:
        found = re.fullmatch(r"metadata/([0-9]+)\.root\.json", exchange.path)
        with lock:
            if found and int(found[1]) > repository.root_version:
                repository.rotate(repository_keys(), scene.publisher.now)
        exchange.serve()

    scene.publisher.server.misbehave("metadata/", answer)
    with _served_from(scene, directory):
        yield
    scene.publisher.server.behave()


@contextmanager
def _unreadable_active_slot(scene: Updatable) -> Iterator[None]:
    with _at("a.img", "preadv")(scene):
        yield


@contextmanager
def _bad_sector(scene: Updatable) -> Iterator[None]:
    (scene.gateway.slots.directory / COPIES[0]).write_bytes(bytes(SECTOR_BYTES))
    yield


IMAGE = "images/1.1.0.img"
FAULTS = (
    # the medium
    Fault("no space in the slot (ENOSPC)", "slot-full", HELD_UP, _full_slot),
    Fault("no space for the agent's state (ENOSPC)", "state-full", HELD_UP, _full_state),
    Fault("no space for metadata (ENOSPC)", "file-not-written", HELD_UP, _full_metadata),
    Fault("the slot takes writes and does not keep them (EIO at fsync)", "slot-unwritable", HELD_UP,
          _at("b.img", "fsync")),
    Fault("the slot cannot be read back (EIO)", "slot-unreadable", HELD_UP, _at("b.img", "preadv")),
    Fault("the slot gives fewer bytes than were written (short read)", "slot-unreadable", HELD_UP,
          _at("b.img", "preadv", _short)),
    Fault("the boot record cannot be written (EIO at fsync)", "slot-unwritable", HELD_UP,
          _at("boot.1", "fsync")),
    Fault("metadata of the last refresh cannot be read (EIO)", "file-unreadable", HELD_UP, _unreadable_metadata),
    Fault("a bit of the slot is another one than was written", "slot-mismatch", FAILED, _bit_rot),
    Fault("the slot takes a few bytes at a time (short write)", "", NOTHING, _at("b.img", "write", _little)),
    Fault("the active slot cannot be read (EIO), with a block index", "", NOTHING, _unreadable_active_slot,
          remark="all comes over the wire"),
    Fault("one copy of the boot record is a bad sector", "", NOTHING, _bad_sector, remark="the next change mends it"),
    # the network
    Fault("the repository is away", "fetch-unreachable", HELD_UP, lambda scene: scene.publisher.server.unreachable()),
    Fault("it answers 500", "fetch-failed", HELD_UP, _answers("metadata/", lambda _: status(500))),
    Fault("it sends somebody elsewhere (redirected URL)", "fetch-failed", HELD_UP,
          _answers("metadata/", lambda scene: status(302, Location=f"{scene.publisher.url}elsewhere"))),
    Fault("it sends somebody elsewhere for the image", "fetch-failed", HELD_UP,
          _answers(IMAGE, lambda scene: status(302, Location=f"{scene.publisher.url}elsewhere.img"))),
    Fault("a body ends too soon", "fetch-unreachable", HELD_UP, _answers(IMAGE, lambda _: truncated(20_000))),
    Fault("a body comes a byte at a time (endless, slow)", "fetch-unreachable", HELD_UP, _impatient),
    Fault("metadata without end", "metadata-limit", REFUSED,
          _answers("metadata/timestamp.json", lambda scene: endless(scene.publisher.server))),
    Fault("an image without end", "payload-too-long", FAILED,
          _answers(IMAGE, lambda scene: endless(scene.publisher.server))),
    Fault("another image", "payload-mismatch", FAILED,
          _answers(IMAGE, lambda _: contents(bytes(len(release("1.1.0").image))))),
    Fault("roots without end, all validly signed", "", NOTHING, _endless_roots,
          remark=f"{MAX_ROTATIONS} in one look"),
    Fault("the repository is frozen", "repository-frozen", REFUSED, _frozen),
    Fault("it is rolled back", "repository-rolled-back", REFUSED, _rolled_back),
    Fault("it is mixed: the snapshot is another one of its version", "metadata-mismatch", REFUSED,
          _mixed("*.snapshot.json")),
    Fault("it is mixed: the directives are others of their version", "metadata-mismatch", REFUSED,
          _mixed("*.directives-*.json")),
    # the clock
    Fault("the clock is ten years fast, and believed", "metadata-expired", REFUSED,
          test=f"{SITE}/test_clock.py::test_ten_years_fast_nothing_is_good_any_more_and_the_old_release_goes_on"),
    Fault("it is ten years fast or slow, and not believed", "", NOTHING,
          test=f"{SITE}/test_clock.py::test_a_clock_that_is_not_believed_makes_no_difference",
          remark="expiry is judged by the time that was last testified"),
    Fault("it is ten years slow, and believed", "", NOTHING,
          test=f"{SITE}/test_clock.py::test_ten_years_slow_and_believed_time_does_not_go_back",
          remark="time does not fall below what was testified"),
    Fault("it jumps ten years either way between two steps of an update", "", NOTHING,
          test=f"{SITE}/test_clock.py::test_a_jump_while_an_update_is_under_way",
          remark="what was installed is confirmed, whatever has expired since"),
)  # fmt: skip
