"""The boot loader, one file on the EFI system partition, and the one before it under another name.

FAT renames in two steps, so that a crash may leave neither the old nor the new file under a name that was replaced.
Therefore the firmware has a boot entry for both names, and at every instant one of them is a whole loader: first the
one in force is copied to the second name, then the new one, which is on the medium by then, takes the first.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medvouch.adapters.files import bounded, read_if_there, write_durably
from medvouch.errors import InputError, StorageFault
from medvouch.formats import pe
from medvouch.formats.algorithms import HashAlg

MAX_LOADER_BYTES = 16 << 20
"""shim, GRUB and systemd-boot are below 4 MiB."""


@dataclass(frozen=True)
class BootLoader:
    """`path` is what the firmware starts, `previous` what it starts where that fails."""

    path: Path
    previous: Path

    def store(self, chunks: Iterable[bytes]) -> None:
        """Nothing where it is there already. Raises as `check`."""
        new = self.check(chunks)
        old = self._held(self.path)
        if old == new:
            return
        if old is not None and old != self._held(self.previous):
            write_durably(self.previous, old)
        write_durably(self.path, new)

    def check(self, chunks: Iterable[bytes]) -> bytes:
        """All of it. Raises InputError `pe-*` where it is no EFI program; StorageFault, `esp-missing` for one."""
        if not os.path.isdir(self.path.parent):  # noqa: PTH112 - Path.is_dir raises where the medium fails
            remedy = "mount the EFI system partition, or mend `esp_loader` in [update]"
            raise StorageFault("esp-missing", f"{self.path.parent} is no directory", remedy=remedy)
        new = b"".join(bounded(chunks, MAX_LOADER_BYTES))
        _check_program(new)
        return new

    def read(self) -> Iterator[bytes]:
        """The loader in force, from the medium."""
        _forget_cached(self.path)
        if (held := read_if_there(self.path, MAX_LOADER_BYTES)) is not None:
            yield held

    @staticmethod
    def _held(path: Path) -> bytes | None:
        """A loader there, if it is a whole one: no other is kept for a day on which the new one fails."""
        if (found := read_if_there(path, MAX_LOADER_BYTES)) is None:
            return None
        with suppress(InputError):
            _check_program(found)
            return found
        return None


def _check_program(data: bytes) -> None:
    pe.authenticode(data, HashAlg.SHA256)


def _forget_cached(path: Path) -> None:
    with suppress(OSError):  # whoever reads says so
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
