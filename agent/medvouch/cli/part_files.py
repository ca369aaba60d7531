"""Payloads of parts as they are built into a release: refused here what every device would refuse."""

from __future__ import annotations

import hashlib
from pathlib import Path

from medvouch.adapters.boot_loader import MAX_LOADER_BYTES
from medvouch.adapters.components import MAX_STAGED_BYTES
from medvouch.adapters.files import read_bounded
from medvouch.errors import InputError
from medvouch.formats import pe
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cose import Sign
from medvouch.formats.reference import ReferenceValues
from medvouch.formats.trust import MAX_REFERENCE_BYTES
from medvouch.update.parts import BOOT_LOADER, BY_NAME, SECURE_BOOT
from medvouch.update.payload import Payload
from medvouch.update.secure_boot import check_keeps_booting, check_update


def checked_part(name: str, file: Path, uri: str, reference: Path) -> Payload:
    """The payload of a part, as a manifest names it. `reference`: the release's signed reference values.

    Raises InputError `pe-*`; Refusal `secure-boot-update-malformed`, `secure-boot-update-locks-out`; StorageFault.
    """
    part = BY_NAME[name]
    data = read_bounded(file, MAX_LOADER_BYTES if part == BOOT_LOADER else MAX_STAGED_BYTES)
    if part == BOOT_LOADER:
        try:
            pe.authenticode(data, HashAlg.SHA256)
        except InputError as error:
            raise InputError(error.code, f"{file}: {error.detail}", remedy="name an EFI program") from error
    if part in SECURE_BOOT:
        _check_change(part, data, name, reference)
    return Payload(name, uri, hashlib.sha256(data).digest(), len(data))


def _check_change(part: tuple[bytes, ...], data: bytes, name: str, reference: Path) -> None:
    variable, attributes = SECURE_BOOT[part]
    update = check_update(data, attributes, None, name)
    values = ReferenceValues.parse(Sign.parse(read_bounded(reference, MAX_REFERENCE_BYTES)).payload or b"")
    check_keeps_booting(update, variable, attributes, values, name)
