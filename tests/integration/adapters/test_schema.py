"""One database, agents of two versions: what the new slot's has migrated, the old slot's goes on with."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

import medvouch
from medvouch.adapters import schema
from medvouch.adapters.schema import MIGRATIONS, Migration
from medvouch.adapters.store import SqliteStore
from medvouch.errors import StorageFault
from medvouch.ports import Commit, LedgerRow, Message

RELEASED = 2
"""The least number of migrations that an agent in the field has done."""
NEXT: Migration = (
    "ALTER TABLE state ADD COLUMN changed INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE seen ADD COLUMN day INTEGER",
    "ALTER TABLE sequence ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE ledger ADD COLUMN machine TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE checkpoints ADD COLUMN day INTEGER",
    "ALTER TABLE outbox ADD COLUMN expires INTEGER",
    "CREATE TABLE remediation (advisory TEXT PRIMARY KEY, closed INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "INSERT INTO remediation (advisory, closed) VALUES ('none', 0)",
    "CREATE INDEX ledger_machine ON ledger (machine)",
)
"""What a later agent may do to every table there is."""
LATER = (*MIGRATIONS, NEXT)
ADDS = re.compile(r"CREATE (TABLE|INDEX) \w+|ALTER TABLE \w+ ADD COLUMN|INSERT INTO \w+ \(")
RELEASED_STATEMENTS = (
    ("INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
     ("life", b"enrolled")),
    ("SELECT value FROM state WHERE key = ?", ("life",)),
    ("DELETE FROM state WHERE key = ?", ("life",)),
    ("INSERT OR IGNORE INTO seen (kind, identifier) VALUES (?, ?)", ("command", "7")),
    ("UPDATE sequence SET reserved = reserved + ? RETURNING reserved", (1000,)),
    ("UPDATE sequence SET reserved = ? WHERE reserved = ?", (3, 1000)),
    ("SELECT coalesce(max(number) + 1, 0) FROM ledger", ()),
    ("INSERT INTO ledger (number, entry, leaf) VALUES (?, ?, ?)", (9, b"entry", b"leaf")),
    ("SELECT leaf FROM ledger ORDER BY number", ()),
    ("SELECT entry FROM ledger ORDER BY number", ()),
    ("INSERT INTO checkpoints (counter, data) VALUES (?, ?)", (b"\0\0\0\0\0\0\0\7", b"checkpoint")),
    ("SELECT data FROM checkpoints ORDER BY counter DESC LIMIT ?", (-1,)),
    ("INSERT INTO outbox (topic, payload, retain, correlation) VALUES (?, ?, ?, ?)", ("t", b"p", 0, None)),
    ("SELECT number, topic, payload, retain, correlation FROM outbox WHERE number > ? ORDER BY number LIMIT ?", (0, 9)),
    ("DELETE FROM outbox WHERE number = ?", (1,)),
)  # fmt: skip
"""Every statement of the agent that is in the field, word for word; a later agent's belong below these."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def used(path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> list[object]:
    """All that an agent does with its store once, after what others have; what it reads there."""
    with closing(SqliteStore(path, migrations)) as store:
        number = len(store.leaves())
        entry = LedgerRow(number, b"entry %d" % number, b"leaf %d" % number)
        checkpoint = number, b"checkpoint %d" % number
        store.commit(Commit({"a": b"%d" % number, "b": None}, entry, checkpoint, [Message("topic", b"%d" % number)]))
        store.put({"kept": b"1", f"of {number}": b"2"})
        assert store.first_time("command", str(number))
        assert not store.first_time("command", str(number))
        store.next_seq()
        waiting = store.outbox(0, 10)
        store.published([waiting[0][0]])
        return [store.get("a"), store.entries()[-1], store.checkpoints(newest=1), waiting[-1][1].payload]


def tables(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each table and its columns."""
    with closing(sqlite3.connect(path)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for name in sorted(names):
            yield name, [row[1] for row in database.execute(f"PRAGMA table_info({name})")]


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def said(number: int) -> list[object]:
    return [b"%d" % number, b"entry %d" % number, [b"checkpoint %d" % number], b"%d" % number]


def test_the_old_slot_s_agent_goes_on_with_what_the_new_one_s_has_migrated(path: Path) -> None:
    """Old, new, fallen back to old, new again: nothing is lost, nothing is migrated twice."""
    assert used(path) == said(0)
    assert used(path, LATER) == said(1)
    assert version(path) == len(LATER)
    assert used(path) == said(2)
    assert version(path) == len(LATER)
    assert used(path, LATER) == said(3)
    columns = dict(tables(path))
    assert columns["remediation"] == ["advisory", "closed"]
    with closing(SqliteStore(path, LATER)) as store:
        assert [*store.entries()] == [b"entry %d" % number for number in range(4)]
        assert store.get("kept") == b"1"
        assert store._db.execute("SELECT count(*) FROM remediation").fetchone() == (1,)


def test_what_the_old_slot_s_agent_writes_keeps_the_columns_that_it_does_not_know(path: Path) -> None:
    used(path, LATER)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE state SET changed = 77 WHERE key = 'kept'")
    used(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT changed FROM state WHERE key = 'kept'").fetchone() == (77,)


@pytest.mark.parametrize("count", range(RELEASED, len(LATER)))
def test_the_statements_of_the_agent_in_the_field_work_on_every_schema_after_its_own(path: Path, count: int) -> None:
    SqliteStore(path, LATER[: count + 1]).close()
    with closing(sqlite3.connect(path)) as database:
        for statement, parameters in RELEASED_STATEMENTS:
            database.execute(statement, parameters).fetchall()


@pytest.mark.parametrize("count", range(RELEASED, len(MIGRATIONS) + 1))
def test_a_database_of_any_agent_in_the_field_is_migrated(path: Path, count: int) -> None:
    SqliteStore(path, MIGRATIONS[:count]).close()
    assert used(path) == said(0)
    assert version(path) == len(MIGRATIONS)


@pytest.mark.parametrize("migration", MIGRATIONS)
def test_migrations_only_add(migration: Migration) -> None:
    assert [statement for statement in migration if not ADDS.match(statement)] == []
    assert [statement for statement in migration if "DROP" in statement or "RENAME" in statement] == []


def test_a_database_of_a_later_generation_is_refused_and_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used(path)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "GENERATION", 1)
        assert used(path) == said(1)
    before = path.read_bytes()
    with pytest.raises(StorageFault, match="state-newer") as caught:
        SqliteStore(path)
    assert "install that version again" in caught.value.remedy
    assert path.read_bytes() == before
    with monkeypatch.context() as patch:
        patch.setattr(schema, "GENERATION", 1)
        assert used(path) == said(2)


def test_a_migration_that_fails_half_way_changes_nothing(path: Path) -> None:
    used(path)
    before = dict(tables(path))
    with pytest.raises(StorageFault, match="state-unusable"):
        SqliteStore(path, (*MIGRATIONS, (*NEXT, "ALTER TABLE nothing ADD COLUMN more")))
    assert (dict(tables(path)), version(path)) == (before, len(MIGRATIONS))
    assert used(path, LATER) == said(1)


KILLED = """
import sys
from pathlib import Path
from medvouch.adapters.schema import MIGRATIONS
from medvouch.adapters.store import SqliteStore
ENDLESS = ("WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many)"
           " INSERT INTO remediation (advisory, closed) SELECT n, 0 FROM many")
print("begun", flush=True)
SqliteStore(Path(sys.argv[1]), (*MIGRATIONS, (*sys.argv[2:], ENDLESS)))
"""


def test_an_agent_that_is_killed_while_it_migrates_has_migrated_nothing(path: Path) -> None:
    used(path)
    before = dict(tables(path))
    environment = {"PYTHONPATH": str(Path(medvouch.__file__).parents[1])}
    command = [sys.executable, "-c", KILLED, str(path), *NEXT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as migrating:
        assert migrating.stdout
        migrating.stdout.readline()
        journal = path.with_name("state.db-wal")
        until = time.monotonic() + 30
        while not (journal.exists() and journal.stat().st_size > 4 << 20):
            assert time.monotonic() < until
            time.sleep(0.01)
        migrating.kill()
    assert migrating.returncode == -signal.SIGKILL
    assert used(path) == said(1)
    assert (dict(tables(path)), version(path)) == (before, len(MIGRATIONS))
    assert used(path, LATER) == said(2)
