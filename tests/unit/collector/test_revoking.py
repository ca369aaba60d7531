"""The list of what is revoked: made anew when it changes and when it is old, never twice with the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from medvouch.adapters.store import SqliteStore
from medvouch.collector.registry import Registry
from medvouch.collector.revoking import RENEWAL_S, Revocations
from medvouch.errors import StorageFault
from medvouch.ports import Timestamp
from support.authorities import NOW, issuing


@dataclass
class Time:
    seconds: int = NOW

    def now(self) -> Timestamp:
        return Timestamp(self.seconds * 1000, True)

    def uptime_s(self) -> int:
        return self.seconds


@dataclass
class Broker:
    lists: list[bytes] = field(default_factory=list)
    full: bool = False

    async def enforce(self, revoked: bytes) -> None:
        if self.full:
            raise StorageFault("file-unwritable", "the disk is full")
        self.lists.append(revoked)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    store = SqliteStore(tmp_path / "state.db")
    yield Registry(store)
    store.close()


def made(data: bytes) -> int:
    return int(x509.load_der_x509_crl(data).last_update_utc.timestamp())


async def test_it_stands_for_a_day_unless_it_is_published(registry: Registry) -> None:
    clock, broker = Time(), Broker()
    revocations = Revocations(registry, issuing("a").revocation_list, clock, broker.enforce)
    first = revocations.current()
    clock.seconds += RENEWAL_S - 1
    assert revocations.current() == first
    clock.seconds += 1
    second = revocations.current()
    assert made(second) == made(first) + RENEWAL_S
    assert broker.lists == []
    for _ in range(3):  # within one second
        await revocations.publish()
    assert [made(each) - made(second) for each in broker.lists] == [1, 2, 3]
    assert revocations.current() == broker.lists[-1]


async def test_a_broker_that_does_not_take_it_ends_nothing(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(full=True)
    keeping = asyncio.create_task(
        Revocations(registry, issuing("a").revocation_list, Time(), broker.enforce).keep_current()
    )
    await asyncio.sleep(0.05)
    assert not keeping.done()
    assert "file-unwritable" in caplog.text
    keeping.cancel()


async def test_where_nobody_enforces_it(registry: Registry) -> None:
    revocations = Revocations(registry, issuing("a").revocation_list, Time(), None)
    await revocations.publish()
    assert made(revocations.current())
