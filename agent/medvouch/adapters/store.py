"""The agent's durable state in one SQLite file (WAL, synchronous FULL)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medvouch.adapters.schema import MIGRATIONS, Migration, migrate
from medvouch.errors import StorageFault
from medvouch.ports import Commit, LedgerRow, Message

_APPLICATION_ID = 0x6D766368
"""`mvch`, in the file's header."""
SEQ_BATCH = 1000
"""Message numbers are reserved on the disk by the thousand: no number costs an fsync of its own."""
_BUSY_S = 5.0
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class SqliteStore:
    """`medvouch.ports.Store`. Safe to use from several threads; after a fault it stays usable and has lost nothing.

    Statements name the columns that they write, and replace no row: others may have been added (`migrations`).
    Faults: `state-corrupt`, `state-full`, `state-busy`, `state-newer`, `state-unusable`.
    """

    def __init__(self, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self._path = path
        self._migrations = migrations
        self._lock = threading.RLock()
        self._next = self._reserved = 0
        with self._faults():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            with self._faults():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA trusted_schema = OFF")
        self._db.execute("PRAGMA secure_delete = ON")  # what is deleted may be a sealed key
        self._db.execute("PRAGMA cache_size = -256")  # KiB; a fleet has thousands of these
        damage = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise self._corrupt(damage)
        with self._transaction():
            migrate(self._db, self._path, self._migrations)
            self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")

    def get(self, key: str) -> bytes | None:
        """A value, or None."""
        with self._lock, self._faults():
            row = self._db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, values: Mapping[str, bytes | None]) -> None:
        """Write (None: delete) several values in one transaction."""
        self.commit(Commit(values))

    def commit(self, change: Commit) -> None:
        """Write values, ledger entry, checkpoint and outgoing messages in one transaction."""
        with self._faults(), self._transaction():
            self._write(change.values)
            if change.entry is not None:
                self._append(change.entry)
            if change.checkpoint is not None:
                counter, data = change.checkpoint
                self._db.execute(
                    "INSERT INTO checkpoints (counter, data) VALUES (?, ?)", (counter.to_bytes(8, "big"), data)
                )
            rows = [(each.topic, each.payload, each.retain, each.correlation) for each in change.messages]
            statement = "INSERT INTO outbox (topic, payload, retain, correlation) VALUES (?, ?, ?, ?)"
            self._db.executemany(statement, rows)

    def _write(self, values: Mapping[str, bytes | None]) -> None:
        written = [(key, value) for key, value in values.items() if value is not None]
        deleted = [(key,) for key, value in values.items() if value is None]
        statement = (
            "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )
        self._db.executemany(statement, written)
        self._db.executemany("DELETE FROM state WHERE key = ?", deleted)

    def _append(self, row: LedgerRow) -> None:
        (expected,) = self._db.execute("SELECT coalesce(max(number) + 1, 0) FROM ledger").fetchone()
        if row.index != expected:
            detail = f"{self._path}: entry {row.index} is written where {expected} is the next"
            raise StorageFault("ledger-number-taken", detail, remedy="stop the other medvouch process")
        self._db.execute("INSERT INTO ledger (number, entry, leaf) VALUES (?, ?, ?)", (row.index, row.entry, row.leaf))

    def leaves(self) -> Sequence[bytes]:
        """The leaf hashes of all ledger entries, in order."""
        return self._column("SELECT leaf FROM ledger ORDER BY number")

    def entries(self) -> Sequence[bytes]:
        """All ledger entries, in order."""
        return self._column("SELECT entry FROM ledger ORDER BY number")

    def checkpoints(self, *, newest: int | None = None) -> Sequence[bytes]:
        """Checkpoints by ascending counter; only so many of the newest."""
        limit = -1 if newest is None else newest
        return self._column("SELECT data FROM checkpoints ORDER BY counter DESC LIMIT ?", limit)[::-1]

    def _column(self, statement: str, *parameters: int) -> list[bytes]:
        with self._lock, self._faults():
            return [bytes(value) for (value,) in self._db.execute(statement, parameters)]

    def outbox(self, after: int, limit: int) -> Sequence[tuple[int, Message]]:
        """Messages that wait, from the first number after `after` on."""
        statement = (
            "SELECT number, topic, payload, retain, correlation FROM outbox WHERE number > ? ORDER BY number LIMIT ?"
        )
        with self._lock, self._faults():
            rows = self._db.execute(statement, (after, limit)).fetchall()
        return [
            (number, Message(topic, payload, bool(retain), correlation))
            for number, topic, payload, retain, correlation in rows
        ]

    def published(self, numbers: Sequence[int]) -> None:
        """Forget messages that the broker has."""
        with self._faults(), self._transaction():
            self._db.executemany("DELETE FROM outbox WHERE number = ?", [(number,) for number in numbers])

    def next_seq(self) -> int:
        """The next message number, from 1; never the same twice. A crash skips those that were reserved."""
        with self._lock:
            if self._next == self._reserved:
                self._reserve()
            self._next += 1
            return self._next

    def _reserve(self) -> None:
        with self._faults(), self._transaction():
            statement = "UPDATE sequence SET reserved = reserved + ? RETURNING reserved"
            (reserved,) = self._db.execute(statement, (SEQ_BATCH,)).fetchone()
        self._next, self._reserved = reserved - SEQ_BATCH, reserved

    def first_time(self, kind: str, identifier: str) -> bool:
        """Record (kind, identifier); False where it was recorded before."""
        with self._faults(), self._transaction():
            cursor = self._db.execute("INSERT OR IGNORE INTO seen (kind, identifier) VALUES (?, ?)", (kind, identifier))
            return cursor.rowcount == 1

    def close(self) -> None:
        """Give back the numbers that were reserved and not used, where nobody reserved more; close the database."""
        with self._lock, self._faults():
            try:
                statement = "UPDATE sequence SET reserved = ? WHERE reserved = ?"
                self._db.execute(statement, (self._next, self._reserved))
            finally:
                self._db.close()
                self._next = self._reserved

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._fault(error) from error
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error

    def _fault(self, error: sqlite3.Error) -> StorageFault:
        extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        code = extended & 0xFF
        if code in _CORRUPT:
            return self._corrupt(str(error))
        if code == sqlite3.SQLITE_FULL:
            remedy = "free some space; the agent goes on by itself"
            return StorageFault("state-full", f"{self._path}: the disk is full", remedy=remedy)
        if code == sqlite3.SQLITE_BUSY:
            remedy = "stop the other medvouch process, or ask the running agent instead"
            return StorageFault("state-busy", f"{self._path} is in use by another process", remedy=remedy)
        return self._unusable(str(error))

    def _corrupt(self, what: str) -> StorageFault:
        remedy = "check the disk, move the file away or restore a backup of it, then enrol the device again"
        return StorageFault("state-corrupt", f"{self._path} is damaged: {what.splitlines()[0]}", remedy=remedy)

    def _unusable(self, what: str) -> StorageFault:
        remedy = "check the disk and that its owner, permissions and mount options let the agent write it"
        return StorageFault("state-unusable", f"{self._path}: {what}", remedy=remedy)
