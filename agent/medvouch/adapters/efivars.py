"""Secure Boot databases as Linux' efivarfs has them: a file NAME-GUID of attributes, 4 bytes, and the value.

A signed change is written as one file of its attributes and all of it, in one write; the firmware takes it or refuses
it at once. What is in force is read back from there.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from medvouch.adapters.files import bounded, read_if_there, write_durably
from medvouch.errors import Refusal, StorageFault
from medvouch.formats.secure_boot import MAX_UPDATE_BYTES, SignedUpdate
from medvouch.formats.uefi import IMAGE_SECURITY_DATABASE
from medvouch.update import refusals
from medvouch.update.secure_boot import check_update, in_force

_ATTRIBUTES = struct.Struct("<I")
_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
"""ioctl_iflags(2): Linux makes all variables immutable that it does not know to be harmless."""
_REFUSED = {errno.EACCES, errno.EINVAL, errno.EROFS}
"""What efivarfs makes of EFI_SECURITY_VIOLATION, EFI_INVALID_PARAMETER and EFI_WRITE_PROTECTED."""
_MAX_MEMORY_BYTES = 128


@dataclass(frozen=True)
class SecureBootDatabase:
    """The variable `name` in `folder`, written with `attributes`.

    `memory` is a file that remembers the last change: the firmware tells nobody its time.
    """

    folder: Path
    name: str
    attributes: int
    memory: Path

    @property
    def path(self) -> Path:
        """The variable."""
        return self.folder / f"{self.name}-{IMAGE_SECURITY_DATABASE}"

    def store(self, chunks: Iterable[bytes]) -> None:
        """Have the firmware take the change; nothing where it is in force.

        Raises as `check`, and Refusal `secure-boot-update-refused`.
        """
        data, update = self._checked(chunks)
        if not in_force(self.value, update, self.attributes):
            self._write(_ATTRIBUTES.pack(self.attributes) + data)
        self._remember(data, update)

    def check(self, chunks: Iterable[bytes]) -> bytes:
        """Raises Refusal `secure-boot-update-malformed`, `secure-boot-update-old`; StorageFault."""
        self._checked(chunks)
        return b""

    def _checked(self, chunks: Iterable[bytes]) -> tuple[bytes, SignedUpdate]:
        data = b"".join(bounded(chunks, MAX_UPDATE_BYTES))
        return data, check_update(data, self.attributes, self._last(data), self.name)

    @property
    def value(self) -> bytes:
        """What is in force; empty where there is no such variable."""
        return (read_if_there(self.path, _ATTRIBUTES.size + MAX_UPDATE_BYTES) or b"")[_ATTRIBUTES.size :]

    def read(self) -> Iterator[bytes]:
        """What is in force."""
        yield self.value

    def _last(self, data: bytes) -> datetime | None:
        """When the last change was signed; None where there was none, or it was this one, which may be repeated."""
        if (kept := read_if_there(self.memory, _MAX_MEMORY_BYTES)) is None:
            return None
        time, _, digest = kept.decode("ascii", "replace").partition(" ")
        if digest == hashlib.sha256(data).hexdigest():
            return None
        try:
            return datetime.fromisoformat(time).astimezone(UTC)
        except ValueError as error:
            remedy = "remove it, if the last change of this database is known to be older than the next"
            raise StorageFault("file-malformed", f"{self.memory}: not a time", remedy=remedy) from error

    def _remember(self, data: bytes, update: SignedUpdate) -> None:
        """The latest: a change that only appends may have been signed at any time."""
        last = self._last(data)
        if last is None or update.time > last:
            write_durably(self.memory, f"{update.time.isoformat()} {hashlib.sha256(data).hexdigest()}".encode())

    def _write(self, contents: bytes) -> None:
        try:
            with _mutable(self.path):
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
                try:
                    _written_at_once(descriptor, contents, self.name)
                finally:
                    os.close(descriptor)
        except OSError as error:
            remedy = "let the agent, or its helper, write there; see that the firmware has room for variables"
            raise StorageFault("variable-not-written", f"{self.path}: {error.strerror}", remedy=remedy) from error


def _written_at_once(descriptor: int, contents: bytes, name: str) -> None:
    try:
        written = os.write(descriptor, contents)
        with suppress(OSError):  # efivarfs has no fsync: there the firmware has it already
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise Refusal(refusals.SECURE_BOOT_UPDATE_REFUSED, error.strerror or "", place=name) from error
    if written != len(contents):
        raise OSError(errno.EIO, f"{written} of {len(contents)} bytes were written")


class _mutable:  # noqa: N801 - a context manager, named for what it makes of a file
    """While inside, the file is not immutable, where its file system knows of that at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._restore: Callable[[], None] | None = None

    def __enter__(self) -> None:
        if not self._path.exists():
            return
        flags = _flags(self._path)
        if flags & _IMMUTABLE:
            _set_flags(self._path, flags & ~_IMMUTABLE)
            self._restore = lambda: _set_flags(self._path, flags)

    def __exit__(self, *_: object) -> None:
        if self._restore:
            self._restore()


def _flags(path: Path) -> int:
    found = bytearray(8)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without such flags
            fcntl.ioctl(descriptor, _GET_FLAGS, found)
    finally:
        os.close(descriptor)
    return int.from_bytes(found[:4], "little")


def _set_flags(path: Path, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _SET_FLAGS, flags.to_bytes(8, "little"))
    finally:
        os.close(descriptor)
