"""Statements signed and checked one by one, in the order of the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey, Signer
from medvouch.crypto.merkle import leaf_hash
from medvouch.errors import InputError, Refusal
from medvouch.formats.cose import ALG
from medvouch.formats.cose import CONTENT_TYPE as CONTENT_TYPE_LABEL
from medvouch.formats.ledger import CONTENT_TYPE, Attachments, Entry, Statement, statement_header
from medvouch.ledger import refusals


@dataclass(frozen=True)
class Author:
    """Whose ledger it is."""

    device: str
    ueid: bytes


@dataclass(frozen=True)
class VerifiedEntry:
    """An entry that the device signed and that follows the ones before it; built by `verify_entries` alone."""

    statement: Statement
    attachments: Attachments
    leaf: bytes


def sign_entry(statement: Statement, attachments: Attachments, signer: Signer, author: Author) -> Entry:
    """The entry of a statement; `statement.digests` must name each attachment (see `digests`)."""
    header = statement_header(author.device, author.ueid)
    signed = cose.sign1(statement.encode(), signer, content_type=CONTENT_TYPE, protected=header)
    return Entry(signed, dict(attachments))


def digests(attachments: Mapping[str, bytes]) -> dict[str, bytes]:
    """SHA-256 of each, by name."""
    return {name: hashlib.sha256(data).digest() for name, data in attachments.items()}


def verify_entries(entries: Iterable[Entry], key: PublicKey, author: Author) -> tuple[VerifiedEntry, ...]:
    """Check entries from the first on.

    1. Each is signed by the device's LDevID, as its own statement and nothing beside it.
    2. They are numbered without a gap.
    3. What is attached is what the statement names.
    4. Every machine goes on from where it was left.

    Raises at the first entry that does not hold, with its number as place: Refusal `ledger-entry-forged`,
    `ledger-entry-missing`, `ledger-attachment-mismatch`, `ledger-transition-broken`.
    """
    verified: list[VerifiedEntry] = []
    states: dict[str, str] = {}
    for number, entry in enumerate(entries):
        place = f"entry {number}"
        statement = _verified(entry.statement, key, author, place)  # 1
        if statement.index != number:  # 2
            raise Refusal(refusals.ENTRY_MISSING, f"entry {statement.index} stands where {number} should", place=place)
        for name, data in entry.attachments.items():  # 3
            if statement.digests.get(name) != hashlib.sha256(data).digest():
                raise Refusal(refusals.ATTACHMENT_MISMATCH, f"{name!r} has another digest", place=place)
        before = states.get(statement.machine, statement.before)
        if statement.before != before:  # 4
            detail = f"{statement.machine} goes on from {statement.before!r}, it was {before!r}"
            raise Refusal(refusals.TRANSITION_BROKEN, detail, place=place)
        states[statement.machine] = statement.after
        verified.append(VerifiedEntry(statement, entry.attachments, leaf_hash(entry.statement)))
    return tuple(verified)


def _verified(data: bytes, key: PublicKey, author: Author, place: str) -> Statement:
    try:
        message = cose.verify1(data, key, content_type=CONTENT_TYPE)
        statement = Statement.parse(message.payload)
    except (Refusal, InputError) as cause:
        raise Refusal(refusals.ENTRY_FORGED, f"{cause.code}: {cause.detail}", place=place) from cause
    ours = {key: value for key, value in message.protected.items() if key not in (ALG, CONTENT_TYPE_LABEL)}
    if ours != statement_header(author.device, author.ueid) or message.unprotected:
        raise Refusal(refusals.ENTRY_FORGED, "its headers are not those of this device's ledger", place=place)
    return statement
