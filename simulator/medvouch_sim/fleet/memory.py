"""What a process and all that it started take of the machine's memory."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from medvouch_sim.installed import pss_kib

PROC = Path("/proc")


def tree_kib(pid: int) -> int:
    """PSS of a process and of all its descendants; what they share is counted once, what ends meanwhile is not."""
    total = 0
    for member in descendants(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            total += pss_kib(member)
    return total


def descendants(pid: int) -> list[int]:
    """The process itself, its children, theirs, and so on."""
    children = defaultdict(list)
    for folder in PROC.glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            children[_parent(folder)].append(int(folder.name))
    found = [pid]
    for member in found:  # which grows meanwhile
        found += children[member]
    return found


def _parent(folder: Path) -> int:
    """proc(5), stat: the name, field 2, may itself hold blanks and brackets."""
    return int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
