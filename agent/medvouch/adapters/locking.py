"""One process at a time: a lock that is gone with whoever held it, however that ended."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medvouch.errors import StorageFault, UsageFault

PATIENCE_S = 20.0
"""For as long as another command may take with a large fleet."""


@contextmanager
def locked(path: Path, code: str) -> Iterator[None]:
    """Nobody else is inside with this lock file, which is made and stays; waits for whoever is.

    UsageFault `code` where that takes too long, StorageFault `file-not-written`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        remedy = "mend the file system, or run it as who owns the folder"
        raise StorageFault("file-not-written", f"{path}: {error.strerror}", remedy=remedy) from error
    try:
        _lock(descriptor, path, code, time.monotonic() + PATIENCE_S)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, code: str, until: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                remedy = "wait until the other command has ended"
                raise UsageFault(code, f"another command holds {path}", remedy=remedy) from error
            time.sleep(0.05)
