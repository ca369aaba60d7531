"""The ledger as the agent keeps it: each transition with its entry and its messages, and checkpoints in the TPM."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from medvouch.attestation.provisioning import LEDGER_COUNTER, LEDGER_HEAD
from medvouch.crypto import merkle
from medvouch.crypto.checkpoints import COUNTER, HEAD
from medvouch.crypto.keys import Signer
from medvouch.daemon import refusals
from medvouch.daemon.health import Health
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import Change, Standing
from medvouch.daemon.worker import Worker
from medvouch.errors import InputError, MedvouchError, Refusal, StorageFault
from medvouch.formats.claims import LedgerHead
from medvouch.formats.ledger import (
    MAX_ATTACHMENT_BYTES,
    Attachments,
    CertifiedCheckpoint,
    LedgerRecord,
    Statement,
)
from medvouch.ledger.anchoring import Anchor, Intent
from medvouch.ledger.statements import Author, digests, sign_entry
from medvouch.ports import Clock, Commit, LedgerRow, Message, Store

log = logging.getLogger(__name__)

T = TypeVar("T")

COMPONENT = "ledger"
INTENT_KEY = "ledger-intent"
INDEXES = {COUNTER: LEDGER_COUNTER, HEAD: LEDGER_HEAD}


@dataclass(frozen=True)
class Circumstances:
    """Who did it, who answers for it, what lay before them, and a line more; `named`: digests of what is not kept.

    Attachments that are larger than an entry takes are named by their digests, too, and not kept.
    """

    actor: str
    owner: str = ""
    attachments: Attachments = field(default_factory=dict)
    named: Mapping[str, bytes] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True)
class Pen:
    """What an entry is signed with, in which boot, by which clock."""

    signer: Signer
    author: Author
    clock: Clock
    boot: str

    def entry(self, index: int, change: Change, around: Circumstances) -> LedgerRow:
        """The signed entry of a change. Blocking; raises TpmFault."""
        now = self.clock.now()
        statement = Statement(
            index=index,
            machine=change.transition.machine,
            before=change.transition.before,
            after=change.transition.after,
            cause=change.transition.cause,
            actor=around.actor[:128],
            owner=around.owner,
            time_ms=now.ms,
            time_source="clock" if now.ok else "unsynchronised",
            boot=self.boot,
            detail=around.detail[:1024],
            digests={**digests(around.attachments), **around.named},
        )
        kept = {name: data for name, data in around.attachments.items() if len(data) <= MAX_ATTACHMENT_BYTES}
        entry = sign_entry(statement, kept, self.signer, self.author)
        return LedgerRow(index, entry.encode(), merkle.leaf_hash(entry.statement))


class Recorder:
    """Writes the ledger; one entry at a time. TPM work goes through `worker`."""

    def __init__(
        self, store: Store, worker: Worker, pen: Pen, anchor: Anchor, reporter: Reporter, health: Health
    ) -> None:
        self._store = store
        self._worker = worker
        self._pen = pen
        self._anchor = anchor
        self._reporter = reporter
        self._health = health
        self._lock = asyncio.Lock()
        self._size = len(store.leaves())

    async def record(
        self, change: Change, around: Circumstances, messages: Sequence[Message] = (), *, checkpoint: bool = False
    ) -> None:
        """Make a change durable: its values, its entry and its messages in one transaction; then a checkpoint.

        Raises TpmFault, StorageFault, Refusal `device-frozen`: nothing of it has happened. A checkpoint that fails is
        a problem in `health`.
        """
        async with self._lock:
            if Standing(self._store).closed:
                raise Refusal(refusals.DEVICE_FROZEN, f"no {change.transition.machine} is recorded any more")
            index = self._size
            row = await self._worker.run(lambda: self._pen.entry(index, change, around))
            self._store.commit(Commit(change.values, row, messages=messages))
            self._size = index + 1
        if messages:
            await self._reporter.wake()
        if checkpoint:
            await self.checkpoint()

    async def keep(self, values: Mapping[str, bytes | None], messages: Sequence[Message]) -> None:
        """Make values and messages durable without an entry: of a device whose ledger has ended."""
        self._store.commit(Commit(values, messages=messages))
        await self._reporter.wake()

    async def checkpoint(self) -> None:
        """Tell the TPM of the ledger as it is. What goes wrong is a problem in `health`, and an event."""
        try:
            async with self._lock:
                await self._worker.run(self._complete)
                await self._worker.run(self._checkpoint)
        except MedvouchError as error:
            if self._health.report(COMPONENT, error):
                log.warning("%s", error)
                fields = {"code": error.code, "detail": error.detail}
                with suppress(StorageFault):  # the store has told health of it
                    await self._reporter.event("checkpoint-failed", fields)
        else:
            self._health.clear(COMPONENT)

    def _complete(self) -> None:
        """Carry out what an interrupted run has left."""
        data = self._store.get(INTENT_KEY)
        if data is not None:
            self._carry_out(_read(Intent.parse, data))

    def _checkpoint(self) -> None:
        if not self._size:
            return
        last = _latest_of(self._store)
        leaves = self._store.leaves()
        intent = self._anchor.intend(len(leaves), merkle.root(leaves), last.checkpoint if last else None)
        self._store.put({INTENT_KEY: intent.encode()})
        self._carry_out(intent)

    def _carry_out(self, intent: Intent) -> None:
        certified = self._anchor.carry_out(intent, self._pen.author.device)
        row = certified.checkpoint.counter, certified.encode()
        self._store.commit(Commit({INTENT_KEY: None}, checkpoint=row))

    def head(self, since: int) -> tuple[LedgerHead, bytes] | None:
        """For evidence, as `head_of`."""
        return head_of(self._store, since)


def head_of(store: Store, since: int) -> tuple[LedgerHead, bytes] | None:
    """A kept ledger's head, and the record `checkpoint` with its proofs; None before the first checkpoint."""
    latest = _latest_of(store)  # before the leaves, of which there may be more by the time they are read
    leaves = store.leaves()
    if latest is None:
        return None
    known = since if since <= len(leaves) else 0
    growth, anchoring = (merkle.consistency_proof(leaves, size) for size in (known, latest.checkpoint.size))
    record = LedgerRecord(latest, known, growth, anchoring)
    return LedgerHead(len(leaves), merkle.root(leaves), latest.checkpoint.counter), record.encode()


def _latest_of(store: Store) -> CertifiedCheckpoint | None:
    newest = store.checkpoints(newest=1)
    return _read(CertifiedCheckpoint.parse, newest[0]) if newest else None


def _read(parse: Callable[[bytes], T], data: bytes) -> T:
    try:
        return parse(data)
    except InputError as error:
        remedy = "restore the state directory from a backup, or enrol the device again"
        raise StorageFault("state-corrupt", f"the stored ledger: {error}", remedy=remedy) from error
