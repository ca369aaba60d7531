"""Entries one by one: whose they are, in which order, what hangs on them, where machines go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medvouch.crypto import cose, merkle
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import Refusal, RefusalKind
from medvouch.formats.cose import Sign1
from medvouch.formats.ledger import CONTENT_TYPE, CWT_CLAIMS, Entry, statement_header
from medvouch.ledger import refusals
from medvouch.ledger.statements import Author, VerifiedEntry, verify_entries
from support.authorities import key
from support.ledgers import AUTHOR, LDEVID, entries, entry, statement
from support.refusing import assert_refused


def verified(*given: Entry, author: Author = AUTHOR) -> tuple[VerifiedEntry, ...]:
    return verify_entries(given, LDEVID.public_key, author)


def refused(kind: RefusalKind, place: int, *given: Entry, author: Author = AUTHOR) -> Refusal:
    found = assert_refused(kind, verified, *given, author=author)
    assert found.place == f"entry {place}"
    return found


def test_a_ledger_that_holds() -> None:
    whole = [*entries(2), entry(2, {"a": b"one", "b": b"two"}), entry(3)]
    found = verified(*whole)
    assert [each.statement.index for each in found] == [0, 1, 2, 3]
    assert [each.leaf for each in found] == [merkle.leaf_hash(each.statement) for each in whole]
    assert found[2].attachments == {"a": b"one", "b": b"two"}
    assert verified() == ()


def test_what_is_named_need_not_be_attached() -> None:
    assert verified(replace(entry(0, {"a": b"one", "b": b"two"}), attachments={"b": b"two"}))
    assert verified(entry(0, digests={"evidence": bytes(32)}))


def test_machines_go_on_by_themselves() -> None:
    other = {"machine": "life", "before": "made", "after": "sold"}
    assert verified(entry(0), entry(1, **other), entry(2, before="0"), entry(3, **{**other, "before": "sold"}))


def test_one_that_another_signed() -> None:
    stranger = SoftwareSigner(key("stranger"))
    header = statement_header(AUTHOR.device, AUTHOR.ueid)
    forged = cose.sign1(statement(1).encode(), stranger, content_type=CONTENT_TYPE, protected=header)
    refused(refusals.ENTRY_FORGED, 1, entry(0), Entry(forged, {}), entry(2))


@pytest.mark.parametrize("byte", range(0, 400, 13))
def test_one_that_was_changed(byte: int) -> None:
    data = bytearray(entry(1).statement)
    data[byte % len(data)] ^= 1
    refused(refusals.ENTRY_FORGED, 1, entry(0), Entry(bytes(data), {}))


def test_one_that_is_no_statement() -> None:
    header = statement_header(AUTHOR.device, AUTHOR.ueid)
    for payload, kind in ((b"\xa0", CONTENT_TYPE), (statement(0).encode(), "text/plain")):
        data = cose.sign1(payload, LDEVID, content_type=kind, protected=header)
        refused(refusals.ENTRY_FORGED, 0, Entry(data, {}))
    refused(refusals.ENTRY_FORGED, 0, Entry(b"", {}))


@pytest.mark.parametrize(
    "header",
    [
        {},
        statement_header("f" * 32, AUTHOR.ueid),
        statement_header(AUTHOR.device, bytes(33)),
        {**statement_header(AUTHOR.device, AUTHOR.ueid), 4: b"kid"},
        {CWT_CLAIMS: {**statement_header(AUTHOR.device, AUTHOR.ueid)[CWT_CLAIMS], 3: "audience"}},
        {CWT_CLAIMS: {1: AUTHOR.device, 2: AUTHOR.ueid.hex().upper()}},
    ],
)
def test_one_of_another_ledger(header: dict[int, object]) -> None:
    data = cose.sign1(statement(0).encode(), LDEVID, content_type=CONTENT_TYPE, protected=header)
    assert "headers" in refused(refusals.ENTRY_FORGED, 0, Entry(data, {})).detail
    refused(refusals.ENTRY_FORGED, 0, entry(0), author=Author("f" * 32, AUTHOR.ueid))


def test_headers_that_nobody_signed() -> None:
    data = replace(Sign1.parse(entry(0).statement), unprotected={4: b"kid"}).encode()
    assert "headers" in refused(refusals.ENTRY_FORGED, 0, Entry(data, {})).detail


def test_taken_out_put_in_and_moved() -> None:
    one, two, three = entries(3)
    refused(refusals.ENTRY_MISSING, 0, two, three)
    refused(refusals.ENTRY_MISSING, 1, one, three)
    refused(refusals.ENTRY_MISSING, 1, one, one, two, three)
    refused(refusals.ENTRY_MISSING, 1, one, three, two)


def test_something_else_is_attached() -> None:
    good = entry(1, {"a": b"one"})
    for attachments in ({"a": b"two"}, {"b": b"one"}, {"a": b"one", "b": b""}):
        refused(refusals.ATTACHMENT_MISMATCH, 1, entry(0), replace(good, attachments=attachments))


def test_a_machine_that_jumps() -> None:
    refused(refusals.TRANSITION_BROKEN, 1, entry(0), entry(1, before="elsewhere"))
    refused(refusals.TRANSITION_BROKEN, 2, *entries(2), entry(2, before=""))
