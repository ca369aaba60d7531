"""The ledger as the device hands it out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.daemon.exporting import export
from medvouch.errors import StorageFault
from medvouch.formats.ledger import Bundle, Entry
from medvouch.ports import Commit, LedgerRow

DEVICE = "0123456789abcdef" * 2
ENTRY = Entry(b"a statement", {"ear": b"a result"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "state.db")) as store:
        yield store


def test_all_that_is_kept_goes_out(store: SqliteStore) -> None:
    assert Bundle.parse(export(store, DEVICE)) == Bundle(DEVICE, (), (), b"", b"", b"")
    store.commit(Commit(entry=LedgerRow(0, ENTRY.encode(), bytes(32))))
    assert Bundle.parse(export(store, DEVICE)).entries == (ENTRY,)


def test_a_row_that_was_damaged(store: SqliteStore) -> None:
    store.commit(Commit(entry=LedgerRow(0, ENTRY.encode()[:-1], bytes(32))))
    with pytest.raises(StorageFault, match="state-corrupt"):
        export(store, DEVICE)
