"""A disk's partition table as firmware measures it: UEFI_GPT_DATA (PFP 1.06, section 10.2.5; UEFI 2.10, section 5.3).

    header    "EFI PART" | revision u32 | header size u32 | CRC u32 | reserved u32 | own, other, first, last block u64 |
              disk GUID [16] | entries' block u64 | entries u32 | entry size u32 | CRC u32           = 92 bytes
    then      number u64 of used entries | that many entries
    entry     type GUID [16] | GUID [16] | first block u64 | last block u64 | attributes u64 | name UTF-16 [72]

Integers are little endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from medvouch.formats.cursor import Cursor

FORMAT = "uefi"
MAX_PARTITIONS = 128
"""What the specification reserves room for, and tools make."""

_SIGNATURE = b"EFI PART"
_HEADER = struct.Struct("<8s4I4Q16sQ3I")
_ENTRY = struct.Struct("<16s16sQQQ72s")


@dataclass(frozen=True)
class Partition:
    """One used entry; blocks are inclusive."""

    type: UUID
    guid: UUID
    first_block: int
    last_block: int
    attributes: int
    name: str


@dataclass(frozen=True)
class PartitionTable:
    """Disk GUID and used entries, in their order."""

    disk: UUID
    partitions: tuple[Partition, ...]

    @classmethod
    def parse(cls, data: bytes) -> PartitionTable:
        """The data of an EV_EFI_GPT_EVENT; raises InputError `uefi-*`."""
        cursor = Cursor(data, FORMAT, byteorder="little")
        header = _HEADER.unpack(cursor.take(_HEADER.size))
        signature, disk, entry_size = header[0], header[9], header[12]
        if signature != _SIGNATURE or entry_size != _ENTRY.size:
            cursor.fail("malformed", f"no partition table, or one with entries of {entry_size} bytes")
        partitions = tuple(_partition(cursor) for _ in range(cursor.count(8, MAX_PARTITIONS)))
        cursor.done()
        return cls(UUID(bytes_le=disk), partitions)


def _partition(cursor: Cursor) -> Partition:
    kind, guid, first, last, attributes, name = _ENTRY.unpack(cursor.take(_ENTRY.size))
    shown = name.decode("utf-16-le", "replace").partition("\0")[0]
    return Partition(UUID(bytes_le=kind), UUID(bytes_le=guid), first, last, attributes, shown)
