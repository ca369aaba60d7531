"""UEFI device paths (UEFI 2.10, section 10.3) in the text form of section 10.6.

    node   type u8 | subtype u8 | size u16, of the whole node | body

The nodes of firmware, disks, partitions, networks and virtual machines have names here; any other becomes
`Path(type,subtype,hex)`. Nothing of a path is measured.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Mapping
from uuid import UUID

from medvouch.errors import InputError
from medvouch.formats.cursor import Cursor
from medvouch.formats.text import text

FORMAT = "uefi"
MAX_NODES = 64
_END = 0x7F
_END_INSTANCE = 0x01
_HEAD_BYTES = 4
_SHOWN_BYTES = 16


def device_path_text(path: bytes) -> str:
    """The path's nodes, joined by slashes, several instances by commas; raises InputError `uefi-*`."""
    cursor = Cursor(path, FORMAT, byteorder="little")
    instances: list[list[str]] = [[]]
    for _ in range(MAX_NODES):
        if not cursor.remaining:
            break
        kind, subtype, size = cursor.u8(), cursor.u8(), cursor.u16()
        body = cursor.take(size - _HEAD_BYTES)
        if kind != _END:
            instances[-1].append(_node_text(kind, subtype, body))
        elif subtype == _END_INSTANCE:
            instances.append([])
        else:
            break
    else:
        cursor.fail("limit", f"more than {MAX_NODES} nodes")
    return ",".join("/".join(nodes) for nodes in instances)


def _node_text(kind: int, subtype: int, body: bytes) -> str:
    name = _NODES.get((kind, subtype))
    try:
        if name is not None:
            return name(body)
    except (struct.error, InputError, ValueError, IndexError):
        pass
    return f"Path({kind},{subtype},{body[:_SHOWN_BYTES].hex()})"


def _numbers(name: str, layout: str, *, hexadecimal: bool = False) -> Callable[[bytes], str]:
    """A node that is these little-endian numbers and nothing else."""
    struct_ = struct.Struct("<" + layout)

    def shown(body: bytes) -> str:
        return f"{name}({','.join(f'{n:#x}' if hexadecimal else str(n) for n in struct_.unpack(body))})"

    return shown


def _guid(name: str) -> Callable[[bytes], str]:
    """A node that is one GUID and nothing else."""
    return lambda body: f"{name}({UUID(bytes_le=body)})"


def _pci(body: bytes) -> str:
    function, device = struct.unpack("<2B", body)
    return f"Pci({device:#x},{function:#x})"


def _acpi(body: bytes) -> str:
    identifier, unique = struct.unpack("<II", body)
    vendor, product = identifier & 0xFFFF, identifier >> 16
    if vendor != 0x41D0:  # "PNP", five bits a letter
        return f"Acpi({identifier:#010x},{unique:#x})"
    names = {0x0A03: "PciRoot", 0x0A08: "PcieRoot"}
    return f"{names[product]}({unique:#x})" if product in names else f"Acpi(PNP{product:04X},{unique:#x})"


def _hard_drive(body: bytes) -> str:
    """Partition number u32 | start u64 | size u64 | signature [16] | format u8 | kind of signature u8."""
    number, start, size, signature, _, kind = struct.unpack("<IQQ16sBB", body)
    if kind == 2:
        return f"HD({number},GPT,{UUID(bytes_le=signature)},{start:#x},{size:#x})"
    if kind == 1:
        return f"HD({number},MBR,{int.from_bytes(signature[:4], 'little'):#010x},{start:#x},{size:#x})"
    return f"HD({number},{kind},{signature.hex()},{start:#x},{size:#x})"


def _mac(body: bytes) -> str:
    address, kind = struct.unpack("<32sB", body)
    return f"MAC({address[: 6 if kind in (0, 1) else 32].hex()},{kind:#x})"


def _nvme(body: bytes) -> str:
    namespace, identifier = struct.unpack("<I8s", body)
    return f"NVMe({namespace:#x},{'-'.join(f'{octet:02X}' for octet in reversed(identifier))})"


def _vendor(name: str) -> Callable[[bytes], str]:
    """A GUID, and whatever its owner likes."""

    def shown(body: bytes) -> str:
        guid = UUID(bytes_le=body[:16])
        return f"{name}({guid}{',' + body[16 : 16 + _SHOWN_BYTES].hex() if body[16:] else ''})"

    return shown


def _ipv4(body: bytes) -> str:
    local, remote, _, _, protocol, static = struct.unpack_from("<4s4sHHHB", body)
    how = "Static" if static else "DHCP"
    return f"IPv4({ipaddress.IPv4Address(remote)},{protocol:#x},{how},{ipaddress.IPv4Address(local)})"


def _ipv6(body: bytes) -> str:
    local, remote, _, _, protocol, _ = struct.unpack_from("<16s16sHHHB", body)
    return f"IPv6({ipaddress.IPv6Address(remote)},{protocol:#x},{ipaddress.IPv6Address(local)})"


def _firmware_range(body: bytes) -> str:
    _, start, end = struct.unpack("<IQQ", body)
    return f"Offset({start:#x},{end:#x})"


def _ram_disk(body: bytes) -> str:
    start, end, kind, _ = struct.unpack("<QQ16sH", body)
    return f"RamDisk({start:#x},{end:#x},{UUID(bytes_le=kind)})"


def _bios_boot(body: bytes) -> str:
    device, _ = struct.unpack_from("<HH", body)
    return f"BBS({device:#x},{text(body[4:])})"


_NODES: Mapping[tuple[int, int], Callable[[bytes], str]] = {
    (1, 1): _pci,
    (1, 2): _numbers("PcCard", "B", hexadecimal=True),
    (1, 3): _numbers("MemoryMapped", "IQQ", hexadecimal=True),
    (1, 4): _vendor("VenHw"),
    (1, 5): _numbers("Ctrl", "I", hexadecimal=True),
    (2, 1): _acpi,
    (2, 3): lambda body: f"AcpiAdr({body[:4][::-1].hex()})",
    (3, 1): _numbers("Ata", "BBH"),
    (3, 2): _numbers("Scsi", "HH", hexadecimal=True),
    (3, 5): _numbers("USB", "BB", hexadecimal=True),
    (3, 10): _vendor("VenMsg"),
    (3, 11): _mac,
    (3, 12): _ipv4,
    (3, 13): _ipv6,
    (3, 17): _numbers("Unit", "B"),
    (3, 18): _numbers("Sata", "HHH", hexadecimal=True),
    (3, 20): lambda body: f"Vlan({struct.unpack('<H', body)[0]})",
    (3, 23): _nvme,
    (3, 24): lambda body: f"Uri({text(body)})",
    (3, 26): _numbers("SD", "B"),
    (3, 29): _numbers("eMMC", "B"),
    (3, 31): lambda body: "Dns(" + ",".join(_addresses(body)) + ")",
    (4, 1): _hard_drive,
    (4, 2): _numbers("CDROM", "IQQ", hexadecimal=True),
    (4, 3): _vendor("VenMedia"),
    (4, 4): text,
    (4, 5): _guid("Media"),
    (4, 6): _guid("FvFile"),
    (4, 7): _guid("Fv"),
    (4, 8): _firmware_range,
    (4, 9): _ram_disk,
    (5, 1): _bios_boot,
}


def _addresses(body: bytes) -> list[str]:
    size = 16 if body[0] else 4
    if len(body) % 16 != 1:
        raise ValueError("no whole addresses")
    return [str(ipaddress.ip_address(body[start : start + size])) for start in range(1, len(body), 16)]
