"""CBOR against an independent implementation, and against noise."""

from __future__ import annotations

import contextlib
from typing import Any

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor

integers = st.integers(-(1 << 64), (1 << 64) - 1)
keys = integers | st.text(max_size=8) | st.binary(max_size=8)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | integers | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_round_trip_and_agreement_with_cbor2(value: Any) -> None:
    data = cbor.encode(value)
    assert cbor.decode(data) == value == cbor2.loads(data)


@given(st.binary(max_size=64))
def test_noise_raises_input_errors_only_and_what_passes_is_canonical(data: bytes) -> None:
    with contextlib.suppress(InputError):
        assert cbor.encode(cbor.decode(data)) == data


@given(values, st.data())
def test_mutations_raise_input_errors_only(value: Any, data: st.DataObject) -> None:
    mutated = bytearray(cbor.encode(value))
    mutated[data.draw(st.integers(0, len(mutated) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(InputError):
        assert cbor.encode(cbor.decode(bytes(mutated))) == bytes(mutated)
