"""The ledger as an appraiser sees it: what is claimed, what the TPM confirms, what is known from before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from medvouch.attestation import refusals
from medvouch.attestation.ledger_heads import LedgerExpectation, consistent_head
from medvouch.crypto import merkle
from medvouch.crypto import refusals as crypto_refusals
from medvouch.errors import InputError, Refusal, RefusalKind
from medvouch.formats.claims import LedgerHead
from medvouch.formats.eat import Eat
from medvouch.formats.ledger import CertifiedCheckpoint, Entry, LedgerRecord
from medvouch.formats.tpm import Attest, AttestType, ClockInfo, PcrSelection, QuoteInfo
from support.evidence import QUALIFIED_SIGNER, claims_of
from support.ledgers import LAK, NAMES, Notary, entries, entry, root
from support.refusing import assert_refused

SIX = entries(6)
LEAVES = [merkle.leaf_hash(each.statement) for each in SIX]


@dataclass
class Shown:
    """Evidence of a ledger with these entries and its latest checkpoint, made right before the quote."""

    entries: Sequence[Entry]
    latest: CertifiedCheckpoint
    now: ClockInfo
    since: int = 0

    @property
    def head(self) -> LedgerHead:
        return LedgerHead(len(self.entries), root(self.entries), self.latest.checkpoint.counter)

    @property
    def record(self) -> LedgerRecord:
        leaves = [merkle.leaf_hash(each.statement) for each in self.entries]
        growth, anchoring = (
            merkle.consistency_proof(leaves, size) for size in (self.since, self.latest.checkpoint.size)
        )
        return LedgerRecord(self.latest, self.since, growth, anchoring)

    def judged(
        self,
        last: LedgerHead | None = None,
        *,
        record: LedgerRecord | None = None,
        head: LedgerHead | None = None,
        now: ClockInfo | None = None,
    ) -> LedgerHead:
        claims = replace(claims_of(b""), ledger_head=head or self.head)
        return judge((record or self.record).encode(), claims, now or self.now, last)

    def refused(self, kind: RefusalKind, last: LedgerHead | None = None, **changes: object) -> Refusal:
        return assert_refused(kind, self.judged, last, **changes)


def judge(record: bytes | None, claims: Eat, now: ClockInfo, last: LedgerHead | None = None) -> LedgerHead:
    quote = Attest(AttestType.QUOTE, QUALIFIED_SIGNER, b"", now, 1, QuoteInfo(PcrSelection(()), bytes(32)))
    return consistent_head(record, claims, quote, LAK.public_key(), LedgerExpectation(NAMES, last))


def shown(size: int = 5, checkpoints: Sequence[int] = (1, 3), since: int = 0, of: Sequence[Entry] = SIX) -> Shown:
    notary = Notary()
    latest = [notary.checkpoint(of[:each]) for each in checkpoints][-1]
    return Shown(of[:size], latest, replace(notary.clock, clock=notary.clock.clock + 1), since)


def known(size: int, counter: int) -> LedgerHead:
    """What the appraiser confirmed before."""
    return LedgerHead(size, root(SIX[:size]), counter)


COUNTER = shown().latest.checkpoint.counter


def test_the_first_that_an_appraiser_sees() -> None:
    assert shown().judged() == LedgerHead(5, root(SIX[:5]), COUNTER)
    assert shown(3).judged() == LedgerHead(3, root(SIX[:3]), COUNTER), "a checkpoint of all of it"


@pytest.mark.parametrize("size", range(1, 6))
def test_it_continues_what_is_known(size: int) -> None:
    for counter in (COUNTER, COUNTER - 1):
        assert shown(since=size).judged(known(size, counter)).size == 5


def test_there_is_none() -> None:
    whole, now = shown(), shown().now
    for record, head in ((None, whole.head), (whole.record.encode(), None), (None, None)):
        claims = replace(claims_of(b""), ledger_head=head)
        assert_refused(refusals.LEDGER_MISSING, judge, record, claims, now)
    with pytest.raises(InputError, match="cbor-"):
        judge(whole.record.encode()[:-1], replace(claims_of(b""), ledger_head=whole.head), now)


def test_a_checkpoint_that_no_tpm_certified() -> None:
    record = shown().record
    changed = replace(record, latest=replace(record.latest, head=record.latest.counter))
    shown().refused(crypto_refusals.CHECKPOINT_NOT_CERTIFIED, record=changed)


def test_another_checkpoint_than_the_claimed() -> None:
    whole, kind = shown(), refusals.CHECKPOINT_MISMATCH
    whole.refused(kind, head=replace(whole.head, counter=COUNTER + 1))
    whole.refused(kind, head=replace(whole.head, counter=COUNTER - 1))
    whole.refused(kind, head=replace(known(2, COUNTER)))


def test_a_checkpoint_of_the_future() -> None:
    whole, kind = shown(), refusals.CHECKPOINT_MISMATCH
    certified = Attest.parse(whole.latest.head.attest).clock_info
    assert whole.judged(now=certified)
    whole.refused(kind, now=replace(certified, clock=certified.clock - 1))
    whole.refused(kind, now=replace(certified, reset_count=certified.reset_count - 1, clock=10**6))
    certified = replace(certified, restart_count=certified.restart_count + 1, clock=0)
    assert whole.judged(now=certified)


def test_less_than_is_known() -> None:
    kind = refusals.LEDGER_ROLLED_BACK
    shown().refused(kind, known(6, COUNTER))
    shown().refused(kind, known(5, COUNTER + 1))


def test_another_beginning_than_is_known() -> None:
    forked = [*SIX[:2], entry(2, detail="forked"), *SIX[3:]]
    whole = shown(of=forked, since=4)
    assert whole.refused(refusals.LEDGER_FORKED, known(4, COUNTER)).place == "entry 4"
    assert shown(of=forked, since=2).judged(known(2, COUNTER)).size == 5, "of a fork after it nobody knows yet"


def test_growth_from_another_size_than_is_known() -> None:
    shown(since=3).refused(refusals.LEDGER_FORKED, known(4, COUNTER))


def test_growth_from_another_root_than_is_known() -> None:
    shown(since=4).refused(refusals.LEDGER_FORKED, replace(known(4, COUNTER), root=bytes(32)))


def test_another_beginning_than_the_checkpoints() -> None:
    """The TPM was told of one ledger, and another one is claimed."""
    forked = [*SIX[:2], entry(2, detail="forked"), *SIX[3:5]]
    whole = replace(shown(), entries=forked)
    assert whole.refused(refusals.LEDGER_FORKED).place == "entry 3"
    record = shown().record
    shown().refused(refusals.LEDGER_FORKED, record=replace(record, anchoring=record.anchoring[:-1]))
