"""One bounds-checked cursor that every binary parser reads through."""

from __future__ import annotations

import struct
from typing import Any, Literal, NoReturn

from medvouch.errors import InputError

Fault = Literal["truncated", "trailing", "limit", "malformed"]


class Cursor:
    """Reads `data` from the front; whatever does not fit raises InputError `FORMAT-truncated` with the offset.

    `base` is added to reported offsets where `data` is a slice of something larger.
    """

    __slots__ = ("base", "byteorder", "data", "format", "offset")

    def __init__(self, data: bytes, format: str, *, byteorder: Literal["big", "little"] = "big", base: int = 0) -> None:
        self.data = data
        self.format = format
        self.byteorder = byteorder
        self.base = base
        self.offset = 0

    @property
    def remaining(self) -> int:
        """Bytes not yet taken."""
        return len(self.data) - self.offset

    def fail(self, fault: Fault, detail: str) -> NoReturn:
        """Raise the InputError `FORMAT-fault` at this place."""
        raise InputError(f"{self.format}-{fault}", detail, place=f"offset {self.base + self.offset}")

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self.offset + size
        if size < 0 or end > len(self.data):
            self.fail("truncated", f"{size} bytes wanted, {self.remaining} left")
        chunk = self.data[self.offset : end]
        self.offset = end
        return chunk

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(self.remaining)

    def uint(self, size: int) -> int:
        """An unsigned integer of `size` bytes in the cursor's byte order."""
        start, end = self.offset, self.offset + size
        if end > len(self.data):
            self.take(size)
        self.offset = end
        return int.from_bytes(self.data[start:end], self.byteorder)

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """Fields of a fixed layout, at once; `layout` says their byte order."""
        start, end = self.offset, self.offset + layout.size
        if end > len(self.data):
            self.take(layout.size)
        self.offset = end
        return layout.unpack_from(self.data, start)

    def u8(self) -> int:
        """A byte; most of what a decoder asks for, so it makes no slice."""
        if self.offset >= len(self.data):
            self.take(1)
        self.offset += 1
        return self.data[self.offset - 1]

    def u16(self) -> int:
        """16 bits."""
        return self.uint(2)

    def u32(self) -> int:
        """32 bits."""
        return self.uint(4)

    def u64(self) -> int:
        """64 bits."""
        return self.uint(8)

    def sized(self, width: int, limit: int) -> bytes:
        """A byte string led by its length in `width` bytes, at most `limit` long (TPM2B_* has width 2)."""
        data, start = self.data, self.offset + width  # no calls: much of what is read is this
        if start > len(data):
            self.take(width)
        size = int.from_bytes(data[start - width : start], self.byteorder)
        self.offset = start
        if size > limit:
            self.fail("limit", f"a length of {size} where at most {limit} is allowed")
        end = start + size
        if end > len(data):
            self.take(size)
        self.offset = end
        return data[start:end]

    def count(self, width: int, limit: int) -> int:
        """The number of elements that follow, in `width` bytes, at most `limit`."""
        number = self.uint(width)
        if number > limit:
            self.fail("limit", f"{number} elements where at most {limit} are allowed")
        return number

    def done(self) -> None:
        """Refuse trailing bytes."""
        if self.remaining:
            self.fail("trailing", f"{self.remaining} bytes after the end")
