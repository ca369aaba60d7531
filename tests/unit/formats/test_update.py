from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats.blocks import MAX_INDEX_BYTES
from medvouch.formats.update import FetchJournal, IndexPayload, InstalledRelease, UpdateRecord
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
JOURNAL = FetchJournal(bytes(32), "b", 1 << 40, "http://mirror.example/1.1.0.img", '"tag"', INDEX)


@pytest.mark.parametrize("record", [RECORD, replace(RECORD, state="failed", code="slot-fell-back"), INSTALLED, JOURNAL])
def test_it_comes_back(record: UpdateRecord | InstalledRelease | FetchJournal) -> None:
    assert type(record).parse(record.encode()) == record


@pytest.mark.parametrize("record", [RECORD, INSTALLED, INDEX, JOURNAL, replace(JOURNAL, index=None)])
def test_every_truncation(record: UpdateRecord | InstalledRelease | IndexPayload | FetchJournal) -> None:
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
