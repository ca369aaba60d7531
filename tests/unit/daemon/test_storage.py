"""Storage as a component of health, on a real database whose file system can be told to refuse."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.daemon import storage
from medvouch.daemon.health import Health
from medvouch.daemon.standing import Standing
from medvouch.daemon.storage import WatchedStore
from medvouch.errors import StorageFault


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """No file of this process can grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def store(tmp_path: Path, health: Health) -> Iterator[WatchedStore]:
    store = WatchedStore(SqliteStore(tmp_path / "state.db"), health)
    yield store
    store.close()


def codes(health: Health) -> list[tuple[str, str]]:
    return [(problem.component, problem.code) for problem in health]


def test_a_fault_is_a_problem_until_something_is_written(store: WatchedStore, health: Health) -> None:
    store.put({"a": b"1"})
    assert codes(health) == []
    with no_room(), pytest.raises(StorageFault):
        store.put({"a": b"2"})
    assert codes(health) == [("storage", "state-unusable")]
    assert store.get("a") == b"1"
    assert health.state == "degraded"
    store.put({"a": b"3"})
    assert health.state == "ok"


def test_what_runs_once_is_not_used_up_by_a_fault(store: WatchedStore, health: Health) -> None:
    with no_room(), pytest.raises(StorageFault):
        store.first_time("command", "1")
    assert health.state == "degraded"
    assert store.first_time("command", "1")
    assert health.state == "ok"
    assert not store.first_time("command", "1")


def test_a_number_from_memory_says_nothing_of_the_disk(store: WatchedStore, health: Health) -> None:
    first = store.next_seq()
    with no_room():
        with pytest.raises(StorageFault):
            store.put({"a": b"1"})
        assert store.next_seq() == first + 1
    assert health.state == "degraded"


async def test_it_recovers_by_itself(store: WatchedStore, health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PROBE_INTERVAL_S", 0.01)
    recovering = asyncio.create_task(store.recover())
    with no_room():
        with pytest.raises(StorageFault):
            store.put({"a": b"1"})
        await asyncio.sleep(0.05)
        assert health.state == "degraded"
    async with asyncio.timeout(5):
        while health.state == "degraded":  # noqa: ASYNC110 - health tells of changes, once
            await asyncio.sleep(0.01)
    recovering.cancel()


@pytest.mark.parametrize("key", ["identity", "life", "owner", "last-ear"])
def test_what_cannot_be_read_back_is_corrupt(tmp_path: Path, health: Health, key: str) -> None:
    SqliteStore(tmp_path / "state.db").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as database:
        database.execute("INSERT INTO state VALUES (?, ?)", (key, b"\xff\xfe"))
        database.commit()
    store = SqliteStore(tmp_path / "state.db")
    standing = Standing(WatchedStore(store, health))
    attribute = {"last-ear": "last_verdict"}.get(key, key)
    with pytest.raises(StorageFault, match="state-corrupt: the stored " + key) as caught:
        getattr(standing, attribute)
    assert "restore" in caught.value.remedy
    store.close()
