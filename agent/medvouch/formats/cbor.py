"""CBOR in the one profile that signed input may use: deterministic encoding (RFC 8949, 4.2.1), definite lengths.

cbor2 encodes; what it decodes by default is too much for signed input (indefinite lengths, non-minimal heads, duplicate
keys, trailing bytes, tags turned into objects), so decoding is a small reader of this profile alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import cbor2
from cbor2 import CBORTag as Tag

from medvouch.formats.cursor import Cursor

__all__ = ["MAX_DEPTH", "MAX_ITEMS", "Tag", "decode", "encode"]

MAX_DEPTH = 16
MAX_ITEMS = 1 << 16
"""Data items in one document, keys and values counted; lengths are bounded by the input itself."""

_LEAST, _PAST = -(1 << 64), 1 << 64
"""What a number may be, and what is beyond: heads have 64 bits."""
_KEYS = frozenset({int, bytes, str})
_SCALARS = frozenset({type(None), bool, bytes, str})
_CONSTANTS = {20: False, 21: True, 22: None}
"""The simple values of the profile (RFC 8949, 3.3)."""


def encode(value: Any) -> bytes:
    """Deterministic CBOR of None, bool, int, bytes, str, lists, tuples, mappings and Tags; TypeError for all else."""
    return cbor2.dumps(_ordered(value))


def _ordered(value: Any) -> Any:
    kind = type(value)
    if kind in _SCALARS or (kind is int and _LEAST <= value < _PAST):  # most of it, and cheaper than the cases below
        return value
    if kind is list or kind is tuple:
        return _ordered_items(value)
    if kind is dict:
        return _ordered_map(value)
    ordered: Any
    match value:
        case int() if _LEAST <= value < _PAST:
            ordered = int(value)
        case bytes() | str():
            ordered = value
        case list() | tuple():
            ordered = _ordered_items(value)
        case Tag():
            ordered = Tag(value.tag, _ordered(value.value))
        case Mapping():  # the last: who asks an abstract class waits
            ordered = _ordered_map(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in our CBOR")
    return ordered


def _ordered_items(values: Sequence[Any]) -> list[Any]:
    return [item if type(item) in _SCALARS else _ordered(item) for item in values]


def _ordered_map(value: Mapping[Any, Any]) -> dict[Any, Any]:
    kinds = set(map(type, value))
    if kinds == {int}:  # most maps
        numbers = _ordered_numbers(tuple(value))
        return dict(zip(numbers, _ordered_items([value[key] for key in numbers]), strict=True))
    if kinds == {str}:
        texts = sorted(value, key=_text_place)
        return dict(zip(texts, _ordered_items([value[key] for key in texts]), strict=True))
    entries = {_key(key): _ordered(item) for key, item in value.items()}
    return {key: entries[key] for key in sorted(entries, key=_place)}


@lru_cache(maxsize=256)
def _ordered_numbers(keys: tuple[int, ...]) -> tuple[int, ...]:
    """Negative ones after all others, away from zero; the same few sets of labels are written again and again."""
    if any(not _LEAST <= key < _PAST for key in keys):
        raise TypeError("a number of more than 64 bits has no place in our CBOR")
    return tuple(sorted(keys, key=lambda key: key if key >= 0 else _PAST - 1 - key))


def _text_place(key: str) -> tuple[int, bytes]:
    data = key.encode()
    return len(data), data


def _place(key: Any) -> tuple[Any, ...]:
    """Sorts as the key's encoding does: by major type, then by number or length, then by content."""
    if isinstance(key, int):
        return (0, key) if key >= 0 else (1, -1 - key)
    data = key if isinstance(key, bytes) else key.encode()
    return (2 if data is key else 3, len(data), data)


def _key(key: Any) -> Any:
    if type(key) is str or (type(key) is int and _LEAST <= key < _PAST):
        return key
    if isinstance(key, bool) or not isinstance(key, int | bytes | str):
        raise TypeError(f"{type(key).__name__} is no key in our CBOR")
    return _ordered(key)


def decode(data: bytes, *, deterministic: bool = True) -> Any:
    """One data item as None, bool, int, bytes, str, list, dict or Tag; a Tag is never interpreted.

    Raises InputError `cbor-truncated|trailing|limit|malformed`, for any bytes whatever. Where `deterministic` is False
    the keys of a map may stand in any order (formats of others); all else still holds.
    """
    reader = _Reader(data, deterministic)
    value = reader.item(0)
    reader.cursor.done()
    return value


class _Reader:
    """Reads data items off a cursor."""

    def __init__(self, data: bytes, deterministic: bool) -> None:
        self.cursor = Cursor(data, "cbor")
        self._deterministic = deterministic
        self._items = 0

    def item(self, depth: int) -> Any:  # noqa: C901, PLR0912 - a case for each major type
        cursor = self.cursor
        self._items += 1
        if self._items > MAX_ITEMS:
            cursor.fail("limit", f"more than {MAX_ITEMS} data items")
        if depth > MAX_DEPTH:
            cursor.fail("limit", f"nested deeper than {MAX_DEPTH}")
        data, offset = cursor.data, cursor.offset  # read here: a call for each byte would be most of the work
        if offset >= len(data):
            cursor.take(1)
        first = data[offset]
        cursor.offset = offset + 1
        major, argument = first >> 5, first & 0x1F
        if argument == 24 and major < 7 and data[offset + 1 : offset + 2] >= b"\x18":
            argument = data[offset + 1]
            cursor.offset = offset + 2
        elif argument >= 24:
            argument = self._argument(first)
        value: Any
        if major == 2:  # most of what there is comes first
            start = cursor.offset
            stop = start + argument
            if stop > len(data):
                cursor.take(argument)
            value = data[start:stop]
            cursor.offset = stop
        elif major == 0:
            value = argument
        elif major == 3:
            value = self._text(argument)
        elif major == 5:
            value = self._map(argument, depth + 1)
        elif major == 4:
            value = [self.item(depth + 1) for _ in range(argument)]
        elif major == 1:
            value = -1 - argument
        elif major == 6:
            value = Tag(argument, self.item(depth + 1))
        else:
            value = self._constant(argument)
        return value

    def _argument(self, first: int) -> int:
        """The argument after a head's first byte (RFC 8949, 3); that of major type 7 is refused."""
        info = first & 0x1F
        if info > 27 or first >> 5 == 7:
            self.cursor.fail("malformed", f"0x{first:02x} begins an indefinite length, a float or nothing known")
        width = 1 << (info - 24)
        start, data = self.cursor.offset, self.cursor.data
        stop = start + width
        if stop > len(data):
            self.cursor.take(width)
        self.cursor.offset = stop
        argument = int.from_bytes(data[start:stop], "big")
        if argument < (24 if width == 1 else 1 << (4 * width)):
            self.cursor.fail("malformed", "a number is not in its shortest form")
        return argument

    def _text(self, size: int) -> str:
        raw = self.cursor.take(size)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.cursor.fail("malformed", "text is not UTF-8")

    def _constant(self, number: int) -> bool | None:
        if number not in _CONSTANTS:
            self.cursor.fail("malformed", f"simple value {number}")
        return _CONSTANTS[number]

    def _map(self, pairs: int, depth: int) -> dict[int | bytes | str, Any]:
        entries: dict[int | bytes | str, Any] = {}
        previous = b""
        cursor, data, item = self.cursor, self.cursor.data, self.item
        for _ in range(pairs):
            start = cursor.offset
            if start < len(data) and data[start] < 24 and depth <= MAX_DEPTH:  # most keys, without a call
                key = data[start]
                cursor.offset = start + 1
                self._items += 1
            else:
                key = item(depth)
            if type(key) not in _KEYS:
                cursor.fail("malformed", "a map key is neither number nor string")
            if key in entries:
                cursor.fail("malformed", "a map key stands twice")
            raw = data[start : cursor.offset]
            if raw < previous and self._deterministic:
                cursor.fail("malformed", "map keys are not in order")
            entries[key], previous = item(depth), raw
        return entries
