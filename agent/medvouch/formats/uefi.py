"""What the data of firmware events holds: UEFI variables, signature lists, image loads (UEFI 2.10, PFP 1.06).

All integers are little endian; nothing here is trusted: see `attestation.semantics` for what a replay confirms.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from medvouch.errors import InputError
from medvouch.formats.cursor import Cursor
from medvouch.formats.eventlog import MAX_EVENT_BYTES, Event, EventType

FORMAT = "uefi"
GLOBAL_VARIABLE = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
IMAGE_SECURITY_DATABASE = UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
CERT_X509 = UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
CERT_SHA256 = UUID("c1c41626-504c-4092-aca9-41f936934328")
SHIM_LOCK = UUID("605dab50-e046-4300-abb6-3dd810dd8b23")
"""The variables of shim: MokList, SbatLevel, ..., and the certificate built into it, `Shim` or `vendor_db`."""
SIGNATURE_DATABASES = frozenset(("PK", "KEK", "db", "dbx", "dbt", "dbr", "MokList", "MokListX"))
"""Variables whose value is a sequence of signature lists (UEFI 32.6.1, shim's MokVars.txt)."""
SHIM_TAIL_BYTES = 6
"""What shim before version 15.3 leaves after the variable in the authority events that it makes."""
MAX_NAME_CHARS = 1024
MAX_SIGNATURE_LISTS = 1024
MAX_DEVICE_PATH_BYTES = 1 << 16

_SIGNATURE_LIST_HEAD = 28
_VARIABLE_HEAD = struct.Struct("<16sQQ")
_LIST_HEAD = struct.Struct("<16s3I")
_KNOWN_GUIDS = {
    guid.bytes_le: guid for guid in (GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, CERT_X509, CERT_SHA256, SHIM_LOCK)
}
"""By their bytes: to make a UUID takes longer than to read all else of a variable."""
_SHIM_LOCK_BYTES = SHIM_LOCK.bytes_le


def _cursor(data: bytes) -> Cursor:
    return Cursor(data, FORMAT, byteorder="little")


def _guid(data: bytes) -> UUID:
    return _KNOWN_GUIDS.get(data) or UUID(bytes_le=data)


def of_shim(data: bytes) -> bool:
    """Whether it begins as the variables of shim do."""
    return data.startswith(_SHIM_LOCK_BYTES)


@dataclass(frozen=True)
class Variable:
    """UEFI_VARIABLE_DATA (PFP 10.2.6): guid [16] | name length u64 in characters | data length u64 | name | data."""

    guid: UUID
    name: str
    data: bytes

    @classmethod
    def parse(cls, data: bytes) -> Variable:
        """Raises InputError `uefi-*`."""
        cursor = _cursor(data)
        guid, characters, size = cursor.unpack(_VARIABLE_HEAD)
        if characters > MAX_NAME_CHARS or size > MAX_EVENT_BYTES:
            cursor.fail("limit", f"a name of {characters} characters, a value of {size} bytes")
        try:
            name = cursor.take(2 * characters).decode("utf-16-le")
        except UnicodeDecodeError:
            cursor.fail("malformed", "a variable's name is no UTF-16")
        value = cursor.take(size)
        cursor.done()
        return cls(_guid(guid), name, value)

    @classmethod
    def parse_authority(cls, data: bytes) -> Variable:
        """As `parse`, and what an old shim made: with SHIM_TAIL_BYTES after the end."""
        if len(data) > SHIM_TAIL_BYTES and of_shim(data):
            with suppress(InputError):
                return cls.parse(data[:-SHIM_TAIL_BYTES])
        return cls.parse(data)

    def encode(self) -> bytes:
        """The event's data."""
        name = self.name.encode("utf-16-le")
        return self.guid.bytes_le + struct.pack("<QQ", len(name) // 2, len(self.data)) + name + self.data


def claimed_secure_boot(events: Iterable[Event]) -> bytes | None:
    """The SecureBoot variable as a log claims it, unverified: one byte, 1 for on; empty: not set; None: no event."""
    for event in events:
        if event.type == EventType.EV_EFI_VARIABLE_DRIVER_CONFIG:
            with suppress(InputError):
                variable = Variable.parse(event.data)
                if (variable.guid, variable.name) == (GLOBAL_VARIABLE, "SecureBoot"):
                    return variable.data
    return None


@dataclass(frozen=True)
class SignatureList:
    """EFI_SIGNATURE_LIST (UEFI 32.4.1): what db, dbx, KEK and PK are made of.

    type [16] | list size u32 | header size u32 | signature size u32 | header | signatures of (owner [16] | data)
    """

    type: UUID
    header: bytes
    signature_size: int
    signatures: tuple[tuple[UUID, bytes], ...]

    def encode(self) -> bytes:
        """The list's bytes."""
        body = b"".join(owner.bytes_le + data for owner, data in self.signatures)
        size = _SIGNATURE_LIST_HEAD + len(self.header) + len(body)
        return self.type.bytes_le + struct.pack("<3I", size, len(self.header), self.signature_size) + self.header + body


def parse_signature_lists(data: bytes) -> tuple[SignatureList, ...]:
    """The value of a signature database; raises InputError `uefi-*`."""
    cursor = _cursor(data)
    lists: list[SignatureList] = []
    while cursor.remaining:
        if len(lists) == MAX_SIGNATURE_LISTS:
            cursor.fail("limit", f"more than {MAX_SIGNATURE_LISTS} signature lists")
        lists.append(_signature_list(cursor))
    return tuple(lists)


def _signature_list(cursor: Cursor) -> SignatureList:
    kind, size, header_size, signature_size = cursor.unpack(_LIST_HEAD)
    body_size = size - _SIGNATURE_LIST_HEAD - header_size
    if signature_size < 16 or body_size < 0 or body_size % signature_size:
        cursor.fail("malformed", f"a list of {size} bytes with signatures of {signature_size}")
    header, body = cursor.take(header_size), cursor.take(body_size)
    entries = [body[start : start + signature_size] for start in range(0, body_size, signature_size)]
    owners = {owner: _guid(owner) for owner in {entry[:16] for entry in entries}}  # one or two of hundreds
    return SignatureList(
        _guid(kind), header, signature_size, tuple((owners[entry[:16]], entry[16:]) for entry in entries)
    )


@dataclass(frozen=True)
class ImageLoad:
    """UEFI_IMAGE_LOAD_EVENT (PFP 10.2.3): location u64 | length u64 | link time u64 | path length u64 | path.

    None of it is measured: the digest is the image's Authenticode hash.
    """

    location: int
    length: int
    link_time: int
    device_path: bytes

    @classmethod
    def parse(cls, data: bytes) -> ImageLoad:
        """Raises InputError `uefi-*`."""
        cursor = _cursor(data)
        image = cls(cursor.u64(), cursor.u64(), cursor.u64(), cursor.sized(8, MAX_DEVICE_PATH_BYTES))
        cursor.done()
        return image

    def encode(self) -> bytes:
        """The event's data."""
        head = struct.pack("<4Q", self.location, self.length, self.link_time, len(self.device_path))
        return head + self.device_path


@dataclass(frozen=True)
class TaggedEvent:
    """TCG_PCClientTaggedEvent (PFP 10.4.2.1): id u32 | size u32 | data."""

    id: int
    data: bytes

    @classmethod
    def parse(cls, data: bytes) -> TaggedEvent:
        """Raises InputError `uefi-*`."""
        cursor = _cursor(data)
        tagged = cls(cursor.u32(), cursor.sized(4, MAX_EVENT_BYTES))
        cursor.done()
        return tagged

    def encode(self) -> bytes:
        """The event's data."""
        return struct.pack("<2I", self.id, len(self.data)) + self.data
