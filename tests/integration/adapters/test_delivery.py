"""Images on their way into a slot: real slots, a real store, a real server, and everything that may happen between."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters import slots as slots_adapter
from medvouch.adapters.folder import AnyFetcher
from medvouch.adapters.http import Bandwidth, HttpFetcher
from medvouch.daemon.delivery import INDEX_KEY
from medvouch.daemon.worker import interruptible
from medvouch.errors import MedvouchError, NetworkFault, Refusal, StorageFault
from medvouch_sim.repository_server import Exchange, RepositoryServer, contents, status, truncated
from support.deliveries import BLOCK, Desk, altered, noise
from support.processes import until
from support.sites import eventually

IMAGE = "images/new.img"
INDEX = "images/new.img.blocks"
OLD = noise(3 << 20)
CHECKPOINT = slots_adapter.CHECKPOINT_BYTES


@pytest.fixture
def desk(tmp_path: Path, server: RepositoryServer) -> Iterator[Desk]:
    """Of 768 blocks two are new."""
    desk = Desk(tmp_path, server, OLD, altered(OLD, [3, 500]))
    yield desk
    desk.store.close()


@pytest.fixture
def plain(tmp_path: Path, server: RepositoryServer) -> Iterator[Desk]:
    """Without an index."""
    desk = Desk(tmp_path, server, OLD, noise(3 << 20, 2) + b"odd", indexed=False)
    yield desk
    desk.store.close()


def cut(desk: Desk, at: int) -> None:
    """The connection breaks after so many bytes of the image, whatever was asked for."""

    def answer(exchange: Exchange) -> None:
        asked = exchange.asked("Range")
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        end = len(desk.new)
        headers = {"Content_Range": f"bytes {start}-{end - 1}/{end}"} if asked else {}
        exchange.head(206 if asked else 200, Content_Length=str(end - start), ETag='"x"', **headers)
        exchange.body(desk.new[start:at])

    desk.server.misbehave(IMAGE, answer)


def fails(desk: Desk, code: str, **options: Any) -> MedvouchError:
    with pytest.raises((NetworkFault, Refusal, StorageFault)) as caught:
        desk.deliver(**options)
    assert caught.value.code == code
    return caught.value


def test_a_whole_image(plain: Desk) -> None:
    plain.deliver()
    assert plain.delivered == plain.new
    assert plain.told[-1] == len(plain.new)
    assert plain.server.requests == [IMAGE]


# --- delta ------------------------------------------------------------------------------------------------------------


def test_only_what_is_new_is_fetched(desk: Desk) -> None:
    desk.deliver()
    assert desk.delivered == desk.new
    assert desk.sent() == 2 * BLOCK
    assert desk.server.requests == [INDEX, IMAGE, IMAGE]
    assert desk.told[-1] == len(desk.new)


def test_pieces_come_over_one_connection(desk: Desk) -> None:
    opened = []
    real = HttpFetcher.open

    class Counting(HttpFetcher):
        def open(self, url: str, validator: str = "") -> Any:
            remote = real(self, url, validator)
            connected = remote._connected

            def counted() -> Any:
                opened.append(url)
                return connected()

            remote._connected = counted  # type: ignore[method-assign]
            return remote

    desk.fetcher = AnyFetcher(Counting(2.0))
    desk.deliver()
    assert [url.rpartition("/")[2] for url in opened] == ["new.img.blocks", "new.img"]


def test_an_active_slot_that_cannot_be_read(desk: Desk) -> None:
    desk.slots.path("a").chmod(0)
    desk.slots.path("a").unlink()
    desk.slots.path("a").mkdir()
    desk.deliver()
    assert desk.delivered == desk.new
    assert desk.sent() == len(desk.new)


def test_an_active_slot_that_reads_otherwise_the_second_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was copied is not trusted: the image comes over the wire then."""
    real = slots_adapter.FileSlots.read

    def read(self: Any, slot: str, size: int, *, start: int = 0) -> Iterator[bytes]:
        for chunk in real(self, slot, size, start=start):
            yield bytes(len(chunk)) if slot == "a" and size < len(OLD) else chunk

    monkeypatch.setattr(slots_adapter.FileSlots, "read", read)
    desk.deliver()
    monkeypatch.undo()
    assert desk.delivered == desk.new
    assert desk.sent() == len(desk.new) + 2 * BLOCK


def test_an_active_slot_that_breaks_meanwhile(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = slots_adapter.FileSlots.read

    def read(self: Any, slot: str, size: int, *, start: int = 0) -> Iterator[bytes]:
        if slot == "a" and start:
            raise StorageFault("slot-unreadable", "a bad sector", remedy="none")
        return real(self, slot, size, start=start)

    monkeypatch.setattr(slots_adapter.FileSlots, "read", read)
    desk.deliver()
    monkeypatch.undo()
    assert desk.delivered == desk.new


def test_a_server_that_gives_no_pieces(desk: Desk) -> None:
    desk.server.ranges = False
    desk.deliver()
    assert desk.delivered == desk.new


def test_an_index_that_nobody_has_put_there(desk: Desk) -> None:
    """The image is there, and comes whole."""
    (desk.server.directory / INDEX).unlink()
    desk.deliver()
    assert desk.delivered == desk.new


def test_a_connection_that_breaks_in_the_index(desk: Desk) -> None:
    desk.server.misbehave(INDEX, truncated(100))
    fails(desk, "fetch-unreachable")
    assert desk.server.requests == [INDEX]


def test_a_medium_that_fills_meanwhile_and_has_space_again(plain: Desk) -> None:
    """ENOSPC ends the write and nothing else: what is on the medium stays, and the next try goes on there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
    try:
        fails(plain, "slot-full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    done = plain.journal.done
    assert done >= CHECKPOINT
    plain.sent()
    plain.deliver()
    assert plain.delivered == plain.new
    assert plain.sent() == len(plain.new) - done


def test_a_medium_that_does_not_take_what_it_is_given(plain: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO at the last fsync: nothing is written that could be booted, and the next try is a true one."""
    real, asked = os.fsync, []

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == plain.slots.path("b"):
            asked.append(descriptor)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    fails(plain, "slot-unwritable")
    monkeypatch.undo()
    assert asked
    assert plain.slots.record().states["b"] == "empty"
    plain.deliver()
    assert plain.delivered == plain.new


def test_a_medium_that_takes_a_few_bytes_at_a_time(plain: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """write(2) may take less than it is given."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:50_000])))
    plain.deliver()
    monkeypatch.undo()
    assert plain.delivered == plain.new


def test_the_index_of_another_image(desk: Desk) -> None:
    desk.record = replace(desk.record, size=len(desk.new) - 1)
    fails(desk, "blocks-mismatch")


def test_an_index_that_is_not_the_signed_one(desk: Desk) -> None:
    data = bytearray((desk.server.directory / INDEX).read_bytes())
    data[20] ^= 1
    (desk.server.directory / INDEX).write_bytes(data)
    refusal = fails(desk, "payload-mismatch")
    assert refusal.place == "blocks"
    assert desk.store.get(INDEX_KEY) is None


def test_an_image_that_is_not_the_signed_one(desk: Desk) -> None:
    """With an index and without: after both the slot has nothing to boot."""
    desk.record = replace(desk.record, digest=bytes(32))
    fails(desk, "payload-mismatch")
    assert desk.slots.record().states["b"] == "empty"


def served_otherwise(desk: Desk, at: int) -> None:
    data = bytearray(desk.new)
    data[at] ^= 1
    (desk.server.directory / IMAGE).write_bytes(data)


@pytest.mark.parametrize("at", [0, 1 << 16, CHECKPOINT - 1, CHECKPOINT, 2 << 20, -4, -1])
def test_the_signature_covers_every_byte_of_a_large_image(plain: Desk, at: int) -> None:
    """A signature over part of a large bundle (CVE-2026-34155): here, behind each border that a part could end at."""
    served_otherwise(plain, at)
    fails(plain, "payload-mismatch")
    assert plain.slots.record().states["b"] == "empty"


@pytest.mark.parametrize("at", [3 * BLOCK, 4 * BLOCK - 1, 500 * BLOCK, 501 * BLOCK - 1])
def test_the_signature_covers_every_byte_that_an_index_has_fetched(desk: Desk, at: int) -> None:
    """Likewise: the index is that of the image that was signed, and says nothing of what the server gives."""
    served_otherwise(desk, at)
    fails(desk, "payload-mismatch")
    assert desk.slots.record().states["b"] == "empty"


# --- going on ---------------------------------------------------------------------------------------------------------


def test_it_goes_on_where_the_connection_broke(plain: Desk) -> None:
    cut(plain, 2 << 20)
    fails(plain, "fetch-unreachable")
    done = plain.journal.done
    assert CHECKPOINT <= done <= 2 << 20
    plain.server.behave()
    plain.keep(replace(plain.journal, validator=""))  # the server's own name for the file is another
    plain.deliver()
    assert plain.delivered == plain.new
    assert plain.sent() == len(plain.new) - done


def test_it_goes_on_only_in_the_same_state_of_the_file(plain: Desk) -> None:
    cut(plain, 2 << 20)
    fails(plain, "fetch-unreachable")
    assert plain.journal.validator == '"x"'
    plain.server.behave()
    plain.deliver()
    assert plain.delivered == plain.new
    assert plain.sent() >= len(plain.new)
    assert plain.server.requests == [IMAGE] * 3


def test_what_is_left_in_the_slot_is_not_trusted(plain: Desk) -> None:
    cut(plain, 2 << 20)
    fails(plain, "fetch-unreachable")
    with plain.slots.path("b").open("r+b") as file:
        file.write(b"bad")
    plain.server.behave()
    plain.keep(replace(plain.journal, validator=""))
    plain.deliver()
    assert plain.delivered == plain.new


@pytest.mark.parametrize("done", [1, 5 << 20, 1 << 40])
def test_a_journal_that_says_anything(plain: Desk, done: int) -> None:
    plain.keep(replace(plain.journal, done=done))
    plain.deliver()
    assert plain.delivered == plain.new


def test_a_journal_of_another_release(plain: Desk) -> None:
    plain.slots.write("b", [bytes(1 << 20)])
    plain.keep(replace(plain.journal, manifest=bytes(31) + b"\1", done=1 << 20))
    plain.deliver()
    assert plain.delivered == plain.new
    assert plain.sent() == len(plain.new)


def test_a_journal_of_the_other_slot(desk: Desk) -> None:
    """How far it had come there says nothing here; where the index is does."""
    desk.keep(replace(desk.journal, slot="a", done=1 << 20))
    desk.deliver()
    assert desk.delivered == desk.new
    assert desk.sent() == 2 * BLOCK


def test_what_was_whole_is_not_fetched_again(plain: Desk) -> None:
    plain.deliver()
    plain.keep(replace(plain.journal, done=len(plain.new)))
    plain.server.requests.clear()
    plain.deliver()
    assert plain.delivered == plain.new
    assert plain.server.requests == []


async def test_whoever_stops_the_agent_does_not_wait_for_an_image(plain: Desk) -> None:
    plain.fetcher = AnyFetcher(HttpFetcher(5.0, bandwidth=Bandwidth(128 << 10)))
    task = asyncio.create_task(interruptible(plain.delivery().deliver, plain.record, plain.told.append, ""))
    await eventually(lambda: plain.slots.extent("b"))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert plain.slots.extent("b") < len(plain.new) // 2
    plain.fetcher = AnyFetcher(HttpFetcher(5.0))
    plain.deliver()
    assert plain.delivered == plain.new


@pytest.mark.parametrize(("indexed", "bytes_per_s"), [(False, 2 << 20), (True, 0)])
@pytest.mark.parametrize("times", [1, 3])
def test_killed_it_fetches_little_twice(
    tmp_path: Path, server: RepositoryServer, indexed: bool, bytes_per_s: int, times: int
) -> None:
    """kill -9 while it writes, again and again: without an index over a network, with one as fast as it can."""
    new = noise(8 << 20 if indexed else 4 << 20, 3)
    desk = Desk(tmp_path, server, noise(BLOCK, 9), new, indexed=indexed)
    desk.fetcher = AnyFetcher(HttpFetcher(5.0, bandwidth=Bandwidth(bytes_per_s)))
    desk.store.close()
    reached = 0
    for _ in range(times):
        reached = _killed(desk, reached + (1 << 20))
    again = Desk.__new__(Desk)
    again.__dict__.update(desk.__dict__)
    again.store = type(desk.store)(tmp_path / "state.db")
    start = again.slots.extent("b")
    until(lambda: len(server.sent) == len(server.requests))  # what it sent to whoever was killed is counted by then
    before = again.sent()
    again.deliver()
    assert again.delivered == new
    fetched = again.sent() - before
    assert fetched - (len(new) - start) <= 1 << 20
    again.store.close()


def _killed(desk: Desk, after: int) -> int:
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            desk.store = type(desk.store)(desk.directory / "state.db")
            desk.deliver()
        os._exit(1)
    deadline = time.monotonic() + 20
    after = min(after, len(desk.new))
    while desk.slots.extent("b") < after and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    reached = desk.slots.extent("b")
    assert reached >= after  # or else nothing was going on that could be killed
    return reached


# --- places -----------------------------------------------------------------------------------------------------------


def test_mirrors_are_tried_in_turn(desk: Desk, tmp_path: Path) -> None:
    """The first is away, the second has half of it, the third is a directory that has the rest."""
    with RepositoryServer(desk.server.directory) as away:
        gone = away.url
    with RepositoryServer(desk.server.directory) as second:
        second.misbehave(IMAGE, status(404))
        desk.mirrors = [f"{gone}/", f"{second.url}/", f"file://{desk.server.directory}/"]
        desk.deliver()
    assert desk.delivered == desk.new
    assert desk.server.requests == []


def test_the_repository_comes_last(desk: Desk) -> None:
    desk.mirrors = [f"file://{desk.directory}/nowhere/"]
    desk.deliver()
    assert desk.delivered == desk.new
    assert desk.server.requests == [INDEX, IMAGE, IMAGE]


@pytest.mark.parametrize("path", [IMAGE, INDEX])
@pytest.mark.parametrize("size", [100, None, 4 << 20])
def test_a_mirror_that_serves_something_else_stops_no_update(desk: Desk, path: str, size: int | None) -> None:
    """Else whoever has one mirror would say which updates there are: the repository has the last word."""
    wrong = contents(bytes((desk.server.directory / path).stat().st_size if size is None else size))
    with RepositoryServer(desk.server.directory) as mirror:
        mirror.misbehave(path, wrong)
        desk.mirrors = [f"{mirror.url}/"]
        desk.deliver()
        assert desk.delivered == desk.new
        assert path in mirror.requests


def test_a_mirror_that_lies_where_the_repository_is_away_is_no_last_word(plain: Desk) -> None:
    """It is tried again: what a mirror has fails no update."""
    with RepositoryServer(plain.server.directory) as mirror:
        mirror.misbehave(IMAGE, contents(bytes(len(plain.new))))
        plain.mirrors = [f"{mirror.url}/"]
        plain.server.misbehave(IMAGE, status(500))
        fails(plain, "fetch-failed")
        assert plain.slots.record().states["b"] == "empty"
        assert plain.journal.done == 0


def test_of_what_a_mirror_that_lies_has_left_nothing_is_kept(plain: Desk) -> None:
    with RepositoryServer(plain.server.directory) as mirror:
        mirror.misbehave(IMAGE, contents(bytes(len(plain.new))))
        plain.mirrors = [f"{mirror.url}/"]
        plain.deliver()
    assert plain.delivered == plain.new
    assert plain.server.requests == [IMAGE]
    assert plain.sent() == len(plain.new)


def test_a_repository_that_serves_something_else_is_refused(desk: Desk) -> None:
    with RepositoryServer(desk.server.directory) as mirror:
        desk.mirrors = [f"{mirror.url}/"]
        mirror.misbehave("images/", status(500))
        desk.server.misbehave(IMAGE, contents(bytes(len(desk.new))))
        fails(desk, "payload-mismatch")


def test_only_from_a_stick(desk: Desk, tmp_path: Path) -> None:
    fails(desk, "fetch-not-found", only=f"file://{tmp_path}/empty")
    desk.deliver(only=f"file://{desk.server.directory}")
    assert desk.delivered == desk.new
    assert desk.server.requests == []
