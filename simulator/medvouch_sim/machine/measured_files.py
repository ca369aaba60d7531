"""Which files of a root IMA may measure: programs, libraries and kernel modules, by path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import digest

POLICY = "/etc/ima/ima-policy"
_ELF = b"\x7fELF"


def measured_files(root: Path) -> dict[str, bytes]:
    """SHA-256 of each file below `root` that can be executed, mapped as code or loaded into the kernel."""
    found = {}
    for path in _files(root):
        contents = path.read_bytes()
        name = f"/{path.relative_to(root)}"
        if path.stat().st_mode & 0o111 or contents.startswith(_ELF) or ".ko" in path.suffixes or name == POLICY:
            found[name] = digest(HashAlg.SHA256, contents)
    return found


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield path
