from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.daemon import standing
from medvouch.daemon.standing import Standing
from medvouch.errors import Refusal, StorageFault
from medvouch.lifecycle.life import Life


def test_a_new_device_stands_nowhere(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    new = Standing(store)
    assert (new.identity, new.life, new.owner, new.last_verdict) == (None, Life.MANUFACTURED, "", None)
    with pytest.raises(Refusal, match="transition-not-allowed"):
        new.commissioned("somebody")
    assert new.owner == ""
    store.close()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (standing.IDENTITY_KEY, "identity"),
        (standing.LIFE_KEY, "life"),
        (standing.OWNER_KEY, "owner"),
        (standing.EAR_KEY, "last_verdict"),
        (standing.EPOCH_KEY, "security_epoch"),
        (standing.RECEIPT_KEY, "receipt"),
    ],
)
def test_what_cannot_be_read_back_is_a_fault_of_the_storage(tmp_path: Path, key: str, name: str) -> None:
    store = SqliteStore(tmp_path / "state.db")
    store.put({key: b"\xff"})
    with pytest.raises(StorageFault, match=r"state-corrupt: .*backup"):
        getattr(Standing(store), name)
    store.close()
