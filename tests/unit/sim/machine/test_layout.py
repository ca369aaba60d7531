"""The disk's partition table: where slots lie, what names them, and what firmware measures of it."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from uuid import UUID

import pytest

from medvouch_sim.machine.layout import ALIGNMENT, SECTOR, Disk, Sizes, lay_out, slot_ids

HASH, OTHER = bytes(range(32)), bytes(range(32, 64))
SIZES = Sizes(esp=4 << 20, root=3 << 20, verity=1 << 20, data=2 << 20)
HEADER = struct.Struct("<8s4I4Q16sQ3I")
SFDISK = shutil.which("sfdisk", path="/usr/sbin:/sbin:/usr/bin:/bin")


def _disk(*slots: bytes) -> Disk:
    return lay_out(slots, SIZES)


def test_a_slot_is_named_by_the_two_halves_of_its_root_hash() -> None:
    disk = _disk(HASH, OTHER)
    assert disk["root-a"].id == UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")
    assert disk["verity-a"].id == UUID("10111213-1415-1617-1819-1a1b1c1d1e1f")
    assert (disk["root-b"].id, disk["verity-b"].id) == slot_ids(OTHER)


def test_a_root_hash_of_another_length_is_no_name() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        slot_ids(HASH[:31])


def test_all_else_is_named_the_same_on_every_disk() -> None:
    one, other = _disk(HASH), _disk(OTHER)
    changed = {a.name for a, b in zip(one.partitions, other.partitions, strict=True) if a.id != b.id}
    assert changed == {"root-a", "verity-a"}
    assert one.id == other.id
    assert len({each.id for each in one.partitions}) == len(one.partitions)


def test_partitions_are_aligned_and_do_not_overlap() -> None:
    disk = _disk(HASH)
    end = 0
    for each in disk.partitions:
        assert each.offset % ALIGNMENT == 0
        assert each.offset >= max(end, ALIGNMENT)
        end = each.offset + each.size
    assert end + len(disk.tail()) <= disk.size
    assert [each.size for each in disk.partitions] == [4 << 20, 3 << 20, 1 << 20, 3 << 20, 1 << 20, 2 << 20]


@pytest.mark.parametrize("size", [0, -ALIGNMENT, ALIGNMENT + 1])
def test_sizes_are_multiples_of_the_alignment(size: int) -> None:
    with pytest.raises(ValueError, match="data of"):
        lay_out([HASH], Sizes(data=size))


def test_what_is_measured_is_header_count_and_the_entries_in_use() -> None:
    disk = _disk(HASH)
    measured, head = disk.measured(), disk.head()
    assert measured[: HEADER.size] == head[SECTOR : SECTOR + HEADER.size]
    assert measured[HEADER.size : HEADER.size + 8] == struct.pack("<Q", 6)
    assert measured[HEADER.size + 8 :] == head[2 * SECTOR : 2 * SECTOR + 6 * 128]


def test_both_headers_name_each_other_and_their_checksums_hold() -> None:
    disk = _disk(HASH)
    whole = disk.head().ljust(disk.size - len(disk.tail()), b"\0") + disk.tail()
    for here, there in ((1, disk.sectors - 1), (disk.sectors - 1, 1)):
        header = whole[here * SECTOR : here * SECTOR + HEADER.size]
        fields = HEADER.unpack(header)
        assert fields[5:7] == (here, there)
        blank = header[:16] + bytes(4) + header[20:]
        entries = whole[fields[10] * SECTOR : fields[10] * SECTOR + 128 * 128]
        assert (fields[3], fields[13]) == (zlib.crc32(blank), zlib.crc32(entries))


@pytest.mark.skipif(SFDISK is None, reason="sfdisk is not installed (Debian: fdisk)")
def test_sfdisk_reads_the_same(tmp_path: Path) -> None:
    disk, image = _disk(HASH), tmp_path / "disk"
    image.write_bytes(disk.head().ljust(disk.size - len(disk.tail()), b"\0") + disk.tail())
    assert SFDISK is not None
    said = subprocess.run([SFDISK, "--dump", image], capture_output=True, text=True, check=True)
    assert said.stderr == ""
    found = re.findall(r"start= *(\d+), size= *(\d+), type=([^,]+), uuid=([^,]+), name=\"([^\"]+)\"", said.stdout)
    expected = [
        (str(p.first), str(p.size // SECTOR), str(p.type).upper(), str(p.id).upper(), p.name) for p in disk.partitions
    ]
    assert found == expected
