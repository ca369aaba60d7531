"""The maker's list of gateways built: which endorsement key was soldered into which serial number."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated, Any, Self

from medvouch.formats.record import Many, Nested, Octets, Place, Record, Text, Uint

CONTENT_TYPE = "application/vnd.medvouch.manifest+cbor"
MAX_ENTRIES = 4096
"""Gateways in one manifest; a maker of more publishes several."""
MAX_SERIAL = 64
MAX_VERSION = 32

EkHash = Annotated[bytes, Octets(32, exact=True)]
"""SHA-256 of the EK's SubjectPublicKeyInfo (DER)."""
Serial = Annotated[str, Text(MAX_SERIAL)]
Model = Annotated[str, Text(64)]
HardwareVersion = Annotated[str, Text(MAX_VERSION)]


@dataclass(frozen=True)
class ManifestEntry(Record):
    """One gateway."""

    FORMAT = "manifest"

    ek_hash: EkHash
    serial: Serial
    model: Model
    hw_version: HardwareVersion


@dataclass(frozen=True)
class Manifest(Record):
    """What the maker signs (COSE_Sign1, CONTENT_TYPE); `issued_at` in seconds since 1970, entries ascending by EK."""

    FORMAT = "manifest"

    issuer: Annotated[str, Text(128)]
    issued_at: Annotated[int, Uint()]
    entries: Annotated[tuple[ManifestEntry, ...], Many(Nested(ManifestEntry), MAX_ENTRIES)]

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Refuses an EK listed twice: one gateway, one serial number."""
        manifest = super().from_map(value, place)
        for one, other in itertools.pairwise(manifest.entries):
            if one.ek_hash >= other.ek_hash:
                raise (place / "entries").malformed("each EK once, ascending by its hash")
        return manifest
