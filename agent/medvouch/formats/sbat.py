"""SBAT: which generations of boot components are revoked (shim, SBAT.md): CSV of `component,generation[,...]` lines.

`SbatLevel` is the variable by which shim revokes; a program's `.sbat` section says its own generations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from medvouch.errors import InputError

FORMAT = "sbat"
MAX_BYTES = 16 << 10
MAX_LINES = 256

_COMPONENT = re.compile(r"[A-Za-z0-9_.+-]{1,64}")
_GENERATION = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True)
class SbatEntry:
    """A component and its generation; `more` are the further fields: date, or vendor, package, version and URL."""

    component: str
    generation: int
    more: tuple[str, ...] = ()


def parse(data: bytes) -> tuple[SbatEntry, ...]:
    """All lines, the final NULs dropped; raises InputError `sbat-limit` or `sbat-malformed`."""
    if len(data) > MAX_BYTES:
        raise InputError(f"{FORMAT}-limit", f"{len(data)} bytes where at most {MAX_BYTES} are allowed")
    try:
        lines = data.rstrip(b"\0").decode("ascii" if data.isascii() else "utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{FORMAT}-malformed", "no text") from error
    if len(lines) > MAX_LINES:
        raise InputError(f"{FORMAT}-limit", f"{len(lines)} lines where at most {MAX_LINES} are allowed")
    return tuple(_entry(number, line.rstrip("\r")) for number, line in enumerate(lines, 1) if line.strip())


def _entry(number: int, line: str) -> SbatEntry:
    component, _, rest = line.partition(",")
    generation, *more = rest.split(",")
    if not _COMPONENT.fullmatch(component) or not _GENERATION.fullmatch(generation):
        raise InputError(f"{FORMAT}-malformed", "no component and generation", place=f"line {number}")
    return SbatEntry(component, int(generation), tuple(more))
