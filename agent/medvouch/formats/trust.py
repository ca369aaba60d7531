"""The trust document: who may sign, deliver and validate now (DESIGN §4). A TUF target; nothing else is trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
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
MAX_COMPONENTS = 16
"""That one key may name."""
MAX_CERTIFICATES = 512
"""TPM vendors publish some hundred roots and intermediates between them."""
MAX_REFERENCES = 256
MAX_REFERENCE_BYTES = 1 << 20


def key_name(key: bytes) -> str:
    """What `components` calls a key (SPKI, DER): the first 128 bits of its SHA-256 in hex."""
    return hashlib.sha256(key).hexdigest()[:32]


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

    `appraiser` is the name that evidence is meant for (EAT audience); `expires` in seconds since 1970. `components`: by
    `key_name` of a release key the components that it may name in manifests, and what is below them (`slot`, `a/b`); a
    key that is not in it may name all. Left out where it is empty.
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
    components: Annotated[Mapping[str, tuple[str, ...]], Named(Many(Text(128), MAX_COMPONENTS), MAX_KEYS)] = field(
        default_factory=dict
    )

    def to_map(self) -> dict[str, Any]:
        """Without `components` where nothing is said of them."""
        members = super().to_map()
        if not self.components:
            del members["components"]
        return members

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Refuses roles and keys that nobody looks up, and sets of certificates that would be looked up in vain."""
        if isinstance(value, Mapping) and "components" not in value:
            value = {**value, "components": {}}
        elif isinstance(value, Mapping) and not value["components"]:
            raise (place / "components").malformed("components of some key")
        document = super().from_map(value, place)
        release = document.roles.get("release")
        if not set(document.components) <= {key_name(key) for key in (release.keys if release else ())}:
            raise (place / "components").malformed("release keys")
        if not set(document.roles) <= ROLES:
            raise (place / "roles").malformed(f"some of {', '.join(sorted(ROLES))}")
        if set(document.certificates) != CERTIFICATES:
            raise (place / "certificates").malformed(", ".join(sorted(CERTIFICATES)))
        return document
