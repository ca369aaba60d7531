from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats.blocks import HASH_BYTES, MAX_BLOCKS, BlockIndex, block_size_for, blocks
from support.truncation import assert_every_truncation_refused

INDEX = BlockIndex(4096, 3 * 4096 + 1, bytes(range(4 * HASH_BYTES)))


def test_the_layout() -> None:
    data = INDEX.encode()
    assert data[:16] == b"MVBI\x01\x0c\0\0" + (3 * 4096 + 1).to_bytes(8, "big")
    assert data[16:] == INDEX.hashes


def test_it_comes_back() -> None:
    assert BlockIndex.parse(INDEX.encode()) == INDEX
    assert (INDEX.count, INDEX.hash(1), INDEX.end(0), INDEX.end(3)) == (4, bytes(range(16, 32)), 4096, 3 * 4096 + 1)
    empty = BlockIndex(4096, 0, b"")
    assert BlockIndex.parse(empty.encode()) == empty


def test_every_truncation() -> None:
    assert_every_truncation_refused(BlockIndex.parse, INDEX.encode())


@pytest.mark.parametrize(
    ("at", "value", "code"),
    [
        (0, 0, "blocks-malformed"),
        (4, 2, "blocks-malformed"),
        (5, 11, "blocks-malformed"),
        (5, 25, "blocks-malformed"),
        (6, 1, "blocks-malformed"),
        (8, 1, "blocks-limit"),
    ],
)
def test_malformed(at: int, value: int, code: str) -> None:
    data = bytearray(INDEX.encode())
    data[at] = value
    with pytest.raises(InputError) as caught:
        BlockIndex.parse(bytes(data))
    assert caught.value.code == code


def test_trailing_bytes() -> None:
    with pytest.raises(InputError, match="blocks-trailing"):
        BlockIndex.parse(INDEX.encode() + b"\0")


def test_the_size_of_blocks() -> None:
    assert block_size_for(0) == block_size_for(4096 * MAX_BLOCKS) == 4096
    assert block_size_for(4096 * MAX_BLOCKS + 1) == 8192
    assert block_size_for(4 << 30) == 16384
    with pytest.raises(ValueError, match="too many"):
        block_size_for((MAX_BLOCKS << 24) + 1)


@given(st.integers(0, 1 << 36))
def test_an_index_is_bounded(size: int) -> None:
    assert blocks(size, block_size_for(size)) <= MAX_BLOCKS


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    with suppress(InputError):
        assert BlockIndex.parse(data).encode() == data
