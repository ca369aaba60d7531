"""Delta: an image is put together from what is there and what is fetched."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvouch.formats.blocks import BlockIndex
from medvouch.update import refusals
from medvouch.update.blocks import check_index, in_blocks, index_of, match, proven, stretches
from medvouch.update.payload import Payload
from support.refusing import assert_refused

BLOCK = 4096


def blocks(letters: str, tail: bytes = b"") -> bytes:
    """A block of each letter."""
    return b"".join(letter.encode() * BLOCK for letter in letters) + tail


def put_together(new: bytes, old: bytes, start: int = 0) -> tuple[bytes, int]:
    """The new image from `start` on, and how many bytes of it were fetched."""
    index = index_of([new], len(new))
    made, fetched = b"", 0
    for stretch in stretches(index, match(index, [old]), start):
        assert stretch.start == start + len(made)
        size = stretch.end - stretch.start
        if stretch.source is None:
            made += new[stretch.start : stretch.end]
            fetched += size
        else:
            made += old[stretch.source : stretch.source + size]
    return made, fetched


@pytest.mark.parametrize(
    ("new", "old", "fetched"),
    [
        (blocks("abc"), blocks("abc"), 0),
        (blocks("abc"), blocks("cab"), 0),
        (blocks("abc"), b"", 3 * BLOCK),
        (blocks("abxc"), blocks("abc"), BLOCK),
        (blocks("aaaa"), blocks("ba"), 0),
        (blocks("ab", b"tail"), blocks("ab", b"tail"), 0),
        (blocks("ab", b"tail"), blocks("ab", b"other"), 4),
        (blocks("ab", b"tail"), blocks("ab", b"tail and more"), 4),
        (blocks("a"), blocks("x") * 3 + b"odd", BLOCK),
        (b"", blocks("a"), 0),
    ],
)
def test_what_is_there_is_not_fetched(new: bytes, old: bytes, fetched: int) -> None:
    assert put_together(new, old) == (new, fetched)


def test_from_the_middle_on() -> None:
    new = blocks("abcd")
    assert put_together(new, blocks("ad"), 2 * BLOCK) == (new[2 * BLOCK :], BLOCK)


def test_blocks_at_their_place_make_long_runs() -> None:
    """Of many equal blocks each is copied from its own place where it is there."""
    new, old = blocks("zzzzabzz"), blocks("zzzzxbzz")
    index = index_of([new], len(new))
    found = [(stretch.start // BLOCK, stretch.end // BLOCK) for stretch in stretches(index, match(index, [old]))]
    assert found == [(0, 4), (4, 5), (5, 8)]


def test_as_many_equal_blocks_as_an_index_has_take_no_longer() -> None:
    """In chains of equal hashes this would take minutes."""
    size = 1 << 16
    index = BlockIndex(BLOCK, size * BLOCK, index_of([bytes(BLOCK)], BLOCK).hashes * size)
    found = match(index, [bytes(BLOCK)])
    assert set(found) == {0}


@given(st.lists(st.binary(min_size=1, max_size=9000), max_size=8))
def test_pieces_of_any_size_are_cut_into_blocks(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    cut = [bytes(block) for block in in_blocks(pieces, BLOCK)]
    assert cut == [whole[at : at + BLOCK] for at in range(0, len(whole), BLOCK)]


@settings(deadline=None)
@given(st.text("abc", max_size=12), st.text("abcd", max_size=12), st.binary(max_size=5), st.integers(0, 3))
def test_any_image_over_any_other(new: str, old: str, tail: bytes, skipped: int) -> None:
    image = blocks(new, tail)
    start = min(skipped, len(new)) * BLOCK
    made, _ = put_together(image, blocks(old, tail), start)
    assert made == image[start:]


def test_how_far_a_slot_holds_the_image() -> None:
    image = random.Random(1).randbytes(5 * BLOCK + 100)
    index = index_of([image], len(image))
    assert proven(index, [image], 0) == len(image)
    assert proven(index, [image[: 2 * BLOCK + 7]], 0) == 2 * BLOCK
    assert proven(index, [image[BLOCK : 3 * BLOCK]], BLOCK) == 3 * BLOCK
    assert proven(index, [image[BLOCK : 3 * BLOCK], bytes(BLOCK)], BLOCK) == 3 * BLOCK
    assert proven(index, [image + b"more"], 0) == 5 * BLOCK
    assert proven(index, [], 2 * BLOCK) == 2 * BLOCK


def test_the_index_of_another_image() -> None:
    index = index_of([blocks("ab")], 2 * BLOCK)
    image = Payload("slot", "https://updates.example/x", bytes(32), 2 * BLOCK)
    check_index(index, image)
    assert_refused(refusals.BLOCKS_MISMATCH, check_index, index, replace(image, size=2 * BLOCK + 1))
