from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.data_format import MAX_FORMAT, DataFormat, DataState
from support.truncation import assert_every_truncation_refused

FORMATS = st.integers(0, MAX_FORMAT)
BY_HAND = bytes.fromhex("a3 65 7265616473 01 66 777269746573 03 6b 7265616461626c655f6279 02")


def test_by_hand() -> None:
    assert DataFormat(3, 1, 2).encode() == BY_HAND
    assert DataFormat.parse(BY_HAND) == DataFormat(writes=3, reads=1, readable_by=2)


@given(FORMATS, FORMATS, FORMATS)
def test_it_comes_back(writes: int, reads: int, readable_by: int) -> None:
    record = DataFormat(writes, min(reads, writes), min(readable_by, writes))
    assert DataFormat.parse(record.encode()) == record
    state = DataState(reads, readable_by, "expand 7")
    assert DataState.parse(state.encode()) == state


@pytest.mark.parametrize("record", [DataFormat(3, 1, 2), DataState(1, 2), DataState(1, 2, "expand 2")])
def test_every_truncation(record: DataFormat | DataState) -> None:
    assert_every_truncation_refused(type(record).parse, record.encode())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"reads": 4}, "data-format-malformed"),
        ({"readable_by": 4}, "data-format-malformed"),
        ({"writes": MAX_FORMAT + 1}, "data-format-limit"),
        ({"writes": -1}, "data-format-malformed"),
        ({"reads": True}, "data-format-malformed"),
        ({"more": 1}, "data-format-malformed"),
    ],
)
def test_what_is_none(changes: dict[str, object], code: str) -> None:
    with pytest.raises(InputError, match=code):
        DataFormat.parse(cbor.encode({"writes": 3, "reads": 1, "readable_by": 2, **changes}))


@given(st.binary(max_size=64))
def test_any_bytes(data: bytes) -> None:
    for kind in (DataFormat, DataState):
        try:
            record = kind.parse(data)
        except InputError:
            continue
        assert record.encode() == data
