"""Slot images: all that a release boots in one file, which an update streams into a slot.

An uncompressed tar archive (POSIX.1-1988, ustar) of `medvouch.efi` and `rootfs/...`: regular files in the order of
their names, mode 0644, times and owners zero, closed by two blocks of zeros. One content has one encoding, and nothing
else is read. Codes of refused images are `image-truncated`, `-trailing`, `-limit` and `-malformed`.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from medvouch.errors import InputError
from medvouch.formats import pe
from medvouch.formats.cursor import Cursor

FORMAT = "image"
UKI = "medvouch.efi"
ROOT = "rootfs/"
MAX_IMAGE_BYTES = 64 << 20
MAX_FILES = 4096

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)


@dataclass(frozen=True)
class Image:
    """A unified kernel image, and the contents of the root file system by path (`usr/bin/medvouch`)."""

    uki: bytes
    files: Mapping[str, bytes]

    @property
    def version(self) -> str:
        """IMAGE_VERSION of the kernel image's os-release, or nothing; raises InputError `pe-*`."""
        osrel = dict(pe.sections(self.uki)).get(".osrel", b"").decode("utf-8", "replace")
        found = re.search(r"^IMAGE_VERSION=(.*)$", osrel, re.MULTILINE)
        return found[1] if found else ""

    def encode(self) -> bytes:
        """The image file."""
        contents = {UKI: self.uki, **{ROOT + path: data for path, data in self.files.items()}}
        return b"".join(_entry(name, data) for name, data in sorted(contents.items())) + _END


def read_image(data: bytes) -> Image:
    """The inverse of `Image.encode`; raises InputError `image-*` for anything else, and where there is no root file."""
    cursor = Cursor(data, FORMAT)
    if len(data) > MAX_IMAGE_BYTES:
        cursor.fail("limit", f"{len(data)} bytes where at most {MAX_IMAGE_BYTES} are allowed")
    contents = dict(_entries(cursor))
    kernel = contents.pop(UKI, None)
    files = {name.removeprefix(ROOT): value for name, value in contents.items() if name.startswith(ROOT)}
    if kernel is None or not files:
        cursor.fail("malformed", f"{UKI} and files in {ROOT} expected")
    image = Image(kernel, files)
    if image.encode() != data:
        cursor.fail("malformed", "another encoding than the one there is for these contents")
    return image


def _entry(name: str, data: bytes) -> bytes:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    return header.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict") + data + bytes(-len(data) % _BLOCK)


def _entries(cursor: Cursor) -> Iterator[tuple[str, bytes]]:
    for _ in range(MAX_FILES):
        block = cursor.take(_BLOCK)
        if not any(block):
            cursor.take(_BLOCK)
            cursor.done()
            return
        header = _header(block, cursor)
        yield header.name, cursor.take(header.size)
        cursor.take(-header.size % _BLOCK)
    cursor.fail("limit", f"more than {MAX_FILES - 1} files")


def _header(block: bytes, cursor: Cursor) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise InputError(f"{FORMAT}-malformed", f"no tar header: {error}", place=f"offset {cursor.offset}") from error
