"""What a device remembers of an update between two starts, and of the release that it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from medvouch.formats.record import Octets, Record, Text, Uint
from medvouch.formats.trust import MAX_REFERENCE_BYTES

MAX_URL = 2048


@dataclass(frozen=True)
class UpdateRecord(Record):
    """The release being installed, or the last one; it goes to `slot`, `digest` (SHA-256) and `size` are its image's.

    `sequence` and `security_epoch` are the manifest's, `manifest` the SHA-256 of its envelope, `reference` its signed
    reference values; `code` says why it failed. `tries` counts how often it was started.
    """

    FORMAT = "update"

    state: Annotated[str, Text(32)]
    version: Annotated[str, Text(64)]
    sequence: Annotated[int, Uint()]
    security_epoch: Annotated[int, Uint(2**32 - 1)]
    manifest: Annotated[bytes, Octets(32, exact=True)]
    uri: Annotated[str, Text(MAX_URL)]
    digest: Annotated[bytes, Octets(32, exact=True)]
    size: Annotated[int, Uint()]
    reference: Annotated[bytes, Octets(MAX_REFERENCE_BYTES)]
    slot: Annotated[str, Text(16)]
    tries: Annotated[int, Uint(255)]
    code: Annotated[str, Text(64, empty=True)]


@dataclass(frozen=True)
class InstalledRelease(Record):
    """The release whose slot was last confirmed; all zero for the one that the device was delivered with."""

    FORMAT = "installed"

    version: Annotated[str, Text(64, empty=True)]
    sequence: Annotated[int, Uint()]
    security_epoch: Annotated[int, Uint(2**32 - 1)]
