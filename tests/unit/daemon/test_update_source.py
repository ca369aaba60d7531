from __future__ import annotations

from dataclasses import replace

import pytest

from medvouch.daemon.update_source import Offer
from medvouch.errors import InputError
from medvouch.formats.update import FetchJournal, IndexPayload, UpdateRecord
from medvouch.update.payload import Payload
from support.suit import MANIFEST, PAYLOAD, planned, released

OFFER = Offer(planned(released()), PAYLOAD, None, b"reference", b"directive", MANIFEST)


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


def test_what_could_not_be_read_back_is_not_remembered() -> None:
    """A manifest's version may be longer than the record takes; the agent would not start with it again."""
    long = ".".join(["2147483647"] * 8)
    with pytest.raises(InputError) as caught:
        replace(OFFER, plan=replace(OFFER.plan, version=long)).record("b")
    assert (caught.value.code, caught.value.place) == ("update-limit", "/version")
