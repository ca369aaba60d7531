"""Bytes as they come in, held against what was signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.update import refusals
from medvouch.update.payload import checked
from support.refusing import assert_refused
from support.suit import IMAGE, PAYLOAD


def chunks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def drain(*pieces: bytes) -> bytes:
    return b"".join(checked(pieces, PAYLOAD))


@pytest.mark.parametrize("size", [1, 7, 1000, len(IMAGE), 2 * len(IMAGE)])
def test_the_payload(size: int) -> None:
    assert drain(*chunks(IMAGE, size)) == IMAGE
    assert drain(b"", *chunks(IMAGE, size), b"") == IMAGE


@pytest.mark.parametrize("pieces", [(), (b"",), (IMAGE[:-1],)])
def test_too_short(pieces: tuple[bytes, ...]) -> None:
    assert_refused(refusals.PAYLOAD_TOO_SHORT, drain, *pieces)


@pytest.mark.parametrize("at", [0, 100, len(IMAGE) - 1])
def test_another(at: int) -> None:
    altered = bytearray(IMAGE)
    altered[at] ^= 1
    refusal = assert_refused(refusals.PAYLOAD_MISMATCH, drain, *chunks(bytes(altered), 64))
    assert refusal.place == "slot"


@pytest.mark.parametrize("bits", [16, 31, 32, 63])
def test_a_size_that_others_count_round(bits: int) -> None:
    """A size of 2^32 and some, of which a counter of 32 bits sees the rest (CVE-2026-34155): all of it is wanted."""
    large = replace(PAYLOAD, size=(1 << bits) + len(IMAGE))
    assert_refused(refusals.PAYLOAD_TOO_SHORT, lambda: list(checked([IMAGE], large)))


@given(st.integers(0, len(IMAGE) - 1), st.integers(1, 255), st.integers(1, 3000))
def test_every_bit_of_every_byte_counts(at: int, flip: int, size: int) -> None:
    altered = bytearray(IMAGE)
    altered[at] ^= flip
    assert_refused(refusals.PAYLOAD_MISMATCH, drain, *chunks(bytes(altered), size))


def test_too_long_is_noticed_at_once() -> None:
    """Of a long stream nothing more is asked for, and nothing passed on, once it is too much."""
    asked = 0

    def long() -> Iterator[bytes]:
        nonlocal asked
        for _ in range(100):
            asked += 1
            yield bytes(1000)

    passed: list[bytes] = []
    assert_refused(refusals.PAYLOAD_TOO_LONG, lambda: passed.extend(checked(long(), PAYLOAD)))
    assert (asked, len(b"".join(passed))) == (3, 2000)
    assert_refused(refusals.PAYLOAD_TOO_LONG, drain, IMAGE, b"x")
