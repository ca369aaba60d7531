"""The trust document: who may sign, deliver and validate now (DESIGN §4). A TUF target; nothing else is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from medvouch.formats.der import MAX_CERTIFICATE_BYTES
from medvouch.formats.record import Many, Named, Nested, Octets, Place, Record, Text, Uint

ROLES = frozenset(
    {"release", "quality", "director", "commander", "appraiser", "support", "owner", "enrolment", "manufacturer"}
)
CERTIFICATES = frozenset({"tpm-vendor", "broker-ca", "enrolment-ca"})

MAX_KEYS = 32
"""Keys of one role."""
MAX_KEY_BYTES = 2048
MAX_CERTIFICATES = 512
"""TPM vendors publish some hundred roots and intermediates between them."""
MAX_REFERENCES = 256
MAX_REFERENCE_BYTES = 1 << 20


@dataclass(frozen=True)
class Role(Record):
    """Keys (SPKI, DER) of which `threshold` must sign, until `expires` (s since 1970), and who answers for them."""

    FORMAT = "trust"

    keys: Annotated[tuple[bytes, ...], Many(Octets(MAX_KEY_BYTES), MAX_KEYS)]
    threshold: Annotated[int, Uint(MAX_KEYS)]
    expires: Annotated[int, Uint()]
    owner: Annotated[str, Text(256)]

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Refuses a role that nobody or not enough could fill."""
        role = super().from_map(value, place)
        if len(set(role.keys)) != len(role.keys):
            raise (place / "keys").malformed("each key once")
        if not 1 <= role.threshold <= len(role.keys):
            raise (place / "threshold").malformed(f"a number from 1 to {len(role.keys)}")
        return role


@dataclass(frozen=True)
class TrustDocument(Record):
    """Some of ROLES, all of CERTIFICATES (DER), and references: COSE_Sign of reference values by the role `release`.

    `appraiser` is the name that evidence is meant for (EAT audience); `expires` in seconds since 1970.
    """

    FORMAT = "trust"

    version: Annotated[int, Uint()]
    expires: Annotated[int, Uint()]
    appraiser: Annotated[str, Text(256)]
    roles: Annotated[Mapping[str, Role], Named(Nested(Role), len(ROLES))]
    certificates: Annotated[
        Mapping[str, tuple[bytes, ...]],
        Named(Many(Octets(MAX_CERTIFICATE_BYTES), MAX_CERTIFICATES), len(CERTIFICATES)),
    ]
    references: Annotated[tuple[bytes, ...], Many(Octets(MAX_REFERENCE_BYTES), MAX_REFERENCES)]

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Refuses roles that nobody looks up, and sets of certificates that would be looked up in vain."""
        document = super().from_map(value, place)
        if not set(document.roles) <= ROLES:
            raise (place / "roles").malformed(f"some of {', '.join(sorted(ROLES))}")
        if set(document.certificates) != CERTIFICATES:
            raise (place / "certificates").malformed(", ".join(sorted(CERTIFICATES)))
        return document
