"""Boot options, partition tables and SBAT levels: round trips, truncations, and what is refused."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest

from medvouch.formats import boot_option, gpt, sbat
from medvouch.formats.boot_option import BootOption
from medvouch.formats.gpt import Partition, PartitionTable
from medvouch.formats.sbat import SbatEntry
from support.refusing import assert_input_refused
from support.truncation import assert_every_truncation_refused

GUID = UUID("a3a8baa0-1d04-a848-bc87-c36d121b5e3d")


def table(count: int = 1, signature: bytes = b"EFI PART", entry_size: int = 128) -> bytes:
    head = struct.pack("<8s4I4Q16sQ3I", signature, 1, 92, 0, 0, 1, 9, 2, 8, GUID.bytes_le, 2, 128, entry_size, 0)
    entry = struct.pack("<16s16sQQQ72s", GUID.bytes_le, GUID.bytes_le, 34, 99, 4, "ESP".encode("utf-16-le"))
    return head + struct.pack("<Q", count) + entry


def test_partition_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    found = PartitionTable.parse(table())
    assert found == PartitionTable(GUID, (Partition(GUID, GUID, 34, 99, 4, "ESP"),))
    assert_every_truncation_refused(PartitionTable.parse, table())
    assert_input_refused("uefi-trailing", PartitionTable.parse, table() + b"x")
    assert_input_refused("uefi-malformed", PartitionTable.parse, table(signature=b"EFI part"))
    assert_input_refused("uefi-malformed", PartitionTable.parse, table(entry_size=256))
    assert_input_refused("uefi-limit", PartitionTable.parse, table(gpt.MAX_PARTITIONS + 1))
    assert_input_refused("uefi-limit", PartitionTable.parse, table(1 << 60))


def test_boot_options(monkeypatch: pytest.MonkeyPatch) -> None:
    option = BootOption(1, "Disk", b"\x7f\xff\4\0", b"")
    assert BootOption.parse(option.encode()) == option
    assert_every_truncation_refused(BootOption.parse, option.encode())
    lone = option.encode().replace("D".encode("utf-16-le"), b"\0\xd8", 1)
    assert_input_refused("uefi-malformed", BootOption.parse, lone)
    monkeypatch.setattr(boot_option, "MAX_DESCRIPTION_CHARS", 3)
    assert_input_refused("uefi-limit", BootOption.parse, option.encode())


def test_sbat_levels() -> None:
    level = b"sbat,1,2024010900\nshim,4\r\n\ngrub,3,Free Software Foundation,grub,2.06\n\0"
    more = ("Free Software Foundation", "grub", "2.06")
    assert sbat.parse(level) == (
        SbatEntry("sbat", 1, ("2024010900",)),
        SbatEntry("shim", 4),
        SbatEntry("grub", 3, more),
    )
    assert sbat.parse(b"") == ()
    for broken in (b"shim", b"shim,x", b",1", b"sh im,1", b"shim,-1", b"shim," + b"1" * 11, b"shim,1,\xff"):
        assert_input_refused("sbat-malformed", sbat.parse, broken)
    assert_input_refused("sbat-limit", sbat.parse, b"a,1\n" * sbat.MAX_LINES)
    assert_input_refused("sbat-limit", sbat.parse, bytes(sbat.MAX_BYTES + 1))
