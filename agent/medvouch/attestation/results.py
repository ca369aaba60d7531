"""Attestation results: an EAR (draft-ietf-rats-ear) signed by the appraiser, checked when it comes home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medvouch.attestation import refusals
from medvouch.crypto import cose, jws
from medvouch.crypto.keys import PublicKey, Signer
from medvouch.errors import MedvouchError, Refusal
from medvouch.formats.ear import Ear, Reason, Tier, TrustVector
from medvouch.formats.ear_json import ear_from_json
from medvouch.formats.eat import LedgerHead

if TYPE_CHECKING:
    from medvouch.attestation.appraisal import Appraisal  # devices check results and appraise nothing

CONTENT_TYPE = "application/eat+cwt"
JWT_TYPE = "eat+jwt"
"""The media type application/eat+jwt (RFC 9782) as the header `typ` has it."""

AFFIRMING_VECTOR = TrustVector(instance_identity=2, configuration=2, executables=2, hardware=2)
"""AR4SI: recognised and not compromised instance, approved configuration, approved boot, genuine hardware."""

_EXECUTABLES_UNRECOGNISED = TrustVector(instance_identity=2, executables=33, hardware=2)
_EXECUTABLES_CONTRAINDICATED = TrustVector(instance_identity=2, executables=96, hardware=2)
_NOTHING_SAID = TrustVector(instance_identity=2, hardware=2)
_CONFIGURATION_UNSUPPORTED = TrustVector(instance_identity=2, configuration=96, hardware=2)
CRYPTOGRAPHY_FAILED = TrustVector(instance_identity=99)
_INSTANCE_UNKNOWN = TrustVector(instance_identity=97)
_VERIFIER_LACKS = TrustVector(executables=-1)
"""AR4SI: verifier malfunction, so nothing is said of the device."""

_VECTORS = {
    refusals.IDENTITY_MISMATCH.code: _INSTANCE_UNKNOWN,
    refusals.SIGNER_NOT_ENROLLED.code: _INSTANCE_UNKNOWN,
    refusals.UEID_MISMATCH.code: _INSTANCE_UNKNOWN,
    refusals.TPM_CLEARED.code: _INSTANCE_UNKNOWN,
    refusals.LEDGER_ROLLED_BACK.code: _INSTANCE_UNKNOWN,
    refusals.LEDGER_FORKED.code: _INSTANCE_UNKNOWN,
    refusals.SECURE_BOOT_OFF.code: _CONFIGURATION_UNSUPPORTED,
    refusals.AUTHORITY_NOT_ALLOWED.code: _CONFIGURATION_UNSUPPORTED,
    refusals.DB_NOT_ALLOWED.code: _CONFIGURATION_UNSUPPORTED,
    refusals.DBX_INCOMPLETE.code: _CONFIGURATION_UNSUPPORTED,
    refusals.IMA_MISSING.code: _CONFIGURATION_UNSUPPORTED,
    refusals.IMA_VIOLATION.code: _EXECUTABLES_UNRECOGNISED,
    refusals.IMA_FILE_NOT_ALLOWED.code: _EXECUTABLES_UNRECOGNISED,
    refusals.IMA_FILE_NOT_SIGNED.code: _EXECUTABLES_UNRECOGNISED,
    refusals.CLOCK_NOT_SAFE.code: _NOTHING_SAID,
    refusals.NONCE_NOT_DEMANDED.code: _VERIFIER_LACKS,
    refusals.LEDGER_NOT_JUDGED.code: _VERIFIER_LACKS,
    refusals.PCR_MISMATCH.code: _EXECUTABLES_UNRECOGNISED,
    refusals.PCR_UNEXPLAINED.code: _EXECUTABLES_UNRECOGNISED,
    refusals.BOOT_AGGREGATE_MISMATCH.code: _EXECUTABLES_UNRECOGNISED,
    refusals.EVENT_UNEXPECTED.code: _EXECUTABLES_UNRECOGNISED,
    refusals.EVENT_MISSING.code: _EXECUTABLES_UNRECOGNISED,
    refusals.RELEASE_BELOW_FLOOR.code: _EXECUTABLES_CONTRAINDICATED,
    refusals.REFERENCE_MISSING.code: _VERIFIER_LACKS,
}
"""AR4SI claims of a refusal; what is not named here broke the cryptographic chain (99)."""


@dataclass(frozen=True)
class Occasion:
    """What a result is about: which device answered which challenge with what, judged when and by which build."""

    device: str
    nonce: bytes
    evidence_digest: bytes
    issued_at: int
    developer: str
    build: str
    policy_id: str


def affirm(occasion: Occasion, appraisal: Appraisal) -> Ear:
    """The EAR of evidence that passed every step; no word of executables where no whole release was asked for."""
    vector = AFFIRMING_VECTOR if appraisal.release is not None else replace(AFFIRMING_VECTOR, executables=None)
    ear = _ear(occasion, Tier.AFFIRMING, vector, appraisal.boot_clock.reset_count, ())
    return replace(ear, ledger_head=appraisal.ledger_head, quirks=appraisal.quirks, release=appraisal.release)


def contraindicate(occasion: Occasion, error: MedvouchError) -> Ear:
    """The EAR of evidence that a step refused or that did not parse; no verdict where the appraiser is at fault."""
    reason = Reason(error.code, error.place, error.detail)
    vector = _VECTORS.get(error.code, CRYPTOGRAPHY_FAILED)
    status = Tier.NONE if vector == _VERIFIER_LACKS else Tier.CONTRAINDICATED
    return _ear(occasion, status, vector, None, (reason,))


def _ear(
    occasion: Occasion, status: Tier, vector: TrustVector, boot_count: int | None, reasons: tuple[Reason, ...]
) -> Ear:
    return Ear(
        issued_at=occasion.issued_at,
        verifier_developer=occasion.developer,
        verifier_build=occasion.build,
        nonce=occasion.nonce,
        status=status,
        vector=vector,
        policy_id=occasion.policy_id,
        evidence_digest=occasion.evidence_digest,
        device=occasion.device,
        boot_count=boot_count,
        reasons=reasons,
    )


def sign_result(ear: Ear, signer: Signer) -> bytes:
    """The EAR as a CWT (COSE_Sign1)."""
    return cose.sign1(ear.encode(), signer, content_type=CONTENT_TYPE)


def sign_result_jwt(ear: Ear, signer: Signer) -> str:
    """The EAR's JSON twin as a JWT (JWS in the compact form)."""
    return jws.sign_compact(ear.to_json(), signer, typ=JWT_TYPE)


@dataclass(frozen=True)
class VerifiedEar:
    """An EAR that a trusted appraiser signed; `data` is the signed whole."""

    ear: Ear
    data: bytes


def verify_signed(data: bytes, appraisers: Sequence[PublicKey]) -> VerifiedEar:
    """An EAR under a trusted appraiser's signature; Refusal `result-signature-invalid` otherwise."""
    payload = cose.verify1_by_any(
        data, appraisers, content_type=CONTENT_TYPE, otherwise=refusals.RESULT_SIGNATURE_INVALID
    )
    return VerifiedEar(Ear.parse(payload), data)


def verify_signed_jwt(token: str, appraisers: Sequence[PublicKey]) -> VerifiedEar:
    """An EAR as a JWT under a trusted appraiser's signature; Refusal `result-signature-invalid` otherwise.

    Raises InputError `jws-*`, `ear-*`.
    """
    try:
        document = jws.verify_compact(token, appraisers, typ=JWT_TYPE)
    except Refusal as cause:
        raise Refusal(refusals.RESULT_SIGNATURE_INVALID, f"{cause.code}: {cause.detail}") from cause
    return VerifiedEar(ear_from_json(document), token.encode())


def verify_result(
    data: bytes,
    appraisers: Sequence[PublicKey],
    *,
    device: str,
    nonce: bytes,
    evidence_digest: bytes,
    ledger_head: LedgerHead | None = None,
) -> VerifiedEar:
    """What the device checks before it believes a verdict about itself; a good one confirms the ledger head it sent.

    Raises Refusal `result-signature-invalid`, `result-device-mismatch`, `result-nonce-mismatch`,
    `result-evidence-mismatch`, `result-ledger-mismatch`; InputError where the claims are malformed.
    """
    verified = verify_signed(data, appraisers)
    ear = verified.ear
    if ear.device != device:
        raise Refusal(refusals.RESULT_DEVICE_MISMATCH, f"it is about {ear.device}")
    if ear.nonce != nonce:
        raise Refusal(refusals.RESULT_NONCE_MISMATCH, f"it answers {ear.nonce.hex()}")
    if ear.evidence_digest != evidence_digest:
        raise Refusal(refusals.RESULT_EVIDENCE_MISMATCH, f"it judges evidence {ear.evidence_digest.hex()}")
    if ear.status is Tier.AFFIRMING and ear.ledger_head != ledger_head:
        raise Refusal(refusals.RESULT_LEDGER_MISMATCH, f"it confirms {ear.ledger_head}, sent was {ledger_head}")
    return verified
