"""What a confirmed measurement is known by: its digests, whatever type and data its log gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from medvouch.attestation.measurements import VerifiedEvent
from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import EventType
from medvouch.formats.hashing import HASHERS, digest
from medvouch.formats.uefi import GLOBAL_VARIABLE, Variable, of_shim

PCR_FIRMWARE, PCR_BOOT_VARIABLES, PCR_DRIVERS, PCR_BOOT_APPLICATIONS, PCR_SECURE_BOOT = 0, 1, 2, 4, 7
PCR_GRUB_COMMANDS, PCR_KERNEL, PCR_UKI, PCR_OVERRIDES, PCR_MOK = 8, 9, 11, 12, 14


def _hashes(data: bytes) -> Mapping[HashAlg, bytes]:
    return {bank: digest(bank, data) for bank in HASHERS}


_ERROR_SEPARATOR = _hashes(b"\1\0\0\0")
_SEPARATORS = (_hashes(bytes(4)), _hashes(b"\xff" * 4), _ERROR_SEPARATOR)
"""EV_SEPARATOR (PFP 10.4.1) by its digests: normal, normal on some platforms, error."""
_SEPARATOR_DIGESTS = frozenset(measured for separator in _SEPARATORS for measured in separator.values())


def covering(digests: Mapping[HashAlg, bytes], candidates: Iterable[bytes]) -> bytes | None:
    """The candidate whose hash each of the digests is."""
    for candidate in candidates:
        for bank, measured in digests.items():
            if digest(bank, candidate) != measured:
                break
        else:
            return candidate
    return None


def of_old_shim(event: VerifiedEvent) -> bool:
    """Shim before 15.3 hashed all but the last byte of its authorities."""
    return of_shim(event.data) and covering(event.digests, [event.data[:-1]]) is not None


def is_separator(event: VerifiedEvent) -> bool:
    """Whether this is what firmware measures to say that it ends, or that it failed."""
    if _SEPARATOR_DIGESTS.isdisjoint(event.digests.values()):  # most events, told at once
        return False
    alike = any(event.digests.items() <= separator.items() for separator in _SEPARATORS)
    return alike and not _is_boot_order(event)


def _is_boot_order(event: VerifiedEvent) -> bool:
    """BootOrder of the options 1 and 0 is measured as its four bytes, which are those of the error separator.

    In PCR 1 it may be taken for what its log calls it: the separator of that PCR must be there all the same.
    """
    if event.pcr != PCR_BOOT_VARIABLES or event.type != EventType.EV_EFI_VARIABLE_BOOT:
        return False
    try:
        variable = Variable.parse(event.data)
    except InputError:
        return False
    ours = (variable.guid, variable.name) == (GLOBAL_VARIABLE, "BootOrder")
    return ours and covering(event.digests, [variable.data]) is not None


def is_error_separator(event: VerifiedEvent) -> bool:
    """Whether firmware says by it that it failed."""
    return event.digests.items() <= _ERROR_SEPARATOR.items()
