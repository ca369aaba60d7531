"""Checkpoints held against the entries, with a software TPM that obeys whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from medvouch.crypto import merkle
from medvouch.crypto import refusals as crypto_refusals
from medvouch.crypto.checkpoints import VerifiedCheckpoint
from medvouch.errors import Refusal, RefusalKind
from medvouch.formats.claims import LedgerHead
from medvouch.formats.ledger import CertifiedCheckpoint, Entry, extended
from medvouch.ledger import refusals
from medvouch.ledger.checkpoints import check_heads, head_of, verify_checkpoints
from medvouch.ledger.statements import verify_entries
from support.ledgers import AUTHOR, FIRST_COUNTER, LAK, LDEVID, NAMES, Notary, entries, entry, root
from support.refusing import assert_refused

FIVE = entries(5)
SIZES = (1, 3, 3, 5)


def told(
    of: Sequence[Entry] = FIVE, sizes: Sequence[int] = SIZES, notary: Notary | None = None
) -> list[CertifiedCheckpoint]:
    by = notary or Notary()
    return [by.checkpoint(of[:size]) for size in sizes]


def verified(checkpoints: Sequence[CertifiedCheckpoint], of: Sequence[Entry] = FIVE) -> tuple[VerifiedCheckpoint, ...]:
    known = verify_entries(of, LDEVID.public_key, AUTHOR)
    return verify_checkpoints(checkpoints, known, LAK.public_key(), NAMES)


def refused(
    kind: RefusalKind, place: str, checkpoints: Sequence[CertifiedCheckpoint], of: Sequence[Entry] = FIVE
) -> Refusal:
    found = assert_refused(kind, verified, checkpoints, of)
    assert found.place == place
    return found


def test_checkpoints_that_hold() -> None:
    found = verified(told())
    assert [(each.checkpoint.size, each.checkpoint.counter) for each in found] == [
        (size, FIRST_COUNTER + number) for number, size in enumerate(SIZES)
    ]
    assert verified(told(), [*FIVE, entry(5)]), "what comes after the last one is not its business"
    assert verified([]) == ()


def test_one_that_no_tpm_certified() -> None:
    good = told()
    bad = replace(good[1], head=good[2].head)
    found = refused(crypto_refusals.CHECKPOINT_NOT_CERTIFIED, "checkpoint 1", [good[0], bad, *good[2:]])
    assert found.detail.startswith("ledger-head: ")


def test_one_that_is_missing() -> None:
    good, gap = told(), refusals.CHECKPOINT_GAP
    refused(gap, "checkpoint 0", good[1:])
    refused(gap, "checkpoint 1", [good[0], *good[2:]])
    refused(gap, "checkpoint 1", [good[0], good[0], *good[1:]])
    refused(gap, "checkpoint 1", [good[0], good[2], good[1], good[3]])
    assert len(verified(good[:-1])) == 3, "of the last nobody knows but whoever saw it"


def test_something_else_was_counted_or_extended() -> None:
    notary = Notary()
    first = notary.checkpoint(FIVE[:1])
    notary.counter += 1
    refused(refusals.CHECKPOINT_GAP, "checkpoint 1", [first, notary.checkpoint(FIVE[:2])])
    notary = Notary()
    first = notary.checkpoint(FIVE[:1])
    notary.head = extended(notary.head, bytes(32))
    refused(refusals.CHECKPOINT_GAP, "checkpoint 1", [first, notary.checkpoint(FIVE[:2])])
    notary = Notary(head=bytes([1]) * 32)
    refused(refusals.CHECKPOINT_GAP, "checkpoint 0", [notary.checkpoint(FIVE[:1])])


def test_a_clock_that_went_back() -> None:
    for before, after in (
        ({"clock": 5000}, {"clock": 10}),
        ({"reset_count": 4}, {"reset_count": 3, "clock": 9000}),
        ({"restart_count": 2}, {"restart_count": 1, "clock": 9000}),
    ):
        notary = Notary()
        notary.clock = replace(notary.clock, **before)
        first = notary.checkpoint(FIVE[:1])
        notary.clock = replace(notary.clock, **after)
        refused(refusals.CHECKPOINT_CLOCK, "checkpoint 1", [first, notary.checkpoint(FIVE[:2])])
    notary = Notary()
    first = notary.checkpoint(FIVE[:1])
    notary.clock = replace(notary.clock, reset_count=notary.clock.reset_count + 1, clock=0)
    assert verified([first, notary.checkpoint(FIVE[:2])]), "a reset, after which the clock may be behind"


def test_a_ledger_that_shrank() -> None:
    refused(refusals.CHECKPOINT_CLOCK, "checkpoint 1", told(sizes=(3, 2)))


def test_entries_that_were_cut_off() -> None:
    for size in range(5):
        refused(refusals.LEDGER_TRUNCATED, f"entry {size}", told(), FIVE[:size])


def test_entries_that_are_others() -> None:
    """The place is the first entry that no checkpoint before vouches for."""
    for at, place in ((0, 0), (1, 1), (2, 1), (3, 3), (4, 3)):
        forked = [*FIVE[:at], entry(at, detail="forked"), *FIVE[at + 1 :]]
        refused(refusals.LEDGER_FORKED, f"entry {place}", told(), forked)


def test_heads_that_others_have_seen() -> None:
    known = verify_entries(FIVE, LDEVID.public_key, AUTHOR)
    check_heads([(0, merkle.EMPTY_ROOT), (2, root(FIVE[:2])), (2, root(FIVE[:2])), (5, root(FIVE))], known)
    found = assert_refused(refusals.LEDGER_FORKED, check_heads, [(2, root(FIVE[:2])), (4, bytes(32))], known)
    assert found.place == "entry 2"
    assert_refused(refusals.LEDGER_TRUNCATED, check_heads, [(6, bytes(32))], known)
    assert head_of(known, 9) == LedgerHead(5, root(FIVE), 9)
    assert head_of((), 0) == LedgerHead(0, merkle.EMPTY_ROOT, 0)
