"""Firmware as a UEFI capsule, and what a virtual firmware makes of one that waits on the EFI system partition.

    EFI_CAPSULE_HEADER (UEFI 2.10, 8.5.3): GUID [16] | header size u32 | flags u32 | image size u32 | ... payload
    payload, EFI_FIRMWARE_IMAGE_AUTHENTICATION (23.1.2): count u64 | WIN_CERTIFICATE_UEFI_GUID | image
    image, our own: version u32 | a tar archive of firmware-version.txt and firmware-volume-*.bin

Capsules wait in EFI/UpdateCapsule, and are looked for where OsIndications says so (8.5.5).
"""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Mapping
from uuid import NAMESPACE_URL, uuid5

from medvouch.formats.secure_boot import PKCS7
from medvouch_sim.secure_boot import sign, signed_by

FIRMWARE_CLASS = uuid5(NAMESPACE_URL, "medvouch:system-firmware")
"""What the resource table (ESRT) calls this firmware."""
FILE_CAPSULES = 0x04
"""EFI_OS_INDICATIONS_FILE_CAPSULE_DELIVERY_SUPPORTED."""
SUCCESS, REFUSED = 0, 5
"""Last attempt status (23.4): success, authentication error."""
_HEADER = struct.Struct("<16s3I")
_AUTHENTICATION = struct.Struct("<QI2H16s")
_REVISION, _EFI_GUID = 0x0200, 0x0EF1
_COUNT = 1


def firmware_image(version: int, files: Mapping[str, bytes]) -> bytes:
    """A payload, signed: what fwupd gets in a cabinet."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    image = struct.pack("<I", version) + archive.getvalue()
    signature = sign(image + struct.pack("<Q", _COUNT))
    size = _AUTHENTICATION.size - 8 + len(signature)
    return _AUTHENTICATION.pack(_COUNT, size, _REVISION, _EFI_GUID, PKCS7.bytes_le) + signature + image


def open_capsule(data: bytes, kek: bytes) -> tuple[int, dict[str, bytes]] | None:
    """Version and files of a capsule for this firmware that a key of KEK signed; None of any other."""
    guid, header_size, _, size = _HEADER.unpack_from(data)
    payload = data[header_size:size]
    if guid != FIRMWARE_CLASS.bytes_le or len(payload) < _AUTHENTICATION.size:
        return None
    count, length, *_ = _AUTHENTICATION.unpack_from(payload)
    signature, image = payload[_AUTHENTICATION.size : 8 + length], payload[8 + length :]
    if not signed_by(signature, image + struct.pack("<Q", count), kek):
        return None
    with tarfile.open(fileobj=io.BytesIO(image[4:])) as tar:
        return struct.unpack_from("<I", image)[0], {each.name: _read(tar, each) for each in tar.getmembers()}


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""
