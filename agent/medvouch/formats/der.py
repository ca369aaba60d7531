"""Distinguished Encoding Rules (X.690), as much as certificates need: their extent, their signed part, their sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from medvouch.formats.cursor import Cursor

MAX_CERTIFICATE_BYTES = 16 * 1024
"""The largest vendor certificate known is below 3 KiB; an NV index holds at most 64 KiB."""
MAX_DEPTH = 16

SEQUENCE = b"\x30"
"""The tag that every certificate begins with."""
_OID, _SET = 0x06, 0x31
_CONSTRUCTED = 0x20
_FORMAT = "certificate"


@dataclass(frozen=True)
class Element:
    """One tag, length, value; `encoded` is all of it, `content` the value."""

    tag: int
    encoded: bytes
    content: bytes

    @property
    def constructed(self) -> bool:
        """Whether the value is itself a row of elements."""
        return bool(self.tag & _CONSTRUCTED)


def trim(data: bytes) -> bytes:
    """The one DER element that `data` begins with: NV indexes pad a certificate with zeros or 0xFF."""
    return _element(Cursor(data, _FORMAT)).encoded


def signed_part(certificate: bytes) -> bytes:
    """The TBSCertificate exactly as its issuer signed it (RFC 5280, 4.1)."""
    cursor = Cursor(certificate, _FORMAT)
    outer = _element(cursor)
    cursor.done()
    if outer.encoded[:1] != SEQUENCE:
        cursor.fail("malformed", "a certificate is a SEQUENCE")
    inner = Cursor(outer.content, _FORMAT, base=len(outer.encoded) - len(outer.content))
    return _element(inner).encoded


def sort_sets(data: bytes) -> bytes:
    """`data` with the members of each SET OF ascending, as X.690, 11.6 demands and some TPM vendors forgot."""
    cursor = Cursor(data, _FORMAT)
    element = _element(cursor)
    cursor.done()
    return _sorted(element, 0)


def take(cursor: Cursor) -> Element:
    """The next element."""
    return _element(cursor)


def encode(tag: int, *parts: bytes) -> bytes:
    """An element of these contents, its length in the one form that DER has for it."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    width = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | width]) + size.to_bytes(width, "big") + content


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER element (X.690, 8.19)."""
    first, second, *rest = map(int, dotted.split("."))
    return encode(_OID, *(_base128(number) for number in (40 * first + second, *rest)))


def _base128(number: int) -> bytes:
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(0x80 | number & 0x7F)
    return bytes(reversed(groups))


def _sorted(element: Element, depth: int) -> bytes:
    if not element.constructed:
        return element.encoded
    if depth == MAX_DEPTH:
        Cursor(element.encoded, _FORMAT).fail("limit", f"nested deeper than {MAX_DEPTH}")
    members = [_sorted(member, depth + 1) for member in _elements(element.content)]
    if element.tag == _SET:
        members.sort()
    return element.encoded[: len(element.encoded) - len(element.content)] + b"".join(members)


def _elements(data: bytes) -> Iterator[Element]:
    cursor = Cursor(data, _FORMAT)
    while cursor.remaining:
        yield _element(cursor)


def _element(cursor: Cursor) -> Element:
    start = cursor.offset
    tag = cursor.u8()
    if tag & 0x1F == 0x1F:
        cursor.fail("malformed", "a tag of several bytes")
    content = cursor.take(_length(cursor))
    return Element(tag, cursor.data[start : cursor.offset], content)


def _length(cursor: Cursor) -> int:
    first = cursor.u8()
    if first < 0x80:
        return first
    width = first & 0x7F
    if width not in {1, 2}:
        cursor.fail("malformed" if not width else "limit", f"a length in {width} bytes")
    length = cursor.uint(width)
    if length < 0x80 or length >> 8 * (width - 1) == 0:
        cursor.fail("malformed", "a length that is not the shortest")
    if length > MAX_CERTIFICATE_BYTES:
        cursor.fail("limit", f"{length} bytes where at most {MAX_CERTIFICATE_BYTES} are allowed")
    return length
