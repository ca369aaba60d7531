"""Unified kernel images as the fixtures have them; `medvouch.formats.pe` reads them."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from medvouch.formats.pe import MAX_DIRECTORIES, MAX_SECTIONS, authenticode, sections

__all__ = ["MAX_SECTIONS", "authenticode", "build", "sections"]

_MAGIC_PE32_PLUS = 0x20B
_SECTION_ALIGNMENT, _FILE_ALIGNMENT = 0x1000, 0x200
_AMD64, _EXECUTABLE, _EFI_APPLICATION = 0x8664, 0x222, 10
_READ_CODE, _READ_DATA = 0x60000020, 0x40000040
_RETURN_SUCCESS = b"\x31\xc0\xc3"
"""`xor eax, eax; ret`: a program that leaves with EFI_SUCCESS."""
_DOS_BYTES, _COFF_BYTES, _OPTIONAL_BYTES, _SECTION_BYTES = 64, 24, 240, 40
_SECTION = struct.Struct("<8s6I2HI")


def build(contents: Mapping[str, bytes]) -> bytes:
    """A minimal image with these sections, in this order, behind a `.text` that returns EFI_SUCCESS."""
    everything = {".text": _RETURN_SUCCESS, **contents}
    raw_offset = headers_size = _aligned(
        _DOS_BYTES + _COFF_BYTES + _OPTIONAL_BYTES + _SECTION_BYTES * len(everything), _FILE_ALIGNMENT
    )
    address, table, body = _SECTION_ALIGNMENT, b"", b""
    for name, data in everything.items():
        raw_size = _aligned(len(data), _FILE_ALIGNMENT)
        flags = _READ_CODE if name == ".text" else _READ_DATA
        table += _SECTION.pack(name.encode(), len(data), address, raw_size, raw_offset, 0, 0, 0, 0, flags)
        body += data.ljust(raw_size, b"\0")
        address += _aligned(len(data), _SECTION_ALIGNMENT)
        raw_offset += raw_size
    headers = _headers(len(everything), headers_size, address) + table
    return headers.ljust(headers_size, b"\0") + body


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _headers(count: int, headers_size: int, image_size: int) -> bytes:
    dos = b"MZ".ljust(_DOS_BYTES - 4, b"\0") + struct.pack("<I", _DOS_BYTES)
    coff = b"PE\0\0" + struct.pack("<2H3I2H", _AMD64, count, 0, 0, 0, _OPTIONAL_BYTES, _EXECUTABLE)
    entry = base = _SECTION_ALIGNMENT
    optional = struct.pack(
        "<H2B5IQ2I6H4I2H4Q2I",
        _MAGIC_PE32_PLUS, 0, 0, _FILE_ALIGNMENT, 0, 0, entry, base, 0, _SECTION_ALIGNMENT, _FILE_ALIGNMENT,
        0, 0, 0, 0, 0, 0, 0, image_size, headers_size, 0, _EFI_APPLICATION, 0, 0, 0, 0, 0, 0, MAX_DIRECTORIES,
    )  # fmt: skip
    return dos + coff + optional + bytes(8 * MAX_DIRECTORIES)
