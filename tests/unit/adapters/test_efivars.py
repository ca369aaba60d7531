"""Secure Boot databases as files of efivarfs, and what a firmware makes of them."""

from __future__ import annotations

import errno
import fcntl
import os
from datetime import timedelta
from pathlib import Path

import pytest

from medvouch.adapters import efivars
from medvouch.adapters.efivars import SecureBootDatabase
from medvouch.errors import StorageFault
from medvouch.formats.secure_boot import APPENDING, REPLACING
from medvouch.update import refusals
from medvouch_sim import firmware_updates
from medvouch_sim.firmware import Machine
from medvouch_sim.fixtures import certificate_list
from medvouch_sim.secure_boot import forbidding, signed_update
from support.parts import SIGNED_AT
from support.refusing import assert_refused

LISTS = [forbidding(bytes(range(32)))]
APPENDED = signed_update("dbx", APPENDING, SIGNED_AT, LISTS)
REPLACED = signed_update("dbx", REPLACING, SIGNED_AT, LISTS)
LATER = signed_update("dbx", REPLACING, SIGNED_AT + timedelta(days=1), LISTS * 2)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.create(tmp_path / "disk")


def database(machine: Machine, attributes: int = APPENDING, name: str = "dbx") -> SecureBootDatabase:
    return SecureBootDatabase(machine.efivars, name, attributes, machine.directory / f"{name}.last")


def test_appended(machine: Machine) -> None:
    part, before = database(machine), machine.variable("dbx")
    assert b"".join(part.read()) == before
    part.store([APPENDED[:50], APPENDED[50:]])
    assert part.path.read_bytes() == APPENDING.to_bytes(4, "little") + APPENDED
    firmware_updates.take(machine)
    assert machine.variable("dbx") == part.value == before + LISTS[0].encode()
    part.store([APPENDED])
    assert part.value == machine.variable("dbx")


def test_replaced_and_never_by_something_older(machine: Machine) -> None:
    part = database(machine, REPLACING)
    part.store([REPLACED])
    part.store([REPLACED])  # the power went before the start that takes it
    firmware_updates.take(machine)
    assert part.value == LISTS[0].encode()
    part.store([LATER])
    firmware_updates.take(machine)
    assert_refused(refusals.SECURE_BOOT_UPDATE_OLD, part.store, [REPLACED])
    database(machine, APPENDING).store([APPENDED])
    assert_refused(refusals.SECURE_BOOT_UPDATE_OLD, part.store, [REPLACED])
    assert part.value == b"".join(each.encode() for each in LISTS * 2)


def test_what_the_firmware_does_not_take(machine: Machine) -> None:
    """This one cannot say so at the write; what was before stays, and the next boot measures that."""
    before = machine.variable("dbx")
    for refused in (
        signed_update("dbx", APPENDING, SIGNED_AT, LISTS, by="medvouch test db"),
        signed_update("db", APPENDING, SIGNED_AT, LISTS),
        signed_update("dbx", REPLACING, SIGNED_AT, LISTS),
    ):
        database(machine).store([refused])
        firmware_updates.take(machine)
        assert machine.variable("dbx") == database(machine).value == before


def test_what_a_firmware_refuses_at_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As efivarfs answers the write; there is none here."""

    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(efivars.os, "write", write)
    assert_refused(refusals.SECURE_BOOT_UPDATE_REFUSED, database(machine).store, [APPENDED])
    assert not (machine.directory / "dbx.last").exists()


def test_what_is_not_written_as_a_whole(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for write in (no_space, lambda descriptor, data: len(data) - 1):
        monkeypatch.setattr(efivars.os, "write", write)
        with pytest.raises(StorageFault, match="variable-not-written"):
            database(machine).store([APPENDED])


def test_malformed_is_not_written(machine: Machine) -> None:
    before = database(machine).path.read_bytes()
    assert_refused(refusals.SECURE_BOOT_UPDATE_MALFORMED, database(machine).store, [APPENDED[:-1]])
    assert database(machine).path.read_bytes() == before


def test_checked_and_not_written(machine: Machine) -> None:
    part, before = database(machine, REPLACING), database(machine).path.read_bytes()
    assert part.check([REPLACED]) == b""
    assert_refused(refusals.SECURE_BOOT_UPDATE_MALFORMED, part.check, [APPENDED[:-1]])
    assert (part.path.read_bytes(), part.memory.exists()) == (before, False)


def test_a_variable_that_is_not_there_yet(machine: Machine) -> None:
    database(machine).path.unlink()
    assert database(machine).value == b""
    database(machine).store([APPENDED])
    assert database(machine).path.read_bytes()[4:] == APPENDED


def test_another_database(machine: Machine) -> None:
    lists = [certificate_list("medvouch test db"), certificate_list("another")]
    database(machine, REPLACING, "db").store([signed_update("db", REPLACING, SIGNED_AT, lists)])
    firmware_updates.take(machine)
    assert machine.variable("db") == b"".join(each.encode() for each in lists)


def test_a_memory_that_says_nothing(machine: Machine) -> None:
    (machine.directory / "dbx.last").write_bytes(b"\xff yesterday")
    with pytest.raises(StorageFault, match="file-malformed"):
        database(machine, REPLACING).store([REPLACED])


def _immutable(path: Path, *, on: bool) -> bool:
    """Whether this file system, and this user, can set it so."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = bytearray(8)
        fcntl.ioctl(descriptor, 0x80086601, found)
        flags = int.from_bytes(found[:4], "little")
        flags = flags | 0x10 if on else flags & ~0x10
        fcntl.ioctl(descriptor, 0x40086602, flags.to_bytes(8, "little"))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def test_variables_that_linux_made_immutable(machine: Machine) -> None:
    path = database(machine).path
    if not _immutable(path, on=True):
        pytest.skip("this file system, or this user, makes no file immutable")
    try:
        with pytest.raises(PermissionError):
            path.write_bytes(b"")
        database(machine).store([APPENDED])
        assert path.read_bytes()[4:] == APPENDED
        with pytest.raises(PermissionError):
            path.write_bytes(b"")
    finally:
        _immutable(path, on=False)


def test_a_file_system_without_flags(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def ioctl(*_: object) -> int:
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    monkeypatch.setattr(efivars.fcntl, "ioctl", ioctl)
    database(machine).store([APPENDED])
    assert database(machine).path.read_bytes()[4:] == APPENDED
