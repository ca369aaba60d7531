"""What the director tells one device to run (DESIGN §7): a TUF target of its own, `directives/DEVICE.cbor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from medvouch.formats.enrolment import Ueid
from medvouch.formats.record import Octets, OneOf, Record, Text, Uint

MAX_DIRECTIVE_BYTES = 1024
MAX_TARGET_NAME = 256
UPDATE, ROLLBACK, RECOVERY = PURPOSES = ("update", "rollback", "recovery")
"""What a directive is for: the next release; an emergency way back to one before, within the security epoch; or a way
out for a device in quarantine.
"""


@dataclass(frozen=True)
class Directive(Record):
    """Run the release whose envelope is the target `release`, of this SHA-256 and length.

    `sequence` is the manifest's: by it a device knows, before it fetches anything, what it has installed already.
    `expires` in seconds since 1970; until `defer_until`, likewise, the device's user may put it off (0: not at all).
    """

    FORMAT = "directive"

    ueid: Ueid
    release: Annotated[str, Text(MAX_TARGET_NAME)]
    digest: Annotated[bytes, Octets(32, exact=True)]
    length: Annotated[int, Uint()]
    sequence: Annotated[int, Uint()]
    expires: Annotated[int, Uint()]
    purpose: Annotated[str, OneOf(PURPOSES)] = UPDATE
    defer_until: Annotated[int, Uint()] = 0


def directive_name(device_id: str) -> str:
    """The target that holds a device's directive."""
    return f"directives/{device_id}.cbor"
