from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats.blocks import MAX_INDEX_BYTES
from medvouch.formats.suit import MAX_ENVELOPE_BYTES
from medvouch.formats.update import FetchJournal, IndexPayload, InstalledRelease, PartsRecord, UpdateRecord
from support.truncation import assert_every_truncation_refused

RECORD = UpdateRecord(
    state="staged",
    version="1.1.0",
    sequence=2,
    security_epoch=2,
    manifest=bytes(32),
    uri="http://updates.example/1.1.0.img",
    digest=bytes(range(32)),
    size=4096,
    reference=b"signed",
    slot="b",
    tries=0,
    code="",
)
INSTALLED = InstalledRelease("1.1.0", 2, 2)
INDEX = IndexPayload("http://updates.example/1.1.0.img.blocks", bytes(range(32)), 1024)
PARTS = PartsRecord(b"an envelope", 7)
JOURNAL = FetchJournal(bytes(32), "b", 1 << 40, "http://mirror.example/1.1.0.img", '"tag"', INDEX)


@pytest.mark.parametrize(
    "record", [RECORD, replace(RECORD, state="failed", code="slot-fell-back"), INSTALLED, PARTS, JOURNAL]
)
def test_it_comes_back(record: UpdateRecord | InstalledRelease | PartsRecord | FetchJournal) -> None:
    assert type(record).parse(record.encode()) == record


@pytest.mark.parametrize(
    "record",
    [RECORD, INSTALLED, PARTS, replace(PARTS, installed_in=None), INDEX, JOURNAL, replace(JOURNAL, index=None)],
)
def test_every_truncation(record: UpdateRecord | InstalledRelease | PartsRecord | IndexPayload | FetchJournal) -> None:
    assert_every_truncation_refused(type(record).parse, record.encode())


@pytest.mark.parametrize(
    "change",
    [{"digest": bytes(31)}, {"manifest": bytes(33)}, {"uri": ""}, {"uri": "x" * 2049}, {"tries": 256}, {"size": -1}],
)
def test_values_out_of_bounds(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="update-"):
        UpdateRecord.parse(replace(RECORD, **change).encode())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"manifest": bytes(31)},
        {"slot": ""},
        {"done": -1},
        {"source": "x" * 5000},
        {"validator": "x" * 257},
        {"index": replace(INDEX, size=MAX_INDEX_BYTES + 1)},
        {"index": replace(INDEX, digest=b"")},
    ],
)
def test_a_journal_out_of_bounds(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="fetch-journal-"):
        FetchJournal.parse(replace(JOURNAL, **change).encode())  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(InputError):
        UpdateRecord.parse(data)


def test_the_envelope_of_parts_is_bounded_and_known_by_its_digest() -> None:
    assert PARTS.manifest == hashlib.sha256(b"an envelope").digest()
    with pytest.raises(InputError, match="update-parts-limit"):
        PartsRecord.parse(replace(PARTS, envelope=bytes(MAX_ENVELOPE_BYTES + 1)).encode())
