"""What the director tells one device, as bytes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.directive import (
    MAX_DIRECTIVE_BYTES,
    MAX_TARGET_NAME,
    RECOVERY,
    ROLLBACK,
    UPDATE,
    Directive,
    directive_name,
)
from support.truncation import assert_every_truncation_refused

DIRECTIVE = Directive(bytes(33), "releases/1.1.0/release.suit", bytes(32), 4096, 3, 1_800_000_000)
# Written by hand from RFC 8949: a map of eight, keys in bytewise order of their encodings.
VECTOR = (
    b"\xa8\x64ueid\x58\x21"
    + bytes(33)
    + b"\x66digest\x58\x20"
    + bytes(32)
    + b"\x66length\x19\x10\x00\x67expires\x1a\x6b\x49\xd2\x00\x67purpose\x66update\x67release\x78\x1b"
    + b"releases/1.1.0/release.suit\x68sequence\x03\x6bdefer_until\x00"
)
NUMBER = st.integers(0, 2**63 - 1)
DIRECTIVES = st.builds(
    Directive,
    st.binary(min_size=33, max_size=33),
    st.text(min_size=1, max_size=MAX_TARGET_NAME),
    st.binary(min_size=32, max_size=32),
    NUMBER,
    NUMBER,
    NUMBER,
    st.sampled_from([UPDATE, ROLLBACK, RECOVERY]),
    NUMBER,
)


def plain() -> dict[str, Any]:
    value: dict[str, Any] = cbor.decode(DIRECTIVE.encode())
    return value


def test_the_bytes() -> None:
    assert DIRECTIVE.encode() == VECTOR
    assert directive_name("gw1") == "directives/gw1.cbor"


def test_there_and_back() -> None:
    assert Directive.parse(VECTOR) == DIRECTIVE
    assert_every_truncation_refused(Directive.parse, VECTOR)


@given(DIRECTIVES)
def test_any_directive_comes_back(directive: Directive) -> None:
    assert Directive.parse(directive.encode()) == directive
    assert len(directive.encode()) <= MAX_DIRECTIVE_BYTES + 3 * MAX_TARGET_NAME


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with suppress(InputError):
        assert Directive.parse(data).encode() == data


@pytest.mark.parametrize(
    ("name", "wrong", "fault"),
    [
        ("ueid", bytes(32), "malformed"),
        ("release", "", "malformed"),
        ("release", "x" * (MAX_TARGET_NAME + 1), "limit"),
        ("digest", bytes(31), "malformed"),
        ("length", -1, "malformed"),
        ("sequence", 2**63, "limit"),
        ("expires", "never", "malformed"),
        ("purpose", "sabotage", "malformed"),
        ("defer_until", -1, "malformed"),
        ("reason", "because", "malformed"),
    ],
)
def test_fields_that_are_wrong(name: str, wrong: object, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        Directive.parse(cbor.encode({**plain(), name: wrong}))
    assert caught.value.code == f"directive-{fault}"


@pytest.mark.parametrize(
    "name", ["ueid", "release", "digest", "length", "sequence", "expires", "purpose", "defer_until"]
)
def test_fields_that_are_missing(name: str) -> None:
    value = plain()
    del value[name]
    with pytest.raises(InputError, match="directive-malformed"):
        Directive.parse(cbor.encode(value))


def test_bytes_behind_it() -> None:
    with pytest.raises(InputError, match="cbor-trailing"):
        Directive.parse(VECTOR + b"\0")
