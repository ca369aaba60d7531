"""Approvals of the security epoch as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.floor import MAX_APPROVAL_BYTES, FloorApproval
from support.truncation import assert_every_truncation_refused

SIGNATURE = bytes(range(64))
SAMPLES = [FloorApproval(None, SIGNATURE), FloorApproval(0, SIGNATURE), FloorApproval(2**63 - 1, SIGNATURE)]


def test_the_bytes() -> None:
    assert FloorApproval(None, SIGNATURE).encode() == b"\xa2\x67counter\xf6\x69signature\x58\x40" + SIGNATURE
    assert FloorApproval(7, SIGNATURE).encode() == b"\xa2\x67counter\x07\x69signature\x58\x40" + SIGNATURE


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.counter))
def test_there_and_back(sample: FloorApproval) -> None:
    assert FloorApproval.parse(sample.encode()) == sample
    assert len(sample.encode()) <= MAX_APPROVAL_BYTES
    assert_every_truncation_refused(FloorApproval.parse, sample.encode())


@given(st.none() | st.integers(0, 2**63 - 1), st.binary(min_size=64, max_size=64))
def test_any_approval(counter: int | None, signature: bytes) -> None:
    approval = FloorApproval(counter, signature)
    assert FloorApproval.parse(approval.encode()) == approval


@given(st.binary(max_size=MAX_APPROVAL_BYTES))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(InputError):
        FloorApproval.parse(data)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"counter": -1}, "floor-malformed"),
        ({"counter": True}, "floor-malformed"),
        ({"counter": b"7"}, "floor-malformed"),
        ({"counter": 2**63}, "floor-limit"),
        ({"signature": None}, "floor-malformed"),
        ({"signature": SIGNATURE[:-1]}, "floor-malformed"),
        ({"signature": SIGNATURE + b"\0"}, "floor-malformed"),
        ({"more": 1}, "floor-malformed"),
    ],
)
def test_what_is_no_approval(change: dict[str, object], code: str) -> None:
    with pytest.raises(InputError, match=code):
        FloorApproval.parse(cbor.encode({**SAMPLES[1].to_map(), **change}))
    with pytest.raises(InputError, match="cbor-trailing"):
        FloorApproval.parse(SAMPLES[1].encode() + b"\0")
