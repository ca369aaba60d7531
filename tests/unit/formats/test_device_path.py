"""Device paths as text: every kind of node, and what is none."""

from __future__ import annotations

from uuid import UUID

import pytest

from medvouch.errors import InputError
from medvouch.formats import device_path
from medvouch.formats.device_path import device_path_text
from support.refusing import assert_input_refused

GUID = UUID("a3a8baa0-1d04-a848-bc87-c36d121b5e3d")
END = b"\x7f\xff\4\0"


def node(kind: int, subtype: int, body: bytes = b"") -> bytes:
    return bytes((kind, subtype)) + (4 + len(body)).to_bytes(2, "little") + body


def drive(kind: int) -> bytes:
    return node(4, 1, b"\2\0\0\0" + b"\0\10" + bytes(6) + b"\0\20" + bytes(6) + GUID.bytes_le + bytes((2, kind)))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (node(2, 1, b"\xd0\x41\x03\x0a" + bytes(4)) + node(1, 1, b"\0\x1f"), "PciRoot(0x0)/Pci(0x1f,0x0)"),
        (node(2, 1, b"\xd0\x41\x08\x0a" + b"\1\0\0\0"), "PcieRoot(0x1)"),
        (node(2, 1, b"\xd0\x41\x01\x05" + bytes(4)), "Acpi(PNP0501,0x0)"),
        (node(2, 1, bytes(8)), "Acpi(0x00000000,0x0)"),
        (node(2, 3, b"\1\0\0\x80"), "AcpiAdr(80000001)"),
        (node(1, 2, b"\1"), "PcCard(0x1)"),
        (node(1, 3, bytes(4) + b"\1" + bytes(7) + b"\2" + bytes(7)), "MemoryMapped(0x0,0x1,0x2)"),
        (node(1, 4, GUID.bytes_le + b"\1"), f"VenHw({GUID},01)"),
        (node(1, 5, b"\3\0\0\0"), "Ctrl(0x3)"),
        (node(3, 1, b"\1\0\0\0"), "Ata(1,0,0)"),
        (node(3, 2, b"\1\0\2\0"), "Scsi(0x1,0x2)"),
        (node(3, 5, b"\1\2"), "USB(0x1,0x2)"),
        (node(3, 10, GUID.bytes_le), f"VenMsg({GUID})"),
        (node(3, 11, b"\x52\x54" + bytes(30) + b"\1"), "MAC(525400000000,0x1)"),
        (node(3, 12, bytes((10, 0, 0, 2, 10, 0, 0, 1)) + bytes(4) + b"\6\0\0"), "IPv4(10.0.0.1,0x6,DHCP,10.0.0.2)"),
        (node(3, 12, bytes(12) + b"\6\0\1" + bytes(8)), "IPv4(0.0.0.0,0x6,Static,0.0.0.0)"),
        (node(3, 13, bytes(15) + b"\1" + bytes(15) + b"\2" + bytes(4) + b"\6\0\0"), "IPv6(::2,0x6,::1)"),
        (node(3, 17, b"\1"), "Unit(1)"),
        (node(3, 18, b"\0\0\xff\xff\0\0"), "Sata(0x0,0xffff,0x0)"),
        (node(3, 20, b"\5\0"), "Vlan(5)"),
        (node(3, 23, b"\1\0\0\0" + bytes(range(8))), "NVMe(0x1,07-06-05-04-03-02-01-00)"),
        (node(3, 24, b"http://a/b.efi"), "Uri(http://a/b.efi)"),
        (node(3, 26, b"\1") + node(3, 29, b"\1"), "SD(1)/eMMC(1)"),
        (node(3, 31, b"\0" + bytes((10, 0, 0, 1)) + bytes(12)), "Dns(10.0.0.1)"),
        (node(3, 31, b"\1" + bytes(15) + b"\1"), "Dns(::1)"),
        (drive(2), f"HD(2,GPT,{GUID},0x800,0x1000)"),
        (drive(1), "HD(2,MBR,0xa3a8baa0,0x800,0x1000)"),
        (drive(0), f"HD(2,0,{GUID.bytes_le.hex()},0x800,0x1000)"),
        (node(4, 2, bytes(4) + b"\1" + bytes(7) + b"\2" + bytes(7)), "CDROM(0x0,0x1,0x2)"),
        (node(4, 3, GUID.bytes_le + b"hello"), f"VenMedia({GUID},68656c6c6f)"),
        (node(4, 4, "\\a\0".encode("utf-16-le")), "\\a"),
        (node(4, 5, GUID.bytes_le), f"Media({GUID})"),
        (node(4, 7, GUID.bytes_le) + node(4, 6, GUID.bytes_le), f"Fv({GUID})/FvFile({GUID})"),
        (node(4, 8, bytes(4) + b"\1" + bytes(7) + b"\2" + bytes(7)), "Offset(0x1,0x2)"),
        (node(4, 9, b"\1" + bytes(7) + b"\2" + bytes(7) + GUID.bytes_le + b"\0\0"), f"RamDisk(0x1,0x2,{GUID})"),
        (node(5, 1, b"\2\0\0\0disk\0"), "BBS(0x2,disk)"),
        (node(3, 6, b"?"), "Path(3,6,3f)"),
        (node(4, 1, b"short"), "Path(4,1,73686f7274)"),
        (node(3, 31, b""), "Path(3,31,)"),
        (node(3, 31, b"\0\1"), "Path(3,31,0001)"),
        (node(1, 1, b"\1\2") + b"\x7f\1\4\0" + node(1, 1, b"\1\3") + END + b"ignored", "Pci(0x2,0x1),Pci(0x3,0x1)"),
        (b"", ""),
    ],
)
def test_nodes(data: bytes, expected: str) -> None:
    assert device_path_text(data) == expected


def test_paths_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_input_refused("uefi-truncated", device_path_text, b"\1\1\3\0")  # smaller than its own head
    whole = drive(2)
    for size in range(1, len(whole)):
        with pytest.raises(InputError):
            device_path_text(whole[:size])
    monkeypatch.setattr(device_path, "MAX_NODES", 2)
    device_path_text(node(1, 1) + END)
    assert_input_refused("uefi-limit", device_path_text, node(1, 1) * 3)
