"""A MetadataStore in a directory."""

from __future__ import annotations

import re
from pathlib import Path

from medvouch.adapters.files import read_bounded, remove_durably, write_durably
from medvouch.errors import StorageFault

MAX_FILE_BYTES = 64 << 20
"""Of one file; TUF metadata is bounded more tightly by who reads it."""

_COMPONENT = re.compile(r"[A-Za-z0-9_%~-][A-Za-z0-9._%~-]{0,199}")
"""No leading dot, so neither `..` nor the hidden files that are written first."""


class FileMetadataStore:
    """Files below `directory`, which is made by the first write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, name: str) -> bytes | None:
        """The contents, or None."""
        path = self._path(name)
        try:
            return read_bounded(path, MAX_FILE_BYTES)
        except StorageFault as error:
            if error.code == "file-missing":
                return None
            raise

    def write(self, name: str, data: bytes) -> None:
        """Durable on return."""
        write_durably(self._path(name), data)

    def remove(self, name: str) -> None:
        """Durable on return."""
        remove_durably(self._path(name))

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if not all(_COMPONENT.fullmatch(part) for part in parts):
            raise StorageFault("file-name", f"{name!r} is no plain file name", remedy="look at who named it so")
        return self._directory.joinpath(*parts)


class MemoryMetadataStore:
    """One that nothing outlives, for who reads a repository once."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        """The contents, or None."""
        return self._files.get(name)

    def write(self, name: str, data: bytes) -> None:
        """Until the process ends."""
        self._files[name] = data

    def remove(self, name: str) -> None:
        """Nothing where it is not there."""
        self._files.pop(name, None)
