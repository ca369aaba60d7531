"""What an agent has on its disk."""

from __future__ import annotations

from collections.abc import Sequence

from medvouch.adapters.store import SqliteStore
from medvouch.crypto.tpm import public_key
from medvouch.formats.identity import DeviceIdentity
from medvouch.formats.ledger import Entry, Statement
from medvouch.formats.tpm_public import Public
from medvouch.ledger.statements import Author, verify_entries
from support.sites import Scene


def ledger(scene: Scene) -> Sequence[Statement]:
    """The statements of its ledger, verified."""
    store = SqliteStore(scene.gateway.state_dir / "state.db")
    try:
        entries = [Entry.parse(data) for data in store.entries()]
        identity = DeviceIdentity.parse(store.get("identity") or b"")
    finally:
        store.close()
    key = public_key(Public.parse(identity.ldevid_public))
    return [each.statement for each in verify_entries(entries, key, Author(identity.device_id, identity.ueid))]


def kept(scene: Scene, key: str) -> bytes | None:
    """A value of its store."""
    store = SqliteStore(scene.gateway.state_dir / "state.db")
    try:
        return store.get(key)
    finally:
        store.close()
