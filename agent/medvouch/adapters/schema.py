"""The tables of the agent's database, and how one of an older agent gets there: migrations that only add.

Both slots share the file. An agent in the old slot comes back to what the new one has migrated, and has to read and
write it as before; so a migration takes nothing away, renames nothing and forbids nothing, and what it adds has a
default. What an agent keeps in `state` is held to the same: a new value goes under a new key.

`user_version` is the generation (upper 16 bits) and the number of migrations done (lower 16 bits). Within a generation
every agent opens what every other one has migrated. A migration that has to take something away begins a new one, which
no agent of the one before opens; it is for a release whose old slot knows the generation already.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from medvouch.errors import StorageFault

Migration = Sequence[str]
"""SQL statements, run within one transaction."""

GENERATION = 0
_COUNT_BITS = 16
_STATE = (
    "CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE seen (kind TEXT, identifier TEXT, PRIMARY KEY (kind, identifier)) STRICT, WITHOUT ROWID",
    "CREATE TABLE sequence (reserved INTEGER NOT NULL) STRICT",
    "INSERT INTO sequence (reserved) VALUES (0)",
)
_CHAIN = (
    "CREATE TABLE ledger (number INTEGER PRIMARY KEY, entry BLOB NOT NULL, leaf BLOB NOT NULL) STRICT",
    "CREATE TABLE checkpoints (counter BLOB PRIMARY KEY, data BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL,"
    " retain INTEGER NOT NULL, correlation BLOB) STRICT",
)
MIGRATIONS: Sequence[Migration] = (_STATE, _CHAIN)
"""What leads from each number of migrations to the next; what was released is never changed, only added to."""


def migrate(database: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Within the transaction that is open: all migrations that this file has not seen; of a newer agent's, none.

    Raises StorageFault `state-newer` for a file of a later generation; sqlite3.Error.
    """
    version = database.execute("PRAGMA user_version").fetchone()[0]
    generation, done = version >> _COUNT_BITS, version & (1 << _COUNT_BITS) - 1
    if generation not in range(GENERATION + 1):
        detail = f"{path} was written by a newer medvouch (generation {generation} of its tables)"
        raise StorageFault("state-newer", detail, remedy="install that version again")
    for migration in migrations[done:]:
        for statement in migration:
            database.execute(statement)
    reached = max(done, len(migrations))
    database.execute(f"PRAGMA user_version = {GENERATION << _COUNT_BITS | reached}")
