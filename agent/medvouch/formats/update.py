"""What a device remembers of an update between two starts, and of the release that it runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated

from medvouch.formats.blocks import MAX_INDEX_BYTES
from medvouch.formats.record import Maybe, Nested, Octets, Record, Text, Uint
from medvouch.formats.suit import MAX_ENVELOPE_BYTES
from medvouch.formats.trust import MAX_REFERENCE_BYTES

MAX_URL = 2048
MAX_SOURCE = 2 * MAX_URL
"""The base of a mirror and what stands below it."""
MAX_VALIDATOR = 256
"""Characters of an ETag or a date; a longer one is not remembered."""
PARTS = "parts"
"""In place of a slot: the release is for parts of which there is one."""


@dataclass(frozen=True)
class UpdateRecord(Record):
    """The release being installed, or the last one; it goes to `slot`, `digest` (SHA-256) and `size` are its image's.

    Where the slot is PARTS, they are those of the first payload, and a PartsRecord has the rest.
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
class PartsRecord(Record):
    """A release for parts of which there is one: its envelope, and the boot (resetCount) in which it was installed."""

    FORMAT = "update-parts"

    envelope: Annotated[bytes, Octets(MAX_ENVELOPE_BYTES)]
    installed_in: Annotated[int | None, Maybe(Uint(2**32 - 1))]

    @property
    def manifest(self) -> bytes:
        """SHA-256 of the envelope."""
        return hashlib.sha256(self.envelope).digest()


@dataclass(frozen=True)
class InstalledRelease(Record):
    """The release whose slot was last confirmed; all zero for the one that the device was delivered with."""

    FORMAT = "installed"

    version: Annotated[str, Text(64, empty=True)]
    sequence: Annotated[int, Uint()]
    security_epoch: Annotated[int, Uint(2**32 - 1)]


@dataclass(frozen=True)
class IndexPayload(Record):
    """Where the block index of a release's image is fetched from; SHA-256, and size in bytes."""

    FORMAT = "index-payload"

    uri: Annotated[str, Text(MAX_URL)]
    digest: Annotated[bytes, Octets(32, exact=True)]
    size: Annotated[int, Uint(MAX_INDEX_BYTES)]


@dataclass(frozen=True)
class FetchJournal(Record):
    """How far the image of a release (`manifest`: SHA-256 of its envelope) has come into `slot`.

    The first `done` bytes are on the medium. They came from `source`, whose file was then the one that the server calls
    `validator` (ETag or Last-Modified); both are empty where nothing was fetched yet, or the server says nothing.
    """

    FORMAT = "fetch-journal"

    manifest: Annotated[bytes, Octets(32, exact=True)]
    slot: Annotated[str, Text(16)]
    done: Annotated[int, Uint()]
    source: Annotated[str, Text(MAX_SOURCE, empty=True)]
    validator: Annotated[str, Text(MAX_VALIDATOR, empty=True)]
    index: Annotated[IndexPayload | None, Maybe(Nested(IndexPayload))]
