"""Events in words: each form that firmware, shim, GRUB and systemd give their data, and data that is of none."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest

from medvouch.formats import uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.boot_option import BootOption
from medvouch.formats.event_text import describe, title
from medvouch.formats.eventlog import Event, EventType
from medvouch.formats.uefi import GLOBAL_VARIABLE, ImageLoad, SignatureList, TaggedEvent, Variable

OWNER = UUID("a3a8baa0-1d04-a848-bc87-c36d121b5e3d")
FILE = "\\EFI\\BOOT\\BOOTX64.EFI\0".encode("utf-16-le")
PATH = b"\4\4" + (4 + len(FILE)).to_bytes(2, "little") + FILE + b"\x7f\xff\4\0"
DATABASE = SignatureList(uefi.CERT_X509, b"", 20, ((OWNER, b"cert"),)).encode() * 2
HASHES = SignatureList(uefi.CERT_SHA256, b"", 48, ((OWNER, b"1" * 32), (OWNER, b"2" * 32))).encode()
OTHER = SignatureList(OWNER, b"", 16, ((OWNER, b""),)).encode()
OPTION = BootOption(1, "Disk", PATH, b"x")
SMBIOS = UUID("f2fd1544-9794-4a2c-992e-e5bbcf20e394").bytes_le + struct.pack("<Q", 0x1000)
HEADER = struct.pack("<8s4I4Q16sQ3I", b"EFI PART", 1, 92, 0, 0, 1, 9, 2, 8, OWNER.bytes_le, 2, 128, 128, 0)
ENTRY = struct.pack("<16s16sQQQ72s", OWNER.bytes_le, OWNER.bytes_le, 34, 99, 0, "ESP".encode("utf-16-le"))
TABLE = HEADER + struct.pack("<Q", 1) + ENTRY
INACTIVE = b"\0" + OPTION.encode()[1:]
FILE_TEXT = "\\EFI\\BOOT\\BOOTX64.EFI"
MANIFEST = b"SP800-155 Event\0" + b"\1\0\0\0" + OWNER.bytes_le
SHIM = Variable(uefi.SHIM_LOCK, "Shim", b"certificate").encode()


def variable(name: str, value: bytes) -> bytes:
    return Variable(GLOBAL_VARIABLE, name, value).encode()


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (EventType.EV_S_CRTM_VERSION, "v1\0".encode("utf-16-le"), "v1"),
        (EventType.EV_SEPARATOR, bytes(4), ""),
        (EventType.EV_SEPARATOR, b"WBCL", "WBCL"),
        (EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("SecureBoot", b"\1"), "SecureBoot = 01"),
        (EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("db", DATABASE + HASHES), "db = 2 X.509, 2 SHA-256"),
        (EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("dbx", OTHER), f"dbx = 1 {OWNER}"),
        (EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("db", bytes(17)), "db = 17 bytes"),
        (EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("KEK", b""), "KEK = "),
        (EventType.EV_EFI_VARIABLE_BOOT, b"\xff\xfe", "fffe"),
        (EventType.EV_EFI_VARIABLE_BOOT, variable("BootOrder", b"\1\0\2\0"), "BootOrder = 0001, 0002"),
        (EventType.EV_EFI_VARIABLE_BOOT, variable("BootOrder", b"\1\0\2"), "BootOrder = 010002"),
        (EventType.EV_EFI_VARIABLE_BOOT2, variable("Boot0001", OPTION.encode()), f"Boot0001 = Disk: {FILE_TEXT}"),
        (EventType.EV_EFI_VARIABLE_BOOT, variable("Boot0001", INACTIVE), f"Boot0001 = Disk: {FILE_TEXT} (not active)"),
        (EventType.EV_EFI_VARIABLE_AUTHORITY, variable("db", OWNER.bytes_le + b"cert"), f"db: 4 bytes of {OWNER}"),
        (EventType.EV_EFI_VARIABLE_AUTHORITY, SHIM, "Shim = " + b"certificate".hex()),
        (EventType.EV_EFI_VARIABLE_AUTHORITY, SHIM + bytes(6), "Shim = " + b"certificate".hex()),
        (
            EventType.EV_EFI_VARIABLE_AUTHORITY,
            Variable(uefi.SHIM_LOCK, "SbatLevel", b"sbat,1,2024010900\nshim,4\n").encode(),
            "SbatLevel = sbat 1, shim 4",
        ),
        (EventType.EV_EFI_BOOT_SERVICES_APPLICATION, ImageLoad(0, 9, 0, PATH).encode(), "\\EFI\\BOOT\\BOOTX64.EFI"),
        (EventType.EV_EFI_BOOT_SERVICES_DRIVER, ImageLoad(0, 9, 0, b"").encode(), "9 bytes without a device path"),
        (EventType.EV_EVENT_TAG, TaggedEvent(5, b"Linux initrd\0").encode(), "0x00000005 Linux initrd"),
        (EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB, b"\1" + bytes(7) + b"\2" + bytes(7), "0x2 bytes at 0x1"),
        (EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2, b"\3rom" + b"\1" + bytes(15), "rom: 0x0 bytes at 0x1"),
        (EventType.EV_POST_CODE, b"POST CODE", "POST CODE"),
        (EventType.EV_POST_CODE, b"\1" + bytes(7) + b"\2" + bytes(7), "0x2 bytes at 0x1"),
        (EventType.EV_POST_CODE2, b"\4BIOS" + b"\1" + bytes(15), "BIOS: 0x0 bytes at 0x1"),
        (EventType.EV_EFI_HANDOFF_TABLES, struct.pack("<Q", 1) + SMBIOS, "SMBIOS 3 at 0x1000"),
        (EventType.EV_EFI_HANDOFF_TABLES2, b"\1T" + struct.pack("<Q", 1) + SMBIOS, "T: SMBIOS 3 at 0x1000"),
        (EventType.EV_EFI_HANDOFF_TABLES, struct.pack("<Q", 65) + SMBIOS, (struct.pack("<Q", 65) + SMBIOS).hex()),
        (EventType.EV_EFI_GPT_EVENT, TABLE, f"disk {OWNER}: ESP"),
        (EventType.EV_EFI_GPT_EVENT, HEADER + bytes(8), f"disk {OWNER}: no partitions"),
        (EventType.EV_NO_ACTION, b"StartupLocality\0\3", "TPM2_Startup from locality 3"),
        (EventType.EV_NO_ACTION, MANIFEST, f"reference manifest {OWNER} of vendor 1"),
        (EventType.EV_NO_ACTION, b"Vendor Event\0\0\0\0" + b"more", "Vendor Event more"),
        (EventType.EV_NO_ACTION, b"Vendor Event\0\0\0\0", "Vendor Event"),
        (EventType.EV_NO_ACTION, b"\1\2\3", "010203"),
        (EventType.EV_IPL, b"grub_cmd: \x1b[31m\0", "677275625f636d643a201b5b33316d"),
        (EventType.EV_IPL, b"MokList\0\xaf", "MokList"),
        (EventType.EV_IPL, ".linux\0".encode("utf-16-le"), ".linux"),
        (EventType.EV_IPL, b"two\nlines", "two\\nlines"),
        (0x12345, b"x" * 300, "x" * 240 + "..."),
    ],
)  # fmt: skip
def test_describe(kind: int, data: bytes, expected: str) -> None:
    assert describe(Event(1, 0, kind, {HashAlg.SHA1: bytes(20)}, data, 0)) == expected


def test_titles() -> None:
    assert title(Event(3, 0, EventType.EV_SEPARATOR, {}, bytes(4), 0)) == "event 3 EV_SEPARATOR"
    assert title(Event(4, 0, EventType.EV_ACTION, {}, b"go", 0)) == "event 4 EV_ACTION: go"
