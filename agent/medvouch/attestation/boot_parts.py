"""The parts of which a boot is found to consist."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from medvouch.formats.algorithms import HashAlg


class SecureBoot(enum.Enum):
    """What the firmware measured of its own state."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class CommandLineSource(enum.Enum):
    """Who measured a command line."""

    UKI = "uki"
    """systemd-stub: the .cmdline section, PCR 11."""
    KERNEL = "kernel"
    """Linux' EFI stub: what the kernel was started with, PCR 9."""
    GRUB = "grub"
    """GRUB, PCR 8."""
    OVERRIDE = "override"
    """systemd-boot or systemd-stub: anything that a UKI does not hold itself, PCR 12."""


@dataclass(frozen=True)
class Application:
    """An EFI program that was started: `digests` are its Authenticode hashes; `path` is the log's unmeasured word."""

    index: int
    digests: Mapping[HashAlg, bytes]
    path: str


@dataclass(frozen=True)
class Section:
    """A section of the unified kernel image: `name` is measured, `digests` are those of its contents."""

    index: int
    name: str
    digests: Mapping[HashAlg, bytes]


@dataclass(frozen=True)
class CommandLine:
    """A measured command line; `text` is None where neither the log nor the caller knows a text with this digest."""

    source: CommandLineSource
    index: int
    digests: Mapping[HashAlg, bytes]
    text: str | None


@dataclass(frozen=True)
class Named:
    """Contents that were measured, under a name that is the log's word: a boot loader's files, shim's lists of keys."""

    index: int
    name: str
    digests: Mapping[HashAlg, bytes]
