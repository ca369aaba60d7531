"""Attestation results: an EAR (draft-ietf-rats-ear) about one device, as CWT claims and as its JSON twin."""

from __future__ import annotations

import base64
import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from medvouch.errors import MAX_DETAIL, MAX_PLACE
from medvouch.formats.claims import (
    SHA256,
    Between,
    Claim,
    Claims,
    Exactly,
    Inner,
    LedgerHead,
    LedgerHeadForm,
)
from medvouch.formats.eat import NONCE_BYTES
from medvouch.formats.record import Many, Named, Place, Text, Uint

PROFILE = "tag:ietf.org,2026:rats/ear#03"

MAX_TEXT = 256
MAX_CODE = 64
"""Characters; a reason's other parts are cut to those of an error when it is encoded."""
MAX_REASONS = 64
MAX_QUIRKS = 16
MAX_RELEASE = 64


class Tier(enum.IntEnum):
    """Trustworthiness tiers (AR4SI)."""

    NONE = 0
    AFFIRMING = 2
    WARNING = 32
    CONTRAINDICATED = 96


class _TierForm:
    def dump(self, value: Tier) -> int:
        return int(value)

    def load(self, value: Any, place: Place) -> Tier:
        number = Uint().load(value, place)
        if number not in set(Tier):
            raise place.malformed("a trustworthiness tier")
        return Tier(number)


class _TrustClaim:
    """-128 to 127."""

    def dump(self, value: int) -> int:
        return value

    def load(self, value: Any, place: Place) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not -128 <= value <= 127:
            raise place.malformed("-128 to 127")
        return value


@dataclass(frozen=True)
class TrustVector(Claims):
    """AR4SI trustworthiness claims, each -128 to 127; None is no claim, and at least one is made."""

    FORMAT = "ear"

    instance_identity: Annotated[int | None, Claim(0, _TrustClaim())] = None
    configuration: Annotated[int | None, Claim(1, _TrustClaim())] = None
    executables: Annotated[int | None, Claim(2, _TrustClaim())] = None
    file_system: Annotated[int | None, Claim(3, _TrustClaim())] = None
    hardware: Annotated[int | None, Claim(4, _TrustClaim())] = None
    runtime_opaque: Annotated[int | None, Claim(5, _TrustClaim())] = None
    storage_opaque: Annotated[int | None, Claim(6, _TrustClaim())] = None
    sourced_data: Annotated[int | None, Claim(7, _TrustClaim())] = None

    @classmethod
    def from_map(cls, value: Any, place: Place) -> TrustVector:
        """Refuses an empty vector."""
        vector = super().from_map(value, place)
        if not value:
            raise place.malformed("at least one trustworthiness claim")
        return vector

    def to_json(self) -> dict[str, int]:
        """By the names of AR4SI."""
        values = {field.name.replace("_", "-"): getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Reason:
    """Why the result is not affirming: the code of the refusal, where in the evidence, and what was found."""

    code: str
    place: str
    detail: str


class _ReasonForm:
    """[code, place, detail]."""

    def dump(self, value: Reason) -> list[str]:
        return [value.code, value.place[:MAX_PLACE], value.detail[:MAX_DETAIL]]

    def load(self, value: Any, place: Place) -> Reason:
        if not isinstance(value, list) or len(value) != 3:
            raise place.malformed("an array of three")
        code, where, detail = value
        return Reason(
            Text(MAX_CODE).load(code, place / 0),
            Text(MAX_PLACE, empty=True).load(where, place / 1),
            Text(MAX_DETAIL, empty=True).load(detail, place / 2),
        )


@dataclass(frozen=True)
class _VerifierId(Claims):
    """verifier-id of AR4SI."""

    FORMAT = "ear"

    developer: Annotated[str, Claim(0, Text(MAX_TEXT))]
    build: Annotated[str, Claim(1, Text(MAX_TEXT))]


@dataclass(frozen=True)
class _Appraisal(Claims):
    """EAR-appraisal of one submodule: the device. The extensions are ours."""

    FORMAT = "ear"

    status: Annotated[Tier, Claim(1000, _TierForm())]
    vector: Annotated[TrustVector, Claim(1001, Inner(TrustVector))]
    policy_ids: Annotated[tuple[str, ...], Claim(1003, Many(Text(MAX_TEXT), 1))]
    evidence_digest: Annotated[bytes, Claim(-75010, SHA256)]
    boot_count: Annotated[int | None, Claim(267, Uint(2**32 - 1))] = None
    reasons: Annotated[tuple[Reason, ...] | None, Claim(-75011, Many(_ReasonForm(), MAX_REASONS))] = None
    ledger_head: Annotated[LedgerHead | None, Claim(LedgerHeadForm.LABEL, LedgerHeadForm())] = None
    quirks: Annotated[tuple[str, ...] | None, Claim(-75012, Many(Text(MAX_CODE), MAX_QUIRKS))] = None
    release: Annotated[str | None, Claim(-75013, Text(MAX_RELEASE))] = None


@dataclass(frozen=True)
class _Submods:
    """Exactly one submodule, by the device's id."""

    def dump(self, value: Mapping[str, _Appraisal]) -> dict[str, Any]:
        return Named(Inner(_Appraisal), 1).dump(value)

    def load(self, value: Any, place: Place) -> dict[str, _Appraisal]:
        appraisals: dict[str, _Appraisal] = Named(Inner(_Appraisal), 1).load(value, place)
        if not appraisals:
            raise place.malformed("the appraisal of one device")
        return appraisals


@dataclass(frozen=True)
class _EarClaims(Claims):
    """EAR."""

    FORMAT = "ear"

    issued_at: Annotated[int, Claim(6, Uint())]
    nonce: Annotated[bytes, Claim(10, Between(*NONCE_BYTES))]
    submods: Annotated[Mapping[str, _Appraisal], Claim(266, _Submods())]
    verifier: Annotated[_VerifierId, Claim(1004, Inner(_VerifierId))]
    profile: Annotated[str, Claim(265, Exactly(PROFILE))] = PROFILE


@dataclass(frozen=True)
class Ear:
    """The result of one appraisal of one device's evidence, issued at a time in seconds since 1970.

    What the draft has no claim for stands in private claims of the device's submodule::

        267     boot_count, EAT's own label     -75010  evidence_digest, SHA-256 of the evidence as it was received
        -75002  ledger_head, as in our EAT      -75011  reasons, [[code, place, detail], ...]
                                                -75012  quirks of the device's firmware that were let pass, by name
                                                -75013  release whose reference values the boot matched
    """

    issued_at: int
    verifier_developer: str
    verifier_build: str
    nonce: bytes
    status: Tier
    vector: TrustVector
    policy_id: str
    evidence_digest: bytes
    device: str
    boot_count: int | None = None
    reasons: tuple[Reason, ...] = ()
    ledger_head: LedgerHead | None = None
    quirks: tuple[str, ...] = ()
    release: str | None = None

    @classmethod
    def parse(cls, payload: bytes) -> Ear:
        """From deterministic CBOR; InputError `ear-*` or `cbor-*`."""
        claims = _EarClaims.parse(payload)
        ((device, appraisal),) = claims.submods.items()
        if len(appraisal.policy_ids) != 1 or () in (appraisal.reasons, appraisal.quirks):
            raise Place("ear", f"/266/{device}").malformed("one policy, and reasons and quirks or no claim of them")
        return cls(
            issued_at=claims.issued_at,
            verifier_developer=claims.verifier.developer,
            verifier_build=claims.verifier.build,
            nonce=claims.nonce,
            status=appraisal.status,
            vector=appraisal.vector,
            policy_id=appraisal.policy_ids[0],
            evidence_digest=appraisal.evidence_digest,
            device=device,
            boot_count=appraisal.boot_count,
            reasons=appraisal.reasons or (),
            ledger_head=appraisal.ledger_head,
            quirks=appraisal.quirks or (),
            release=appraisal.release,
        )

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        appraisal = _Appraisal(
            status=self.status,
            vector=self.vector,
            policy_ids=(self.policy_id,),
            evidence_digest=self.evidence_digest,
            boot_count=self.boot_count,
            reasons=self.reasons or None,
            ledger_head=self.ledger_head,
            quirks=self.quirks or None,
            release=self.release,
        )
        verifier = _VerifierId(self.verifier_developer, self.verifier_build)
        return _EarClaims(self.issued_at, self.nonce, {self.device: appraisal}, verifier).encode()

    def to_json(self) -> dict[str, Any]:
        """The JSON twin, for json.dumps: names of the draft, byte strings in base64url."""
        appraisal: dict[str, Any] = {
            "ear_status": self.status.name.lower(),
            "ear_trustworthiness_vector": self.vector.to_json(),
            "ear_appraisal_policy_ids": [self.policy_id],
            "medvouch_evidence_digest": _base64url(self.evidence_digest),
        }
        if self.boot_count is not None:
            appraisal["bootcount"] = self.boot_count
        if self.reasons:
            appraisal["medvouch_reasons"] = [vars(reason) for reason in self.reasons]
        if self.quirks:
            appraisal["medvouch_quirks"] = list(self.quirks)
        if self.release is not None:
            appraisal["medvouch_release"] = self.release
        if self.ledger_head is not None:
            appraisal["medvouch_ledger_head"] = {
                **vars(self.ledger_head),
                "root": _base64url(self.ledger_head.root),
            }
        return {
            "eat_profile": PROFILE,
            "iat": self.issued_at,
            "ear_verifier_id": {"developer": self.verifier_developer, "build": self.verifier_build},
            "eat_nonce": _base64url(self.nonce),
            "submods": {self.device: appraisal},
        }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
