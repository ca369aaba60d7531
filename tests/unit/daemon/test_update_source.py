"""What is made of a directive: which releases are taken, and which are not tried again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from medvouch.daemon.update_source import Offer, Present, _system
from medvouch.errors import InputError
from medvouch.formats.directive import PURPOSES, RECOVERY, ROLLBACK, UPDATE, Directive
from medvouch.formats.update import FetchJournal, IndexPayload, InstalledRelease, UpdateRecord
from medvouch.update import refusals
from medvouch.update.payload import Payload
from medvouch.update.transitions import Cause, Update
from support.refusing import assert_refused
from support.suit import CONTENTS, MANIFEST, PAYLOAD, planned, released

OFFER = Offer(planned(released()), PAYLOAD, None, b"reference", b"directive", MANIFEST, Cause.NOTIFY)
RECORD = OFFER.record("b")
DIRECTIVE = Directive(bytes(33), "releases/1.1.0/release.suit", OFFER.manifest, 4096, 11, 1_800_000_000)
BEFORE = InstalledRelease("1.0.0", 10, 2)


def test_an_offer_as_it_is_remembered() -> None:
    record = OFFER.record("b")
    assert UpdateRecord.parse(record.encode()) == record
    assert (record.version, record.sequence, record.security_epoch, record.slot) == ("1.1.0", 11, 2, "b")


def test_what_is_fetched_of_an_offer_is_remembered_too() -> None:
    assert OFFER.journal("b") == FetchJournal(OFFER.manifest, "b", 0, "", "", None)
    index = Payload("blocks", "https://updates.example/x.blocks", bytes(range(32)), 1024)
    journal = replace(OFFER, index=index).journal("a")
    assert journal.index == IndexPayload(index.uri, index.digest, index.size)
    assert FetchJournal.parse(journal.encode()) == journal


def present(state: Update, followed: Directive | None = None) -> Present:
    return Present(BEFORE, replace(RECORD, state=state), followed, 2)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_nothing_to_do_with_what_is_installed(purpose: str) -> None:
    directive = replace(DIRECTIVE, purpose=purpose, sequence=BEFORE.sequence)
    assert Present(BEFORE, None, None, 2).done(directive)
    assert not Present(BEFORE, None, None, 2).done(replace(directive, sequence=11))


@pytest.mark.parametrize("under_way", [Update.NOTIFIED, Update.STAGED])
def test_what_is_directed_no_more_is_withdrawn(under_way: Update) -> None:
    back = replace(DIRECTIVE, purpose=ROLLBACK, sequence=BEFORE.sequence)
    for gone in (None, back):
        assert present(under_way).withdrawn(gone)
    for other in (DIRECTIVE, replace(back, purpose=UPDATE), replace(back, sequence=9)):
        assert not present(under_way).withdrawn(other)


@pytest.mark.parametrize("state", sorted(set(Update) - {Update.NOTIFIED, Update.STAGED}))
def test_what_is_not_under_way_is_withdrawn_by_nothing(state: Update) -> None:
    assert not present(state).withdrawn(None)
    assert not Present(BEFORE, None, None, 2).withdrawn(None)


def test_what_was_withdrawn_may_be_directed_again() -> None:
    assert not present(Update.WITHDRAWN).done(DIRECTIVE)


def test_what_failed_is_tried_again_only_as_a_way_out_and_once_a_directive() -> None:
    for purpose in (ROLLBACK, RECOVERY):
        directive = replace(DIRECTIVE, purpose=purpose)
        assert not present(Update.FAILED).done(directive)
        followed = present(Update.FAILED, directive)
        assert followed.done(directive)
        assert not followed.done(replace(directive, expires=directive.expires + 1))
    assert present(Update.FAILED).done(DIRECTIVE)
    assert not present(Update.FAILED).done(replace(DIRECTIVE, digest=bytes(32)))


def test_while_a_verdict_is_waited_for() -> None:
    assert present(Update.SELF_CHECKED).done(DIRECTIVE)
    for purpose in (ROLLBACK, RECOVERY):
        assert not present(Update.SELF_CHECKED).done(replace(DIRECTIVE, purpose=purpose))
    for state in (Update.NOTIFIED, Update.STAGED, Update.CLOSED):
        assert not present(state).done(replace(DIRECTIVE, purpose=UPDATE))


def test_what_could_not_be_read_back_is_not_remembered() -> None:
    """A manifest's version may be longer than the record takes; the agent would not start with it again."""
    long = ".".join(["2147483647"] * 8)
    with pytest.raises(InputError) as caught:
        replace(OFFER, plan=replace(OFFER.plan, version=long)).record("b")
    assert (caught.value.code, caught.value.place) == ("update-limit", "/version")


@pytest.mark.parametrize(
    "changes",
    [
        {"contents": {}},
        {"contents": {**CONTENTS, "note": b"that nobody would put anywhere"}},
        {"payloads": ()},
        {"payloads": (PAYLOAD, replace(PAYLOAD, component="note"))},
        {"starts": False},
    ],
)
def test_a_release_with_more_or_less_than_an_image_that_is_started(changes: dict[str, Any]) -> None:
    """What nobody would do must not be reported as done."""
    good = OFFER.plan
    assert _system(good) == (PAYLOAD, None, CONTENTS["reference"])
    assert _system(replace(good, contents={**CONTENTS, "data": b""}))[0] == PAYLOAD
    assert_refused(refusals.MANIFEST_INCOMPLETE, _system, replace(good, **changes))
