"""The measurement logs of this boot, from the files that firmware, systemd and kernel keep them in."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from pathlib import Path

from medvouch.errors import StorageFault

MAX_LOG_BYTES = 16 * 1024 * 1024
"""More than any honest log; what is longer is refused before it fills memory."""
LOCK_WAIT_S = 2.0
"""systemd holds its lock for one measurement, a few milliseconds."""
_CHUNK = 64 * 1024


class FileLogs:
    """`medvouch.ports.MeasurementLogs`. `systemd` and `ima` may be None, or name files that do not exist.

    Faults (StorageFault): `eventlog-missing` (UEFI only), `eventlog-unreadable`, `eventlog-too-large`,
    `eventlog-locked` and `eventlog-incomplete` (systemd's only).
    """

    def __init__(
        self, uefi: Path, systemd: Path | None = None, ima: Path | None = None, *, limit: int = MAX_LOG_BYTES
    ) -> None:
        self._uefi = uefi
        self._systemd = systemd
        self._ima = ima
        self._limit = limit

    def uefi(self) -> bytes:
        """The raw TCG2 event log."""
        log = self._read(self._uefi)
        if log is None:
            raise StorageFault(
                "eventlog-missing",
                f"{self._uefi} does not exist",
                remedy="boot in UEFI mode with the TPM switched on, mount securityfs, or name the file in [logs]",
            )
        return log

    def systemd(self) -> bytes | None:
        """systemd's userspace measurement log, read under its shared lock."""
        return None if self._systemd is None else self._read(self._systemd, locked=True)

    def ima(self) -> bytes | None:
        """IMA's binary measurement list."""
        return None if self._ima is None else self._read(self._ima)

    def _read(self, path: Path, *, locked: bool = False) -> bytes | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            if locked:
                _lock(path, descriptor)
            return self._bounded(path, descriptor)
        except OSError as error:
            raise _unreadable(path, error) from error
        finally:
            os.close(descriptor)

    def _bounded(self, path: Path, descriptor: int) -> bytes:
        """As many bytes as the file claims to have, or to its end where it claims none: securityfs says 0."""
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        claimed, size, parts = status.st_size, 0, []
        while max(size, claimed) <= self._limit and (part := os.read(descriptor, _CHUNK)):
            parts.append(part)
            size += len(part)
            if size >= claimed > 0:
                break
        if max(size, claimed) > self._limit:
            raise too_large(str(path), self._limit)
        return b"".join(parts)


def too_large(name: str, limit: int) -> StorageFault:
    """The fault of a log over its limit."""
    remedy = "find out what fills it, and reboot the device for a fresh log"
    return StorageFault("eventlog-too-large", f"{name} has more than {limit} bytes", remedy=remedy)


def _lock(path: Path, descriptor: int) -> None:
    """systemd's protocol: exclusive lock while it writes, sticky bit until the record and the PCR agree."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                remedy = "find the process that holds the lock (lslocks)"
                raise StorageFault("eventlog-locked", f"{path} stays locked", remedy=remedy) from error
            time.sleep(0.01)
    if os.fstat(descriptor).st_mode & stat.S_ISVTX:
        raise StorageFault(
            "eventlog-incomplete",
            f"{path} is marked incomplete: systemd was interrupted while it measured",
            remedy="reboot the device for a fresh log",
        )


def _unreadable(path: Path, error: OSError) -> StorageFault:
    return StorageFault(
        "eventlog-unreadable",
        f"{path}: {error.strerror or error}",
        remedy="let the agent read it (OpenFile= in its unit, or group and mode of the file)",
    )
