"""Distinguished Encoding Rules (X.690), as much as certificates, requests and signatures need: elements and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medvouch.formats.cursor import Cursor

MAX_CERTIFICATE_BYTES = 16 * 1024
"""The largest vendor certificate known is below 3 KiB; an NV index holds at most 64 KiB."""
MAX_DEPTH = 16

SEQUENCE = b"\x30"
"""The tag that every certificate begins with."""
_INTEGER, _OID, _SET = 0x02, 0x06, 0x31
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


def integer(value: int) -> bytes:
    """An INTEGER element (X.690, 8.3)."""
    return encode(_INTEGER, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True))


class Row:
    """The elements inside one element of tag `outer`, one after another; errors are InputError `FORMAT-*`."""

    def __init__(self, encoded: bytes, outer: int, format: str) -> None:
        self.cursor = Cursor(encoded, format)
        element = self.take(outer)
        self.cursor.done()
        self.cursor = Cursor(element.content, format)

    def take(self, tag: int) -> Element:
        """The next one, which is of this tag."""
        element = _element(self.cursor)
        if element.tag != tag:
            self.cursor.fail("malformed", f"tag 0x{element.tag:02x} where 0x{tag:02x} is wanted")
        return element

    def integer(self) -> int:
        """The next one, an INTEGER in its shortest form."""
        element = self.take(_INTEGER)
        value = int.from_bytes(element.content, "big", signed=True)
        if element.encoded != integer(value):
            self.cursor.fail("malformed", "an INTEGER that is not the shortest")
        return value

    def next_is(self, tag: int) -> bool:
        """Whether there is another one, of this tag."""
        return self.cursor.data[self.cursor.offset : self.cursor.offset + 1] == bytes((tag,))

    def rest(self, tag: int, limit: int) -> Sequence[Element]:
        """All that are left, at most `limit`."""
        found: list[Element] = []
        while self.cursor.remaining:
            if len(found) == limit:
                self.cursor.fail("limit", f"more than {limit} members")
            found.append(self.take(tag))
        return found

    def done(self) -> None:
        """Refuse more than was taken."""
        self.cursor.done()


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
