"""The block index of an image: what each of its blocks hashes to, so that blocks which are there are not fetched again.

     0               4        5           6        8                16
    +---------------+--------+-----------+--------+----------------+------------- -----------+
    | magic "MVBI"  | 1      | log2 of   | 0      | image size     | hash of block 0, 1, ...  |
    |               |        | the block |        | u64            | 16 bytes each            |
    +---------------+--------+-----------+--------+----------------+--------------------------+

Integers are big-endian. A hash is the first 16 bytes of SHA-256 of the block, the last block being as short as it is.
It finds blocks and proves nothing: the whole image is always held against its signed digest.
"""

from __future__ import annotations

from dataclasses import dataclass

from medvouch.formats.cursor import Cursor

MAGIC = b"MVBI"
VERSION = 1
HASH_BYTES = 16
MIN_BLOCK_BITS, MAX_BLOCK_BITS = 12, 24
"""4 KiB, the block of most file systems, to 16 MiB."""
MAX_BLOCKS = 1 << 18
"""Of one image: larger images have larger blocks, so that an index takes 4 MiB at most, on the wire and in memory."""
HEADER_BYTES = 16
MAX_INDEX_BYTES = HEADER_BYTES + MAX_BLOCKS * HASH_BYTES
_FORMAT = "blocks"


@dataclass(frozen=True)
class BlockIndex:
    """The hashes of all blocks of an image, one after another; sizes in bytes."""

    block_size: int
    image_size: int
    hashes: bytes

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return len(self.hashes) // HASH_BYTES

    def hash(self, number: int) -> bytes:
        """That of one block."""
        return self.hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES]

    def end(self, number: int) -> int:
        """The offset behind a block."""
        return min((number + 1) * self.block_size, self.image_size)

    def encode(self) -> bytes:
        """The inverse of `parse`."""
        bits = self.block_size.bit_length() - 1
        return MAGIC + bytes([VERSION, bits, 0, 0]) + self.image_size.to_bytes(8, "big") + self.hashes

    @classmethod
    def parse(cls, data: bytes) -> BlockIndex:
        """Raises InputError `blocks-truncated`, `blocks-trailing`, `blocks-limit`, `blocks-malformed`."""
        cursor = Cursor(data, _FORMAT)
        if cursor.take(len(MAGIC)) != MAGIC or cursor.u8() != VERSION:
            cursor.fail("malformed", "a block index of version 1 expected")
        bits = cursor.u8()
        if not MIN_BLOCK_BITS <= bits <= MAX_BLOCK_BITS or cursor.u16() != 0:
            cursor.fail("malformed", "blocks of 4 KiB to 16 MiB expected")
        size = cursor.u64()
        count = blocks(size, 1 << bits)
        if count > MAX_BLOCKS:
            cursor.fail("limit", f"{count} blocks where at most {MAX_BLOCKS} are allowed")
        hashes = cursor.take(count * HASH_BYTES)
        cursor.done()
        return cls(1 << bits, size, hashes)


def blocks(image_size: int, block_size: int) -> int:
    """How many blocks an image has."""
    return -(-image_size // block_size)


def block_size_for(image_size: int) -> int:
    """The smallest block by which an image has no more than MAX_BLOCKS; ValueError where even the largest is none."""
    for bits in range(MIN_BLOCK_BITS, MAX_BLOCK_BITS + 1):
        if blocks(image_size, 1 << bits) <= MAX_BLOCKS:
            return 1 << bits
    raise ValueError(f"an image of {image_size} bytes has too many blocks of any size")
