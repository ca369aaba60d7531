"""SUIT reports as bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.suit_commands import MAX_ARGUMENT_BYTES, MAX_URI, Parameters
from medvouch.formats.suit_report import (
    MAX_NONCE_BYTES,
    MAX_RECORDS,
    MAX_REPORT_BYTES,
    CommandRecord,
    Failure,
    Reason,
    SuitReport,
    SystemClaims,
)
from support.refusing import assert_input_refused
from support.truncation import assert_every_truncation_refused

RECORD = CommandRecord((1, 2), 20, 65, 3, Parameters(uri="https://a.example/b", image_size=7))
CLAIMS = SystemClaims((b"slot",), Parameters(image_digest=b"d" * 32))
FULL = SuitReport(
    "https://a.example/m", b"m" * 32, (RECORD, CLAIMS), Failure(1, RECORD, Reason.CONDITION_FAILED), b"nonce"
)
GOOD = SuitReport("", bytes(32))

uints = st.integers(0, 15)
parameters = st.builds(Parameters, uri=st.none() | st.text(max_size=9), image_size=st.none() | uints)
records = st.builds(CommandRecord, st.lists(uints, max_size=3).map(tuple), uints, uints, uints, parameters)
claims = st.builds(SystemClaims, st.just((b"a", b"b")), parameters.filter(lambda each: each != Parameters()))
failures = st.builds(Failure, uints, records, st.sampled_from(Reason))
reports = st.builds(
    SuitReport, st.text(max_size=9), st.binary(min_size=32, max_size=32),
    st.lists(records | claims, max_size=4).map(tuple), st.none() | failures, st.none() | st.binary(max_size=64),
)  # fmt: skip


LONG = CommandRecord((1, 2, 3), 20, 65, 3, Parameters(uri="x" * MAX_URI))


@pytest.mark.parametrize("number", [0, 30, 31, 32, MAX_RECORDS + 1])
@pytest.mark.parametrize("failure", [None, Failure(1, LONG, Reason.OPERATION_FAILED)])
def test_a_report_that_would_be_too_long_ends_sooner(number: int, failure: Failure | None) -> None:
    """With the nonce of a challenge it can still be read."""
    whole = SuitReport("u" * MAX_URI, bytes(32), (LONG,) * number, failure)
    bounded = whole.bounded()
    asked = replace(bounded, nonce=bytes(MAX_NONCE_BYTES))
    assert SuitReport.parse(asked.encode()) == asked
    if bounded.records != whole.records:
        one_more = replace(asked, records=whole.records[: len(bounded.records) + 1])
        assert len(one_more.encode()) > MAX_REPORT_BYTES - 8
    assert bounded.failure == failure
    assert bounded.bounded() == bounded


def test_parameters_that_would_fill_a_report_are_left_out() -> None:
    large = CommandRecord((), 9, 1, 0, Parameters(invoke_args=bytes(MAX_ARGUMENT_BYTES)))
    bounded = SuitReport("", bytes(32), (RECORD, large, RECORD), Failure(1, large, Reason.OPERATION_FAILED)).bounded()
    bare = replace(large, properties=Parameters())
    assert (bounded.records, bounded.failure) == ((RECORD,), Failure(1, bare, Reason.OPERATION_FAILED))
    assert SuitReport.parse(bounded.encode()) == bounded


def report(change: Callable[[dict[int, Any]], object]) -> bytes:
    members = cbor.decode(FULL.encode())
    change(members)
    return cbor.encode(members)


def with_record(record: Any) -> bytes:
    return report(lambda members: members.update({3: [record]}))


@pytest.mark.parametrize("values", [FULL, GOOD])
def test_there_and_back(values: SuitReport) -> None:
    assert SuitReport.parse(values.encode()) == values
    assert_every_truncation_refused(SuitReport.parse, values.encode())


@given(reports)
def test_any_report(values: SuitReport) -> None:
    assert SuitReport.parse(values.encode()) == values


def test_as_written() -> None:
    """By the CDDL of the draft."""
    record = [[1, 2], 20, 65, 3, {14: 7, 21: "https://a.example/b"}]
    assert cbor.decode(FULL.encode()) == {
        99: ["https://a.example/m", [-16, b"m" * 32]],
        2: b"nonce",
        3: [record, {0: [b"slot"], 3: cbor.encode([-16, b"d" * 32])}],
        4: {5: 1, 6: record, 7: 10},
    }
    assert cbor.decode(GOOD.encode()) == {99: ["", [-16, bytes(32)]], 3: [], 4: True}


@pytest.mark.parametrize(
    "data",
    [
        cbor.encode([]),
        *(report(lambda members, label=label: members.pop(label)) for label in (99, 3, 4)),  # type: ignore[misc]
        report(lambda members: members.update({8: {}})),
        report(lambda members: members.update({99: [b"", [-16, bytes(32)]]})),
        report(lambda members: members.update({99: ["", [-16, bytes(31)]]})),
        report(lambda members: members.update({99: [""]})),
        report(lambda members: members.update({2: "nonce"})),
        report(lambda members: members.update({3: {}})),
        report(lambda members: members.update({4: False})),
        report(lambda members: members.update({4: {5: 1, 7: 10}})),
        report(lambda members: members.update({4: {5: "1", 6: [[], 20, 0, 0, {}], 7: 10}})),
        report(lambda members: members.update({4: {5: 1, 6: {0: [b"a"], 21: ""}, 7: 10}})),
        with_record([[], 20, 0, 0]),
        with_record([{}, 20, 0, 0, {}]),
        with_record([[1, 1, 1, 1], 20, 0, 0, {}]),
        with_record([[-1], 20, 0, 0, {}]),
        with_record([[], -1, 0, 0, {}]),
        with_record([[], 20, "0", 0, {}]),
        with_record([[], 20, 0, 0, []]),
        with_record([[], 20, 0, 0, {"x": 1}]),
        with_record({21: ""}),
        with_record({0: [b"a"]}),
        with_record({0: "a", 21: ""}),
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        SuitReport.parse(data)
    assert caught.value.code in {"suit-report-malformed", "suit-malformed"}


@pytest.mark.parametrize(
    "data",
    [
        bytes(MAX_REPORT_BYTES + 1),
        report(lambda members: members.update({3: [[[], 20, 0, 0, {}]] * (MAX_RECORDS + 1)})),
        report(lambda members: members.update({2: bytes(MAX_NONCE_BYTES + 1)})),
        report(lambda members: members.update({99: ["x" * (MAX_URI + 1), [-16, bytes(32)]]})),
        report(lambda members: members.update({4: {5: 1, 6: [[], 20, 0, 0, {}], 7: 13}})),
        report(lambda members: members.update({4: {5: 256, 6: [[], 20, 0, 0, {}], 7: 1}})),
        with_record([[], 256, 0, 0, {}]),
        with_record([[], 20, 1 << 17, 0, {}]),
        with_record([[], 20, 0, 16, {}]),
        with_record([[16], 20, 0, 0, {}]),
    ],
)
def test_limits(data: bytes) -> None:
    assert_input_refused("suit-report-limit", SuitReport.parse, data)
