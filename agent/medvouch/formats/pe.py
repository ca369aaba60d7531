"""EFI programs as PE32+ files: their sections, and the hash that firmware measures (Microsoft PE/COFF, Authenticode).

A unified kernel image is one whose sections systemd-stub boots (UAPI group, Unified Kernel Image). All integers are
little endian. Codes of refused images are `pe-truncated`, `-limit` and `-malformed`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor
from medvouch.formats.hashing import digest

FORMAT = "pe"
MAX_IMAGE_BYTES = 256 << 20
MAX_SECTIONS = 96
"""The Windows loader's limit, which EDK2 stays far below."""
MAX_DIRECTORIES = 16

_MAGIC_PE32_PLUS = 0x20B
_DOS_BYTES, _SECTION_BYTES = 64, 40
_CHECKSUM_AT, _DIRECTORY_COUNT_AT, _CERTIFICATES_AT = 64, 108, 144
"""Offsets within the optional header of a PE32+ image."""
_SECTION = struct.Struct("<8s6I2HI")


@dataclass(frozen=True)
class _Section:
    name: str
    virtual_size: int
    raw_size: int
    raw_offset: int


@dataclass(frozen=True)
class _Layout:
    """Where things are in an image; all of it lies within the file."""

    checksum: int
    certificates: int | None
    """Offset of the certificate table's directory entry; None where the header ends before it."""
    certificates_size: int
    headers_size: int
    sections: tuple[_Section, ...]


def sections(pe: bytes) -> list[tuple[str, bytes]]:
    """(name, contents as loaded into memory) of each section in the order of the table; raises InputError `pe-*`."""
    return [(section.name, _loaded(pe, section)) for section in _layout(pe).sections]


def _loaded(pe: bytes, section: _Section) -> bytes:
    raw = pe[section.raw_offset : section.raw_offset + min(section.raw_size, section.virtual_size)]
    return raw.ljust(section.virtual_size, b"\0")


def authenticode(pe: bytes, bank: HashAlg) -> bytes:
    """The image's hash as firmware measures and signatures cover it (Windows Authenticode PE Signature Format 1.0).

    Left out are the checksum, the certificate table and the directory entry that points there. Raises InputError
    `pe-*`.
    """
    layout = _layout(pe)
    checksum_end = layout.checksum + 4
    parts = [pe[: layout.checksum]]
    if layout.certificates is None:
        parts.append(pe[checksum_end : layout.headers_size])
    else:
        parts += [pe[checksum_end : layout.certificates], pe[layout.certificates + 8 : layout.headers_size]]
    hashed = layout.headers_size
    for section in sorted(layout.sections, key=lambda section: section.raw_offset):
        parts.append(pe[section.raw_offset : section.raw_offset + section.raw_size])
        hashed += section.raw_size
    end = len(pe) - layout.certificates_size
    if end < hashed:
        raise InputError(f"{FORMAT}-malformed", "sections overlap each other or the certificates", place="headers")
    return digest(bank, b"".join([*parts, pe[hashed:end]]))


def _layout(pe: bytes) -> _Layout:
    if len(pe) > MAX_IMAGE_BYTES:
        raise InputError(f"{FORMAT}-limit", f"{len(pe)} bytes where at most {MAX_IMAGE_BYTES} are allowed")
    cursor = Cursor(pe, FORMAT, byteorder="little")
    if cursor.take(2) != b"MZ":
        cursor.fail("malformed", "no DOS header")
    cursor.take(_DOS_BYTES - 6)
    cursor.offset = cursor.u32()
    if cursor.take(4) != b"PE\0\0":
        cursor.fail("malformed", "no PE header")
    cursor.take(2)
    count = cursor.count(2, MAX_SECTIONS)
    cursor.take(12)
    optional_size = cursor.u16()
    cursor.take(2)
    optional = cursor.offset
    certificates, certificates_size, headers_size = _optional_header(cursor, optional_size)
    cursor.offset = optional + optional_size
    found = tuple(_section(cursor) for _ in range(count))
    if not cursor.offset <= headers_size <= len(pe):
        cursor.fail("malformed", f"headers of {headers_size} bytes")
    if (memory := sum(section.virtual_size for section in found)) > MAX_IMAGE_BYTES:
        cursor.fail("limit", f"sections of {memory} bytes in memory where at most {MAX_IMAGE_BYTES} are allowed")
    return _Layout(optional + _CHECKSUM_AT, certificates, certificates_size, headers_size, found)


def _optional_header(cursor: Cursor, size: int) -> tuple[int | None, int, int]:
    """(offset of the certificates' directory entry, their size, SizeOfHeaders)."""
    start = cursor.offset
    header = Cursor(cursor.take(size), FORMAT, byteorder="little", base=start)
    if header.u16() != _MAGIC_PE32_PLUS:
        header.fail("malformed", "no PE32+ image")
    header.take(_CHECKSUM_AT - 4 - 2)
    headers_size = header.u32()
    header.take(_DIRECTORY_COUNT_AT - _CHECKSUM_AT)
    directories = header.take(8 * header.count(4, MAX_DIRECTORIES))
    if len(directories) < 40:
        return None, 0, headers_size
    _, certificates_size = struct.unpack_from("<2I", directories, 32)
    return start + _CERTIFICATES_AT, certificates_size, headers_size


def _section(cursor: Cursor) -> _Section:
    name, virtual_size, _, raw_size, raw_offset, *_ = _SECTION.unpack(cursor.take(_SECTION_BYTES))
    text = name.rstrip(b"\0")
    if not text.isascii() or not text.decode("ascii").isprintable():
        cursor.fail("malformed", "a section's name is no text")
    if raw_offset + raw_size > len(cursor.data):
        cursor.fail("truncated", f"section {text.decode()} ends at {raw_offset + raw_size}")
    return _Section(text.decode("ascii"), virtual_size, raw_size, raw_offset)
