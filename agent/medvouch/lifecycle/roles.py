"""Until when the keys of a role are believed (DESIGN §4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from medvouch.crypto.keys import PublicKey
from medvouch.errors import Refusal
from medvouch.lifecycle import refusals


@dataclass(frozen=True)
class TrustedRole:
    """The keys of a role, of which `threshold` must sign, and when it and the trust document that names it expire.

    Times in seconds since 1970. `components`: by key (SPKI, DER) the components that it alone may name in manifests, as
    their parts; a key that is not in it may name all.
    """

    name: str
    keys: Sequence[PublicKey]
    expires: int
    document_expires: int
    threshold: int = 1
    components: Mapping[bytes, Sequence[tuple[bytes, ...]]] = field(default_factory=dict)

    def at(self, now: int) -> Sequence[PublicKey]:
        """The keys that may sign at `now`; Refusal `trust-expired`, `role-expired` where none may any more."""
        if now >= self.document_expires:
            detail = f"the trust document expired on {_day(self.document_expires)}"
            raise Refusal(refusals.TRUST_EXPIRED, detail)
        if now >= self.expires:
            raise Refusal(refusals.ROLE_EXPIRED, f"the role {self.name!r} expired on {_day(self.expires)}")
        return self.keys


def _day(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
