"""The harness itself: it finds what a careless writer may lose, and nothing to find with a careful one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from medvouch.adapters.files import write_durably
from medvouch.adapters.slots import FileSlots
from medvouch.adapters.store import SqliteStore
from support.crashes import Recording

OLD, NEW = b"old" * 3000, b"new" * 3000


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    root = tmp_path / "disk"
    root.mkdir()
    (tmp_path / "tpm").mkdir()
    (root / "file").write_bytes(OLD)
    SqliteStore(root / "state.db").close()
    return root


def recording(disk: Path) -> Recording:
    return Recording(disk, disk / "state.db", disk.parent / "tpm")


def left(disk: Path, write: Callable[[Path], None], *fat: str) -> set[bytes | None]:
    """What may stand in `file` after a power cut."""
    record = recording(disk)
    record.fat = fat
    with record.recorded():
        write(disk / "file")
    return {crash.files.get("file") for crash in record.crashes()}


def test_a_careful_writer_leaves_old_or_new(disk: Path) -> None:
    assert left(disk, lambda path: write_durably(path, NEW)) == {OLD, NEW}


def test_on_fat_even_a_careful_writer_may_leave_nothing(disk: Path) -> None:
    """A rename replaces in steps: neither name is there between them."""
    assert left(disk, lambda path: write_durably(path, NEW), ".") == {OLD, NEW, None}


def test_a_writer_that_forgets_the_fsync_leaves_less(disk: Path) -> None:
    def careless(path: Path) -> None:
        descriptor = os.open(path.with_name("beside"), os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, NEW)
        os.close(descriptor)
        path.with_name("beside").replace(path)

    found = left(disk, careless)
    assert {b"", OLD, NEW, NEW[:4096]} <= found
    assert NEW[:4096] + bytes(4096) + NEW[8192:] in found  # a page in the middle, lost


def test_writing_over_it_leaves_any_mixture(disk: Path) -> None:
    def careless(path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY)
        os.write(descriptor, NEW)
        os.fsync(descriptor)
        os.close(descriptor)

    assert len(left(disk, careless)) > 8


def test_every_subset_where_it_is_asked_for(disk: Path) -> None:
    record = recording(disk)
    with record.recorded():
        descriptor = os.open(disk / "file", os.O_WRONLY | os.O_TRUNC)
        for number in range(8):
            os.write(descriptor, bytes([number + 1]) * 4096)
        os.close(descriptor)
    pages = {
        tuple(crash.files["file"][at : at + 1] not in (b"", b"\0") for at in range(0, 8 * 4096, 4096))
        for crash in record.crashes(9)
        if crash.files["file"][:1] != b"o"
    }
    assert len(pages) == 256
    assert len(record.crashes()) < len(record.crashes(9))


def test_a_removal_counts_once_its_folder_is_synced(disk: Path) -> None:
    assert left(disk, lambda path: path.unlink()) == {OLD, None}


def test_transactions_are_durable_one_by_one(disk: Path) -> None:
    record = recording(disk)
    with record.recorded():
        store = SqliteStore(disk / "state.db")
        store.put({"a": b"1"})
        store.put({"a": b"2"})
        store.close()
    found = set()
    for crash in record.crashes():
        (disk.parent / "copy.db").write_bytes(crash.database)
        copy = SqliteStore(disk.parent / "copy.db")
        found.add(copy.get("a"))
        copy.close()
    assert found == {None, b"1", b"2"}


def test_the_disk_is_put_back(disk: Path) -> None:
    record = recording(disk)
    with record.recorded():
        write_durably(disk / "folder" / "file", NEW)
    for crash in record.crashes():
        record.restore(crash)
        found = {str(path.relative_to(disk)): path.read_bytes() for path in disk.rglob("*") if path.is_file()}
        assert found.pop("state.db") == crash.database
        assert found == crash.files


def test_slots_are_followed(disk: Path) -> None:
    slots = FileSlots.create(disk / "slots", [OLD], 1 << 20)
    record = recording(disk)
    record.fat = ("slots",)
    with record.recorded():
        slots.write("b", [NEW])
        slots.activate("b")
        slots.start_next()
        slots.confirm()
        slots.retire("a")
    found = set()
    for crash in record.crashes():
        record.restore(crash)
        left = slots.record()
        found.add((left.states["b"], left.armed, left.running, left.default))
        assert crash.files[f"slots/{left.default}.img"] == {"a": OLD, "b": NEW}[left.default]
        if left.states["b"] != "empty":
            assert crash.files["slots/b.img"] == NEW
    assert found == {
        ("empty", None, "a", "a"), ("written", None, "a", "a"), ("written", "b", "a", "a"), ("written", None, "b", "a"),
        ("good", None, "b", "b"),
    }  # fmt: skip
