"""A slot, a server and what brings an image from one to the other, as the agent has them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medvouch.adapters.folder import AnyFetcher
from medvouch.adapters.http import HttpFetcher
from medvouch.adapters.slots import FileSlots
from medvouch.adapters.store import SqliteStore
from medvouch.daemon.delivery import JOURNAL_KEY, Delivery
from medvouch.daemon.mirrors import Places
from medvouch.formats.update import FetchJournal, IndexPayload, UpdateRecord
from medvouch.update.blocks import index_of
from medvouch_sim.repository_server import RepositoryServer

BLOCK = 4096
CAPACITY = 16 << 20


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def altered(image: bytes, numbers: Sequence[int]) -> bytes:
    """The image with other contents in the blocks of these numbers."""
    data = bytearray(image)
    for number in numbers:
        data[number * BLOCK : (number + 1) * BLOCK] = noise(BLOCK, 1000 + number)
    return bytes(data)


@dataclass
class Desk:
    """Slots that run `old`, and a server in `directory` that has `new` and its block index."""

    directory: Path
    server: RepositoryServer
    old: bytes
    new: bytes
    indexed: bool = True
    mirrors: Sequence[str] = ()
    told: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots = FileSlots.create(self.directory / "slots", [self.old], CAPACITY)
        self.store = SqliteStore(self.directory / "state.db")
        self.fetcher = AnyFetcher(HttpFetcher(2.0))
        index = index_of([self.new], len(self.new)).encode()
        (self.server.directory / "images").mkdir(parents=True)
        (self.server.directory / "images" / "new.img").write_bytes(self.new)
        (self.server.directory / "images" / "new.img.blocks").write_bytes(index)
        uri = f"{self.server.url}/images/new.img"
        self.record = UpdateRecord(
            state="notified", version="1.1.0", sequence=2, security_epoch=1, manifest=bytes(32), uri=uri,
            digest=hashlib.sha256(self.new).digest(), size=len(self.new), reference=b"", slot="b", tries=0, code="",
        )  # fmt: skip
        named = IndexPayload(f"{uri}.blocks", hashlib.sha256(index).digest(), len(index)) if self.indexed else None
        self.keep(FetchJournal(bytes(32), "b", 0, "", "", named))

    def keep(self, journal: FetchJournal) -> None:
        self.store.put({JOURNAL_KEY: journal.encode()})

    @property
    def journal(self) -> FetchJournal:
        data = self.store.get(JOURNAL_KEY)
        assert data is not None
        return FetchJournal.parse(data)

    def delivery(self) -> Delivery:
        """As a process that has just started has it."""
        places = Places(f"{self.server.url}/", self.mirrors)
        return Delivery(self.slots, self.fetcher, self.store, places)

    def deliver(self, only: str = "") -> None:
        self.delivery().deliver(self.record, self.told.append, only)

    @property
    def delivered(self) -> bytes:
        assert self.slots.record().states["b"] == "written"
        return b"".join(self.slots.read("b", len(self.new)))

    def sent(self) -> int:
        """Bytes of the image that were sent since the last time this was asked."""
        sent = sum(size for path, size in self.server.sent if path.endswith(".img"))
        self.server.sent.clear()
        return sent
