"""What the data of a firmware event says, in one printable line for people. It proves nothing; no check rests on it.

Data that is not of the form its type promises is shown as text, or in hexadecimal.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from uuid import UUID

from medvouch.errors import InputError
from medvouch.formats import sbat, uefi
from medvouch.formats.boot_option import ACTIVE, BootOption
from medvouch.formats.cursor import Cursor
from medvouch.formats.device_path import device_path_text
from medvouch.formats.eventlog import Event, EventType, type_name
from medvouch.formats.gpt import PartitionTable
from medvouch.formats.text import decode, printable, text
from medvouch.formats.uefi import ImageLoad, TaggedEvent, Variable

MAX_TABLES = 64
_SHOWN_BYTES = 16
_SIGNATURE_BYTES = 16
_GUID_BYTES = 16
_SIGNATURES = {uefi.CERT_X509: "X.509", uefi.CERT_SHA256: "SHA-256"}
_REFERENCE_MANIFEST = b"SP800-155 Event\0"
"""NIST SP 800-155 as PFP 10.4.5.2 has it: who publishes this firmware's reference manifest, and its GUID."""
_TABLES = {
    UUID("8868e871-e4f1-11d3-bc22-0080c73c8881"): "ACPI 2.0",
    UUID("eb9d2d30-2d88-11d3-9a16-0090273fc14d"): "ACPI 1.0",
    UUID("eb9d2d31-2d88-11d3-9a16-0090273fc14d"): "SMBIOS",
    UUID("f2fd1544-9794-4a2c-992e-e5bbcf20e394"): "SMBIOS 3",
}


def describe(event: Event) -> str:
    """What an event's data says; never raises."""
    if (locality := event.startup_locality) is not None:
        return f"TPM2_Startup from locality {locality}"
    try:
        return printable(_DESCRIBERS.get(event.type, text)(event.data))
    except InputError:
        return text(event.data)


def title(event: Event) -> str:
    """`event 27 EV_EFI_BOOT_SERVICES_APPLICATION: ...`, for messages."""
    said = describe(event)
    return f"event {event.index} {type_name(event.type)}" + (f": {said}" if said else "")


def _cursor(data: bytes) -> Cursor:
    return Cursor(data, uefi.FORMAT, byteorder="little")


def _variable(data: bytes) -> str:
    variable = Variable.parse(data)
    return f"{variable.name} = {_value(variable)}"


def _value(variable: Variable) -> str:
    """The value in the form that its name promises."""
    name, value = variable.name, variable.data
    try:
        if name in uefi.SIGNATURE_DATABASES and value:
            return _database(value)
        if name == "SbatLevel":
            return ", ".join(f"{entry.component} {entry.generation}" for entry in sbat.parse(value))
        if name in ("BootOrder", "DriverOrder"):
            return ", ".join(f"{number:04X}" for (number,) in struct.iter_unpack("<H", value))
        if name.startswith("Boot") and len(name) == len("Boot0000") and len(value) > 2:
            return _boot_option(BootOption.parse(value))
    except (InputError, struct.error):
        pass
    return value.hex() if len(value) <= _SHOWN_BYTES else f"{len(value)} bytes"


def _database(value: bytes) -> str:
    counts = Counter[UUID]()
    for each in uefi.parse_signature_lists(value):
        counts[each.type] += len(each.signatures)
    return ", ".join(f"{number} {_SIGNATURES.get(kind, kind)}" for kind, number in counts.items())


def _boot_option(option: BootOption) -> str:
    off = "" if option.attributes & ACTIVE else " (not active)"
    return f"{option.description}: {device_path_text(option.device_path)}{off}"


def _authority(data: bytes) -> str:
    """A variable, whose value is one entry of a signature database: owner, and certificate or hash."""
    variable = Variable.parse_authority(data)
    if variable.guid == uefi.SHIM_LOCK or len(variable.data) <= _GUID_BYTES:
        return f"{variable.name} = {_value(variable)}"
    owner = UUID(bytes_le=variable.data[:_GUID_BYTES])
    return f"{variable.name}: {len(variable.data) - _GUID_BYTES} bytes of {owner}"


def _image(data: bytes) -> str:
    image = ImageLoad.parse(data)
    return device_path_text(image.device_path) or f"{image.length} bytes without a device path"


def _tag(data: bytes) -> str:
    tagged = TaggedEvent.parse(data)
    return f"{tagged.id:#010x} {text(tagged.data)}"


def _blob(data: bytes) -> str:
    cursor = _cursor(data)
    base, length = cursor.u64(), cursor.u64()
    cursor.done()
    return f"{length:#x} bytes at {base:#x}"


def _blob2(data: bytes) -> str:
    cursor = _cursor(data)
    description = cursor.sized(1, 255)
    return f"{text(description)}: {_blob(cursor.rest())}"


def _post_code(data: bytes) -> str:
    """Text, or the address of what was measured (PFP 1.06, table 27)."""
    return _blob(data) if len(data) == 16 and decode(data) is None else text(data)


def _tables(data: bytes) -> str:
    cursor = _cursor(data)
    found = []
    for _ in range(cursor.count(8, MAX_TABLES)):
        guid = UUID(bytes_le=cursor.take(_GUID_BYTES))
        found.append(f"{_TABLES.get(guid, guid)} at {cursor.u64():#x}")
    cursor.done()
    return ", ".join(found)


def _tables2(data: bytes) -> str:
    cursor = _cursor(data)
    description = cursor.sized(1, 255)
    return f"{text(description)}: {_tables(cursor.rest())}"


def _partitions(data: bytes) -> str:
    table = PartitionTable.parse(data)
    names = ", ".join(partition.name or str(partition.guid) for partition in table.partitions)
    return f"disk {table.disk}: {names or 'no partitions'}"


def _separator(data: bytes) -> str:
    return "" if data == bytes(4) else text(data)


def _boot_loader(data: bytes) -> str:
    """A C string of GRUB, shim or systemd; some versions hash the bytes after its NUL, too."""
    first, nul, rest = data.partition(b"\0")
    return text(first) if nul and len(rest) < 2 else text(data)


def _no_action(data: bytes) -> str:
    """Its signature says what it is; whatever is not of the profile is its vendor's own."""
    signature, rest = data[:_SIGNATURE_BYTES], data[_SIGNATURE_BYTES:]
    if signature == _REFERENCE_MANIFEST and len(rest) == 4 + _GUID_BYTES:
        vendor, manifest = struct.unpack("<I16s", rest)
        return f"reference manifest {UUID(bytes_le=manifest)} of vendor {vendor}"
    name = signature.rstrip(b"\0")
    if signature.endswith(b"\0") and name and name.isascii() and name.decode().isprintable():
        return f"{name.decode()} {text(rest)}" if rest else name.decode()
    return text(data)


_DESCRIBERS: dict[int, Callable[[bytes], str]] = {
    EventType.EV_POST_CODE: _post_code,
    EventType.EV_POST_CODE2: _blob2,
    EventType.EV_NO_ACTION: _no_action,
    EventType.EV_SEPARATOR: _separator,
    EventType.EV_EVENT_TAG: _tag,
    EventType.EV_IPL: _boot_loader,
    EventType.EV_TABLE_OF_DEVICES: _tables,
    EventType.EV_EFI_VARIABLE_DRIVER_CONFIG: _variable,
    EventType.EV_EFI_VARIABLE_BOOT: _variable,
    EventType.EV_EFI_VARIABLE_BOOT2: _variable,
    EventType.EV_EFI_VARIABLE_AUTHORITY: _authority,
    EventType.EV_EFI_BOOT_SERVICES_APPLICATION: _image,
    EventType.EV_EFI_BOOT_SERVICES_DRIVER: _image,
    EventType.EV_EFI_RUNTIME_SERVICES_DRIVER: _image,
    EventType.EV_EFI_GPT_EVENT: _partitions,
    EventType.EV_EFI_GPT_EVENT2: _partitions,
    EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB: _blob,
    EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2: _blob2,
    EventType.EV_EFI_HANDOFF_TABLES: _tables,
    EventType.EV_EFI_HANDOFF_TABLES2: _tables2,
}
