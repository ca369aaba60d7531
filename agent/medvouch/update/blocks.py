"""Delta: which blocks of a new image stand in the active slot already, and which stretches are left to be fetched.

Nothing here is trusted: an index that is wrong, or a slot that reads otherwise the second time, gives an image whose
digest is not the signed one. Memory is bounded by MAX_BLOCKS, whatever the size of the image: with arrays, since a dict
of as many hashes would take ten times as much.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from medvouch.errors import Refusal
from medvouch.formats.blocks import HASH_BYTES, BlockIndex, block_size_for
from medvouch.update import refusals
from medvouch.update.payload import Payload

BLOCKS = "blocks"
"""The component that holds the block index of the image."""
_NONE = 0xFFFFFFFF
Chunks = Iterable[bytes | memoryview]


@dataclass(frozen=True)
class Stretch:
    """Bytes [start, end) of the new image; `source`: where they stand in the active slot, None: to be fetched."""

    start: int
    end: int
    source: int | None


def index_of(chunks: Chunks, image_size: int) -> BlockIndex:
    """The index of an image, for who makes a release."""
    size = block_size_for(image_size)
    return BlockIndex(size, image_size, b"".join(block_hash(block) for block in in_blocks(chunks, size)))


def block_hash(block: bytes | memoryview) -> bytes:
    """As the index has it."""
    return hashlib.sha256(block).digest()[:HASH_BYTES]


def in_blocks(chunks: Chunks, size: int) -> Iterator[bytes | memoryview]:
    """The same bytes in pieces of `size`, only the last one shorter; each is good until the next is asked for."""
    rest = bytearray()
    for chunk in chunks:
        view = memoryview(chunk)
        if rest:
            missing = size - len(rest)
            rest += view[:missing]
            view = view[missing:]
            if len(rest) < size:
                continue
            yield bytes(rest)
            rest.clear()
        whole = len(view) - len(view) % size
        for at in range(0, whole, size):
            yield view[at : at + size]
        rest += view[whole:]
    if rest:
        yield bytes(rest)


def check_index(index: BlockIndex, image: Payload) -> None:
    """Refusal `blocks-mismatch` where the index is not that of an image of this size."""
    if index.image_size != image.size:
        detail = f"it is of an image of {index.image_size} bytes, the release has {image.size}"
        raise Refusal(refusals.BLOCKS_MISMATCH, detail, place=image.component)


def match(index: BlockIndex, active: Chunks) -> array[int]:
    """For each block of the new image the number of an equal one in the active slot, or one that `stretches` knows.

    One at the same place is preferred, since such blocks are copied in long runs.
    """
    table = _Table(index)
    found = array("I", [_NONE]) * index.count
    for number, block in enumerate(in_blocks(active, index.block_size)):
        digest = block_hash(block)
        if number < index.count and index.hash(number) == digest:
            found[number] = number
        wanted = table.find(digest)
        if wanted != _NONE and found[wanted] == _NONE:
            found[wanted] = number
    for number in range(index.count):
        if found[number] == _NONE:
            found[number] = found[table.first[number]]
    return found


def stretches(index: BlockIndex, found: array[int], start: int = 0) -> Iterator[Stretch]:
    """The image from `start` on (a multiple of the block size), neighbours joined where they stand side by side."""
    last: Stretch | None = None
    for number in range(start // index.block_size, index.count):
        source = None if found[number] == _NONE else found[number] * index.block_size
        begin, end = number * index.block_size, index.end(number)
        if last is not None and _follows(last, source):
            last = Stretch(last.start, end, last.source)
            continue
        if last is not None:
            yield last
        last = Stretch(begin, end, source)
    if last is not None:
        yield last


def proven(index: BlockIndex, written: Chunks, start: int) -> int:
    """How far a slot holds the image, read from `start` on: the offset of the first block that is not in its place."""
    number = start // index.block_size
    for block in in_blocks(written, index.block_size):
        if number == index.count or block_hash(block) != index.hash(number):
            break
        number += 1
    return min(number * index.block_size, index.image_size)


def _follows(last: Stretch, source: int | None) -> bool:
    if last.source is None or source is None:
        return last.source is source
    return source == last.source + last.end - last.start


class _Table:
    """Block numbers by hash, in chains; of equal blocks only the first is in a chain, `first` leads to it."""

    def __init__(self, index: BlockIndex) -> None:
        self._index = index
        self._mask = (1 << max(index.count - 1, 1).bit_length()) - 1
        self._heads = array("I", [_NONE]) * (self._mask + 1)
        self._next = array("I", [_NONE]) * index.count
        self.first = array("I", range(index.count))
        for number in range(index.count):
            self._add(number)

    def _add(self, number: int) -> None:
        digest = self._index.hash(number)
        if (equal := self.find(digest)) != _NONE:
            self.first[number] = equal
            return
        slot = int.from_bytes(digest[:4], "big") & self._mask
        self._next[number] = self._heads[slot]
        self._heads[slot] = number

    def find(self, digest: bytes) -> int:
        """The first block with this hash, or _NONE."""
        number = self._heads[int.from_bytes(digest[:4], "big") & self._mask]
        while number != _NONE and self._index.hash(number) != digest:
            number = self._next[number]
        return number
