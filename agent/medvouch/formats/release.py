"""What is known of a release besides its image: a TUF target beside the envelope, which the envelope's digest binds.

It names by SHA-256 the documents that are published with it: SBOM (CycloneDX), VEX and advisory (CSAF), support
statement (OpenEoX). Nobody signs it by itself: the role `releases` lists it, and it is believed from there (ADR 42).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from medvouch.formats.record import Many, Maybe, Named, Nested, Octets, OneOf, Place, Record, Text, Uint
from medvouch.formats.reference import MAX_SECURITY_EPOCH

RECORD_NAME = "release.cbor"
MAX_RECORD_BYTES = 1 << 20
SECURITY, FEATURE, MIXED = KINDS = ("security", "feature", "mixed")
DUTIES = ("device-identity", "update-signing", "vulnerability-remediation", "decommissioning")
"""Each has an owner, a deputy, and a day on which it is looked at again."""
MAX_FIXES = 1024
MAX_ID, MAX_PERSON, MAX_ADDRESS = 64, 256, 1024

_Sha256 = Octets(32, exact=True)


@dataclass(frozen=True)
class Fix(Record):
    """One vulnerability that the release fixes, by the names that it has; empty where a list has none for it.

    `aware`: since when its maker has known of it (s since 1970), or None where it does not say.
    """

    FORMAT = "release"

    cve: Annotated[str, Text(MAX_ID, empty=True)]
    euvd: Annotated[str, Text(MAX_ID, empty=True)]
    ghsa: Annotated[str, Text(MAX_ID, empty=True)]
    aware: Annotated[int | None, Maybe(Uint())] = None

    @property
    def names(self) -> frozenset[str]:
        """All that it has."""
        return frozenset({self.cve, self.euvd, self.ghsa} - {""})

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Refuses one without a name, and names that are not of their list."""
        fix = super().from_map(value, place)
        for name, prefix in (("cve", "CVE-"), ("euvd", "EUVD-"), ("ghsa", "GHSA-")):
            if (given := getattr(fix, name)) and not given.startswith(prefix):
                raise (place / name).malformed(f"{prefix}...")
        if not fix.names:
            raise place.malformed("a CVE, EUVD or GHSA id")
        return fix


@dataclass(frozen=True)
class Duty(Record):
    """Who answers for something, who does in their absence, and when that is reviewed (s since 1970)."""

    FORMAT = "release"

    owner: Annotated[str, Text(MAX_PERSON)]
    deputy: Annotated[str, Text(MAX_PERSON)]
    review: Annotated[int, Uint()]


@dataclass(frozen=True)
class ReleaseRecord(Record):
    """A release that passed the gate. Digests are SHA-256; `advisory` is None where nothing was fixed.

    `support_end` in seconds since 1970, as the support statement says.
    """

    FORMAT = "release"
    KIND = "medvouch-release"

    version: Annotated[str, Text(64)]
    security_epoch: Annotated[int, Uint(MAX_SECURITY_EPOCH)]
    kind: Annotated[str, OneOf(KINDS)]
    fixes: Annotated[tuple[Fix, ...], Many(Nested(Fix), MAX_FIXES)]
    envelope: Annotated[bytes, _Sha256]
    sbom: Annotated[bytes, _Sha256]
    vex: Annotated[bytes, _Sha256]
    advisory: Annotated[bytes | None, Maybe(_Sha256)]
    support: Annotated[bytes, _Sha256]
    support_end: Annotated[int, Uint()]
    contact: Annotated[str, Text(MAX_ADDRESS)]
    cvd_policy: Annotated[str, Text(MAX_ADDRESS)]
    duties: Annotated[Mapping[str, Duty], Named(Nested(Duty), len(DUTIES))]

    @property
    def documents(self) -> tuple[bytes, ...]:
        """The digests of all that is published with it."""
        named = (self.envelope, self.sbom, self.vex, self.advisory, self.support)
        return tuple(digest for digest in named if digest is not None)

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Refuses other duties than DUTIES, and a kind that is not that of its fixes."""
        record = super().from_map(value, place)
        if set(record.duties) != set(DUTIES):
            raise (place / "duties").malformed(", ".join(DUTIES))
        if (record.kind == FEATURE) == bool(record.fixes):
            raise (place / "kind").malformed("fixes, or the kind `feature`")
        if (record.advisory is None) == bool(record.fixes):
            raise (place / "advisory").malformed("an advisory where something is fixed")
        return record
