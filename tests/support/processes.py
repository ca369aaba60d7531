"""What runs on this machine, as a test of a program looks at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for it, and fail after `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def belonging_to(folder: Path, apart_from: str) -> list[str]:
    """Command lines of all processes that name something in `folder`, those of the program `apart_from` left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and apart_from not in line:
            found.append(line)
    return found


def ended(number: int) -> bool:
    """Whether a process does nothing any more, be it that its parent has not asked after it yet."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
