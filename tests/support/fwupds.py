"""fwupd at work on a virtual machine, where it is installed, and cabinets for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medvouch_sim import fwupd
from medvouch_sim.capsules import firmware_image
from medvouch_sim.firmware import Machine
from medvouch_sim.fixtures import FIXTURES


def _why_not() -> str:
    if packages := fwupd.missing():
        return f"not installed: {', '.join(packages)}"
    return "" if os.geteuid() == 0 else "without polkit fwupd's daemon does what root says, and nobody else"


NEEDED = pytest.mark.skipif(bool(_why_not()), reason=_why_not())
FILES = {
    "firmware-version.txt": b"medvouch virtual firmware 1.1",
    "firmware-volume-dxe.bin": (FIXTURES / "machine" / "firmware-volume-dxe.bin").read_bytes()[:-1] + b"!",
}
VERSION = 101
IMAGE = firmware_image(VERSION, FILES)


def flashed(machine: Machine) -> None:
    """As a machine is whose firmware has taken it."""
    for name, data in FILES.items():
        (machine.firmware / name).write_bytes(data)


@contextmanager
def short_folder() -> Iterator[Path]:
    """With a name that leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="fwupd-") as name:
        yield Path(name)
