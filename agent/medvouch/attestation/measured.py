"""What a confirmed measurement is known by: its digests, whatever type and data its log gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from medvouch.attestation.measurements import VerifiedEvent
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import HASHERS, digest

PCR_FIRMWARE, PCR_DRIVERS, PCR_BOOT_APPLICATIONS, PCR_SECURE_BOOT = 0, 2, 4, 7
PCR_GRUB_COMMANDS, PCR_KERNEL, PCR_UKI, PCR_OVERRIDES, PCR_MOK = 8, 9, 11, 12, 14


def _hashes(data: bytes) -> Mapping[HashAlg, bytes]:
    return {bank: digest(bank, data) for bank in HASHERS}


_ERROR_SEPARATOR = _hashes(b"\1\0\0\0")
_SEPARATORS = (_hashes(bytes(4)), _hashes(b"\xff" * 4), _ERROR_SEPARATOR)
"""EV_SEPARATOR (PFP 10.4.1) by its digests: normal, normal on some platforms, error."""


def covering(digests: Mapping[HashAlg, bytes], candidates: Iterable[bytes]) -> bytes | None:
    """The candidate whose hash each of the digests is."""
    for candidate in candidates:
        if all(digest(bank, candidate) == measured for bank, measured in digests.items()):
            return candidate
    return None


def is_separator(event: VerifiedEvent) -> bool:
    """Whether this is what firmware measures to say that it ends, or that it failed."""
    return any(event.digests.items() <= separator.items() for separator in _SEPARATORS)


def is_error_separator(event: VerifiedEvent) -> bool:
    """Whether firmware says by it that it failed."""
    return event.digests.items() <= _ERROR_SEPARATOR.items()
