"""Files that survive power loss the next instant."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from medvouch.errors import StorageFault


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write beside, fsync, rename over, fsync the folder, which is made if need be; StorageFault where that fails."""
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        remedy = "free space or mend the file system, then start again"
        raise StorageFault("file-not-written", f"{path}: {error.strerror}", remedy=remedy) from error


def remove_durably(path: Path) -> None:
    """Remove it, where it is there, and fsync the folder; StorageFault `file-not-written` where that fails."""
    try:
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        remedy = "mend the file system, then start again"
        raise StorageFault("file-not-written", f"{path}: {error.strerror}", remedy=remedy) from error


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """All of it, in as many calls as the system needs."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(path: Path) -> None:
    """The names in a folder are on the medium."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_bounded(path: Path, limit: int) -> bytes:
    """All of a file of at most `limit` bytes; StorageFault `file-missing`, `file-unreadable` or `file-too-large`.

    The stated size is not asked: files of securityfs say 0.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise StorageFault("file-missing", f"{path} does not exist", remedy="check the path") from error
    except OSError as error:
        remedy = "name a file" if isinstance(error, IsADirectoryError) else "check path and permissions"
        raise StorageFault("file-unreadable", f"{path}: {error.strerror}", remedy=remedy) from error
    if len(data) > limit:
        raise StorageFault("file-too-large", f"{path} is larger than {limit} bytes", remedy="name the right file")
    return data
