"""A signed change of a Secure Boot database: EFI_VARIABLE_AUTHENTICATION_2 and signature lists (UEFI 2.10, 8.2.6).

    EFI_TIME [16]
    WIN_CERTIFICATE_UEFI_GUID: length u32 | revision u16 = 0x0200 | type u16 = 0x0EF1 | EFI_CERT_TYPE_PKCS7_GUID [16]
                               | PKCS #7 SignedData (DER), to the end of that length
    EFI_SIGNATURE_LIST, one or more, up to the end

    EFI_TIME = year u16 | month u8 | day u8 | hour u8 | minute u8 | second u8 | 0 u8 | nanosecond u32 = 0 |
               time zone i16 = 0 | daylight u8 = 0 | 0 u8

Integers are little endian. Who signed is the firmware's to check: it holds PK and KEK. Codes of refused input are
`secure-boot-truncated`, `-limit` and `-malformed`, and those of signature lists, `uefi-*`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from medvouch.errors import InputError
from medvouch.formats import der
from medvouch.formats.cursor import Cursor
from medvouch.formats.uefi import IMAGE_SECURITY_DATABASE, SignatureList, parse_signature_lists

FORMAT = "secure-boot"
MAX_UPDATE_BYTES = 1 << 18
"""The list of forbidden images that the UEFI Forum publishes is below 32 KiB; variable stores have few hundred KiB."""
PKCS7 = UUID("4aafd29d-68df-49ee-8aa9-347d375665a7")
NON_VOLATILE, BOOT_SERVICE, RUNTIME, TIME_BASED, APPEND = 0x01, 0x02, 0x04, 0x20, 0x40
"""Attributes of variables (UEFI 2.10, 8.2)."""
REPLACING = NON_VOLATILE | BOOT_SERVICE | RUNTIME | TIME_BASED
APPENDING = REPLACING | APPEND
DATABASES = ("db", "dbx")

_TIME = struct.Struct("<H6BIhBB")
_CERTIFICATE = struct.Struct("<I2H16s")
_REVISION, _EFI_GUID = 0x0200, 0x0EF1
_LEAST_YEAR = 1900


@dataclass(frozen=True)
class SignedUpdate:
    """Signature `lists` for a database, when they were signed, and the SignedData that says by whom."""

    time: datetime
    signature: bytes
    lists: tuple[SignatureList, ...]

    @classmethod
    def parse(cls, data: bytes) -> SignedUpdate:
        """Raises InputError `secure-boot-*`, `uefi-*`."""
        if len(data) > MAX_UPDATE_BYTES:
            raise InputError(f"{FORMAT}-limit", f"{len(data)} bytes where at most {MAX_UPDATE_BYTES} are allowed")
        cursor = Cursor(data, FORMAT, byteorder="little")
        time = _time(cursor)
        size, revision, kind, guid = cursor.unpack(_CERTIFICATE)
        if (revision, kind, guid) != (_REVISION, _EFI_GUID, PKCS7.bytes_le):
            cursor.fail("malformed", f"a certificate of revision {revision:#x}, type {kind:#x}, {UUID(bytes_le=guid)}")
        signature = cursor.take(size - _CERTIFICATE.size)
        _check_signed_data(cursor, signature)
        if not cursor.remaining:
            cursor.fail("malformed", "no signature lists, which would take the database away")
        return cls(time, signature, parse_signature_lists(cursor.rest()))

    @property
    def time_bytes(self) -> bytes:
        """The EFI_TIME."""
        t = self.time
        return _TIME.pack(t.year, t.month, t.day, t.hour, t.minute, t.second, 0, 0, 0, 0, 0)

    @property
    def content(self) -> bytes:
        """The signature lists, encoded."""
        return b"".join(each.encode() for each in self.lists)

    def encode(self) -> bytes:
        """The inverse of `parse`."""
        size = _CERTIFICATE.size + len(self.signature)
        head = _CERTIFICATE.pack(size, _REVISION, _EFI_GUID, PKCS7.bytes_le)
        return self.time_bytes + head + self.signature + self.content

    def applied(self, value: bytes, attributes: int) -> bytes:
        """What a database of this `value` holds afterwards; what is appended without what it holds (UEFI 2.10, 8.2.2).

        Raises InputError `uefi-*` where something is appended to what are no signature lists.
        """
        if not attributes & APPEND:
            return self.content
        held = {(each.type, entry) for each in parse_signature_lists(value) for entry in each.signatures}
        for each in self.lists:
            fresh = tuple(entry for entry in each.signatures if (each.type, entry) not in held)
            value += replace(each, signatures=fresh).encode() if fresh else b""
        return value

    def covered(self, name: str, attributes: int) -> bytes:
        """What the signature is over (8.2.6): name, vendor, attributes, time and the new lists."""
        vendor = IMAGE_SECURITY_DATABASE.bytes_le
        return name.encode("utf-16-le") + vendor + struct.pack("<I", attributes) + self.time_bytes + self.content


def _time(cursor: Cursor) -> datetime:
    year, month, day, hour, minute, second, *rest = cursor.unpack(_TIME)
    if any(rest):
        cursor.fail("malformed", "a time with nanoseconds, time zone, daylight or padding")
    if year < _LEAST_YEAR:
        cursor.fail("malformed", f"a time in the year {year}")
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        cursor.fail("malformed", f"no time: {year}-{month}-{day} {hour}:{minute}:{second}")


def _check_signed_data(cursor: Cursor, signature: bytes) -> None:
    """One DER element as long as it says; all else of it is between its maker and the firmware."""
    inner = Cursor(signature, FORMAT, base=cursor.offset - len(signature))
    if signature[:1] != der.SEQUENCE:
        inner.fail("malformed", "the signature is no SEQUENCE")
    der.take(inner)
    inner.done()
