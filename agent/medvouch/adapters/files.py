"""Files that survive power loss the next instant."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from medvouch.errors import MedvouchError, StorageFault


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write beside, fsync, rename over, fsync the folder, which is made if need be; StorageFault where that fails."""
    write_chunks_durably(path, [data], mode=mode)


def write_chunks_durably(path: Path, chunks: Iterable[bytes], *, mode: int = 0o644) -> None:
    """As `write_durably`, of what comes piece by piece; an error of `chunks` is raised and leaves what was there."""
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            for chunk in chunks:
                write_all(descriptor, chunk)
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
    except MedvouchError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def bounded(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """The chunks; StorageFault `component-too-large` before the one that makes more than `limit` bytes of them."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            remedy = "publish it smaller, or as an image for the slot"
            raise StorageFault("component-too-large", f"more than {limit} bytes", remedy=remedy)
        yield chunk


def read_chunks(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    """A plain file, `size` bytes at a time; nothing where there is none. No link is followed, and no pipe waited on.

    StorageFault `file-unreadable`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "no plain file")
            while chunk := os.read(descriptor, size):
                yield chunk
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return
    except OSError as error:
        remedy = "check path and permissions"
        raise StorageFault("file-unreadable", f"{path}: {error.strerror}", remedy=remedy) from error


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


def read_if_there(path: Path, limit: int) -> bytes | None:
    """As `read_bounded`; None where there is no such file."""
    try:
        return read_bounded(path, limit)
    except StorageFault as fault:
        if fault.code == "file-missing":
            return None
        raise


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
