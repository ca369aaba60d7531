"""Slot images of the fixtures' releases; `medvouch.formats.slot_image` reads them."""

from __future__ import annotations

from medvouch.formats.slot_image import MAX_IMAGE_BYTES, UKI, Image, read_image
from medvouch_sim.fixtures import FIXTURES

__all__ = ["MAX_IMAGE_BYTES", "Image", "build_image", "read_image"]


def build_image(release: str) -> bytes:
    """The image of a release of the fixtures."""
    folder = FIXTURES / "releases" / release
    root = folder / "rootfs"
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return Image((folder / UKI).read_bytes(), files).encode()
