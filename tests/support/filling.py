"""A database that is full, or cannot be written: SQLite's own limits, reached for real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.errors import StorageFault

PLENTY = 1 << 30


@contextmanager
def full(store: SqliteStore) -> Iterator[None]:
    """Not a byte more fits inside; there is space again after."""
    database = store._db
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    for size in (4096, 512, 64, 1):
        with pytest.raises(StorageFault, match="state-full"):
            _fill(store, size)
    try:
        yield
    finally:
        database.execute(f"PRAGMA max_page_count = {PLENTY}")


def _fill(store: SqliteStore, size: int) -> None:
    for number in range(1000):
        store.put({f"filling/{size}/{number}": bytes(size)})


@contextmanager
def read_only(store: SqliteStore) -> Iterator[None]:
    """Nothing can be written inside, as on a file system that was mounted anew after an error."""
    store._db.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        store._db.execute("PRAGMA query_only = OFF")
