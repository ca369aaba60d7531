"""What the data of firmware events holds: UEFI variables, signature lists, image loads (UEFI 2.10, PFP 1.06).

All integers are little endian. `describe` puts any event into words for people; no check rests on it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from medvouch.errors import InputError
from medvouch.formats.cursor import Cursor
from medvouch.formats.eventlog import MAX_EVENT_BYTES, Event, EventType, type_name

FORMAT = "uefi"
GLOBAL_VARIABLE = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
IMAGE_SECURITY_DATABASE = UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
CERT_X509 = UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
CERT_SHA256 = UUID("c1c41626-504c-4092-aca9-41f936934328")
MAX_NAME_CHARS = 1024
MAX_SIGNATURE_LISTS = 1024
MAX_DEVICE_PATH_BYTES = 1 << 16
MAX_TEXT_CHARS = 240
"""Longest text that `describe` returns for untrusted data."""

_SIGNATURE_LIST_HEAD = 28


def _cursor(data: bytes) -> Cursor:
    return Cursor(data, FORMAT, byteorder="little")


def _guid(cursor: Cursor) -> UUID:
    return UUID(bytes_le=cursor.take(16))


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
        guid = _guid(cursor)
        characters = cursor.count(8, MAX_NAME_CHARS)
        size = cursor.count(8, MAX_EVENT_BYTES)
        try:
            name = cursor.take(2 * characters).decode("utf-16-le")
        except UnicodeDecodeError:
            cursor.fail("malformed", "a variable's name is no UTF-16")
        value = cursor.take(size)
        cursor.done()
        return cls(guid, name, value)

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
    kind, size, header_size, signature_size = _guid(cursor), cursor.u32(), cursor.u32(), cursor.u32()
    body_size = size - _SIGNATURE_LIST_HEAD - header_size
    if signature_size < 16 or body_size < 0 or body_size % signature_size:
        cursor.fail("malformed", f"a list of {size} bytes with signatures of {signature_size}")
    header, body = cursor.take(header_size), cursor.take(body_size)
    entries = (body[start : start + signature_size] for start in range(0, body_size, signature_size))
    return SignatureList(kind, header, signature_size, tuple((UUID(bytes_le=e[:16]), e[16:]) for e in entries))


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


def device_path_text(path: bytes) -> str:
    """A device path (UEFI 10.3) in short: files, partitions and PCI functions by name, other nodes by number."""
    cursor = _cursor(path)
    nodes: list[str] = []
    while cursor.remaining:
        kind, subtype, size = cursor.u8(), cursor.u8(), cursor.u16()
        body = cursor.take(size - 4)
        if kind == 0x7F:
            break
        nodes.append(_node_text(kind, subtype, body))
    return "/".join(nodes)


def _node_text(kind: int, subtype: int, body: bytes) -> str:
    match kind, subtype, len(body):
        case 4, 4, _:
            return text(body)
        case 4, 1, 38:
            return f"HD({int.from_bytes(body[:4], 'little')},{UUID(bytes_le=body[20:36])})"
        case 1, 1, 2:
            return f"Pci({body[1]:#x},{body[0]:#x})"
        case 4, 6 | 7, 16:
            return f"Fv({UUID(bytes_le=body)})"
        case _:
            return f"Path({kind},{subtype},{body[:16].hex()})"


def decode(data: bytes) -> str | None:
    """ASCII, UTF-8 or UTF-16 text without its final NULs, or None where it is no text."""
    wide = len(data) >= 2 and len(data) % 2 == 0 and data[1] == 0
    try:
        decoded = data.decode("utf-16-le" if wide else "utf-8").rstrip("\0")
    except UnicodeDecodeError:
        return None
    return decoded if decoded.isprintable() or all(c.isprintable() or c.isspace() for c in decoded) else None


def text(data: bytes) -> str:
    """`data` as one printable line, for people: text where it is some, else hexadecimal; long data is shortened."""
    decoded = decode(data)
    return printable(data[:MAX_TEXT_CHARS].hex() if decoded is None else decoded)


def printable(untrusted: str) -> str:
    """`untrusted` shortened, with control and other unprintable characters escaped."""
    shown = escaped(untrusted[:MAX_TEXT_CHARS])
    return shown + ("..." if len(untrusted) > MAX_TEXT_CHARS else "")


def escaped(untrusted: str) -> str:
    """`untrusted` with control and other unprintable characters escaped."""
    if untrusted.isprintable():
        return untrusted
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in untrusted)


def describe(event: Event) -> str:
    """What an event's data says, in one printable line; never raises, and proves nothing."""
    if (locality := event.startup_locality) is not None:
        return f"TPM2_Startup from locality {locality}"
    try:
        return _DESCRIBERS.get(event.type, text)(event.data)
    except InputError:
        return text(event.data)


def title(event: Event) -> str:
    """`event 27 EV_EFI_BOOT_SERVICES_APPLICATION: ...`, for messages."""
    said = describe(event)
    return f"event {event.index} {type_name(event.type)}" + (f": {said}" if said else "")


def _describe_variable(data: bytes) -> str:
    variable = Variable.parse(data)
    value = variable.data[:16].hex() if len(variable.data) <= 16 else f"{len(variable.data)} bytes"
    return printable(f"{variable.name} = {value}")


def _describe_image(data: bytes) -> str:
    image = ImageLoad.parse(data)
    return printable(device_path_text(image.device_path)) or f"{image.length} bytes without a device path"


def _describe_tag(data: bytes) -> str:
    tagged = TaggedEvent.parse(data)
    return f"{tagged.id:#010x} {text(tagged.data)}"


def _describe_blob(data: bytes) -> str:
    cursor = _cursor(data)
    base, length = cursor.u64(), cursor.u64()
    cursor.done()
    return f"{length:#x} bytes at {base:#x}"


def _describe_blob2(data: bytes) -> str:
    cursor = _cursor(data)
    description = cursor.sized(1, 255)
    return f"{text(description)}: {_describe_blob(cursor.rest())}"


def _describe_separator(data: bytes) -> str:
    return "" if data == bytes(4) else text(data)


_DESCRIBERS: dict[int, Callable[[bytes], str]] = {
    EventType.EV_SEPARATOR: _describe_separator,
    EventType.EV_EVENT_TAG: _describe_tag,
    EventType.EV_EFI_VARIABLE_DRIVER_CONFIG: _describe_variable,
    EventType.EV_EFI_VARIABLE_BOOT: _describe_variable,
    EventType.EV_EFI_VARIABLE_BOOT2: _describe_variable,
    EventType.EV_EFI_VARIABLE_AUTHORITY: _describe_variable,
    EventType.EV_EFI_BOOT_SERVICES_APPLICATION: _describe_image,
    EventType.EV_EFI_BOOT_SERVICES_DRIVER: _describe_image,
    EventType.EV_EFI_RUNTIME_SERVICES_DRIVER: _describe_image,
    EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB: _describe_blob,
    EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2: _describe_blob2,
}
