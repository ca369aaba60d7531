from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats.update import InstalledRelease, UpdateRecord
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


@pytest.mark.parametrize("record", [RECORD, replace(RECORD, state="failed", code="slot-fell-back"), INSTALLED])
def test_it_comes_back(record: UpdateRecord | InstalledRelease) -> None:
    assert type(record).parse(record.encode()) == record


@pytest.mark.parametrize("record", [RECORD, INSTALLED])
def test_every_truncation(record: UpdateRecord | InstalledRelease) -> None:
    assert_every_truncation_refused(type(record).parse, record.encode())


@pytest.mark.parametrize(
    "change",
    [{"digest": bytes(31)}, {"manifest": bytes(33)}, {"uri": ""}, {"uri": "x" * 2049}, {"tries": 256}, {"size": -1}],
)
def test_values_out_of_bounds(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="update-"):
        UpdateRecord.parse(replace(RECORD, **change).encode())  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(InputError):
        UpdateRecord.parse(data)
