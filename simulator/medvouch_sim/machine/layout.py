"""The gateway's disk: a GPT (UEFI 2.10, 5.3) with an ESP, two slots of root and verity tree, and a data partition.

    LBA 0 protective MBR | 1 header | 2-33 entries | 2048 the partitions, 1 MiB aligned | ... | entries | header

What a slot holds is named by its partitions' identifiers: the verity root hash, first half for the root, second half
for its tree (systemd-veritysetup-generator(8)). One signed kernel image finds its root in either slot.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

SECTOR = 512
ALIGNMENT = 1 << 20
MAX_ENTRIES = 128
ROOT_HASH_BYTES = 32

ESP_TYPE = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
ROOT_TYPE = UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
"""Root partition of amd64, and the next one of its verity tree (UAPI group, Discoverable Partitions)."""
VERITY_TYPE = UUID("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5")
DATA_TYPE = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
READ_ONLY, NO_AUTO = 1 << 60, 1 << 63
"""Attributes of slots: never written by who mounts them, never found by who looks for partitions to mount."""

_ENTRY = struct.Struct("<16s16s3Q72s")
_HEADER = struct.Struct("<8s4I4Q16sQ3I")
_REVISION = 0x00010000
_TABLE_SECTORS = MAX_ENTRIES * _ENTRY.size // SECTOR


@dataclass(frozen=True)
class Partition:
    """One partition, in sectors; `last` belongs to it."""

    name: str
    type: UUID
    id: UUID
    first: int
    last: int
    attributes: int = 0

    @property
    def offset(self) -> int:
        """Where it begins, in bytes."""
        return self.first * SECTOR

    @property
    def size(self) -> int:
        """In bytes."""
        return (self.last - self.first + 1) * SECTOR

    def encode(self) -> bytes:
        """Its entry in the table."""
        name = self.name.encode("utf-16-le")
        return _ENTRY.pack(self.type.bytes_le, self.id.bytes_le, self.first, self.last, self.attributes, name)


@dataclass(frozen=True)
class Sizes:
    """Of the partitions, in bytes, each a multiple of ALIGNMENT."""

    esp: int = 96 << 20
    root: int = 256 << 20
    verity: int = 8 << 20
    data: int = 64 << 20


@dataclass(frozen=True)
class Disk:
    """A disk of `sectors` with its partitions, in the order of the table."""

    id: UUID
    sectors: int
    partitions: tuple[Partition, ...]

    def __getitem__(self, name: str) -> Partition:
        return next(each for each in self.partitions if each.name == name)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.sectors * SECTOR

    def header(self) -> bytes:
        """The primary header, without the rest of its sector."""
        return self._header(1, self.sectors - 1, 2)

    def head(self) -> bytes:
        """What the disk begins with: protective MBR, header, entries."""
        return self._protective_mbr() + self.header().ljust(SECTOR, b"\0") + self._entries()

    def tail(self) -> bytes:
        """What it ends with: the entries again and the backup header."""
        entries_at = self.sectors - 1 - _TABLE_SECTORS
        return self._entries() + self._header(self.sectors - 1, 1, entries_at).ljust(SECTOR, b"\0")

    def measured(self) -> bytes:
        """UEFI_GPT_DATA, as firmware measures it into PCR 5 (PFP 10.4.4): header, count u64, the entries in use."""
        entries = [each.encode() for each in self.partitions]
        return self.header() + struct.pack("<Q", len(entries)) + b"".join(entries)

    def _entries(self) -> bytes:
        return b"".join(each.encode() for each in self.partitions).ljust(MAX_ENTRIES * _ENTRY.size, b"\0")

    def _header(self, here: int, other: int, entries_at: int) -> bytes:
        usable = 2 + _TABLE_SECTORS, self.sectors - 2 - _TABLE_SECTORS

        def packed(checksum: int) -> bytes:
            return _HEADER.pack(
                b"EFI PART", _REVISION, _HEADER.size, checksum, 0, here, other, *usable, self.id.bytes_le,
                entries_at, MAX_ENTRIES, _ENTRY.size, zlib.crc32(self._entries()),
            )  # fmt: skip

        return packed(zlib.crc32(packed(0)))

    def _protective_mbr(self) -> bytes:
        record = struct.pack("<B3sB3s2I", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(self.sectors - 1, 0xFFFFFFFF))
        return (bytes(446) + record).ljust(510, b"\0") + b"\x55\xaa"


def slot_ids(root_hash: bytes) -> tuple[UUID, UUID]:
    """Identifiers of the root partition and of the partition with its verity tree."""
    if len(root_hash) != ROOT_HASH_BYTES:
        raise ValueError(f"a root hash of {len(root_hash)} bytes where {ROOT_HASH_BYTES} are wanted")
    return UUID(bytes=root_hash[:16]), UUID(bytes=root_hash[16:])


def lay_out(slots: Sequence[bytes], sizes: Sizes | None = None) -> Disk:
    """The disk whose slots a and b hold the roots with these hashes; a slot that holds none is named after its place.

    Disk, ESP and data partition have the same identifiers in all gateways: they are measured (PCRs 1 and 5).
    """
    sizes = sizes or Sizes()
    wanted = [("esp", ESP_TYPE, _fixed(2), sizes.esp, 0)]
    for number, letter in enumerate("ab"):
        root, tree = (
            slot_ids(slots[number]) if number < len(slots) else (_fixed(8 + 2 * number), _fixed(9 + 2 * number))
        )
        attributes = READ_ONLY | NO_AUTO
        wanted.append((f"root-{letter}", ROOT_TYPE, root, sizes.root, attributes))
        wanted.append((f"verity-{letter}", VERITY_TYPE, tree, sizes.verity, attributes))
    wanted.append(("data", DATA_TYPE, _fixed(3), sizes.data, NO_AUTO))
    partitions, offset = [], ALIGNMENT
    for name, kind, identifier, size, attributes in wanted:
        if size <= 0 or size % ALIGNMENT:
            raise ValueError(f"{name} of {size} bytes is no multiple of {ALIGNMENT}")
        first, offset = offset // SECTOR, offset + size
        partitions.append(Partition(name, kind, identifier, first, offset // SECTOR - 1, attributes))
    return Disk(_fixed(1), (offset + ALIGNMENT) // SECTOR, tuple(partitions))


def _fixed(number: int) -> UUID:
    return UUID(f"6d656476-6f75-8000-8000-{number:012x}")
