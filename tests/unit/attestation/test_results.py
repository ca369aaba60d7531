"""Attestation results: what they say of which refusal, and what the device checks before it believes one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from medvouch.attestation import refusals
from medvouch.attestation.appraisal import appraise
from medvouch.attestation.evidence import UnverifiedEvidence, evidence_digest
from medvouch.attestation.policy import RELEASE_POLICY
from medvouch.attestation.results import (
    AFFIRMING_VECTOR,
    CONTENT_TYPE,
    JWT_TYPE,
    Occasion,
    affirm,
    contraindicate,
    sign_result,
    sign_result_jwt,
    verify_result,
    verify_signed,
    verify_signed_jwt,
)
from medvouch.crypto import cose, jws
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import MAX_DETAIL, MAX_PLACE, InputError, Refusal, RefusalKind
from medvouch.formats.ear import Ear, Reason, Tier, TrustVector
from medvouch.formats.eat import LedgerHead
from support.authorities import NOW, key
from support.evidence import CLOCK, DEVICE, NONCE, anchors, evidence, expectation
from support.refusing import assert_refused

EVIDENCE = evidence()
DIGEST = evidence_digest(EVIDENCE)
OCCASION = Occasion(DEVICE, NONCE, DIGEST, NOW, "medvouch", "0.1.0", RELEASE_POLICY.id)
APPRAISER = SoftwareSigner(key("appraiser"))
TRUSTED = [key("stranger").public_key(), APPRAISER.public_key]

UNKNOWN_INSTANCE = TrustVector(instance_identity=97)
FOREIGN_EXECUTABLES = TrustVector(instance_identity=2, executables=33, hardware=2)
CLOSED_EXECUTABLES = TrustVector(instance_identity=2, executables=96, hardware=2)
UNSAFE_CONFIGURATION = TrustVector(instance_identity=2, configuration=96, hardware=2)
BROKEN_CRYPTOGRAPHY = TrustVector(instance_identity=99)
VERIFIER_LACKS = TrustVector(executables=-1)
VECTORS = {
    "identity-mismatch": UNKNOWN_INSTANCE,
    "signer-not-enrolled": UNKNOWN_INSTANCE,
    "ueid-mismatch": UNKNOWN_INSTANCE,
    "tpm-cleared": UNKNOWN_INSTANCE,
    "ledger-rolled-back": UNKNOWN_INSTANCE,
    "ledger-history-changed": UNKNOWN_INSTANCE,
    "secure-boot-off": UNSAFE_CONFIGURATION,
    "pcr-mismatch": FOREIGN_EXECUTABLES,
    "pcr-unexplained": FOREIGN_EXECUTABLES,
    "boot-aggregate-mismatch": FOREIGN_EXECUTABLES,
    "event-unexpected": FOREIGN_EXECUTABLES,
    "event-missing": FOREIGN_EXECUTABLES,
    "release-below-floor": CLOSED_EXECUTABLES,
    "reference-missing": VERIFIER_LACKS,
    "authority-not-allowed": UNSAFE_CONFIGURATION,
    "db-not-allowed": UNSAFE_CONFIGURATION,
    "dbx-incomplete": UNSAFE_CONFIGURATION,
    "ima-missing": UNSAFE_CONFIGURATION,
    "ima-violation": FOREIGN_EXECUTABLES,
    "ima-file-not-allowed": FOREIGN_EXECUTABLES,
    "ima-file-not-signed": FOREIGN_EXECUTABLES,
    "clock-not-safe": TrustVector(instance_identity=2, hardware=2),
    "nonce-not-demanded": VERIFIER_LACKS,
    "ledger-not-judged": VERIFIER_LACKS,
}
"""AR4SI: 97 not recognised, 33 executables not recognised, 96 those or configuration unsafe, 99 cryptography failed."""


def affirmed() -> Ear:
    appraisal = appraise(UnverifiedEvidence.parse(EVIDENCE), expectation(), anchors(), RELEASE_POLICY, NOW)
    return affirm(OCCASION, appraisal)


@pytest.mark.parametrize("lenient", [{"match_reference": False}, {"reference_pcrs": frozenset({7})}])
def test_executables_that_no_release_was_asked_of_are_not_approved(lenient: dict[str, Any]) -> None:
    policy = replace(RELEASE_POLICY, **lenient)
    appraisal = appraise(UnverifiedEvidence.parse(EVIDENCE), expectation(), anchors(), policy, NOW)
    ear = affirm(OCCASION, appraisal)
    assert (ear.status, ear.vector.executables, ear.release) == (Tier.AFFIRMING, None, None)
    assert replace(ear.vector, executables=2) == AFFIRMING_VECTOR


def test_what_passed_every_step_is_affirmed() -> None:
    assert affirmed() == Ear(
        issued_at=NOW,
        verifier_developer="medvouch",
        verifier_build="0.1.0",
        nonce=NONCE,
        status=Tier.AFFIRMING,
        vector=TrustVector(instance_identity=2, configuration=2, executables=2, hardware=2),
        policy_id=RELEASE_POLICY.id,
        evidence_digest=DIGEST,
        device=DEVICE,
        boot_count=CLOCK.reset_count,
        release="1.0.0",
    )


@pytest.mark.parametrize("kind", refusals.TABLE.values(), ids=refusals.TABLE)
def test_what_a_refusal_says_of_the_device(kind: RefusalKind) -> None:
    ear = contraindicate(OCCASION, Refusal(kind, "this was found", place="PCR 4"))
    assert ear.vector == VECTORS.get(kind.code, BROKEN_CRYPTOGRAPHY)
    assert ear.status is (Tier.NONE if ear.vector == VERIFIER_LACKS else Tier.CONTRAINDICATED)
    assert ear.reasons == (Reason(kind.code, "PCR 4", "this was found"),)
    assert (ear.device, ear.nonce, ear.evidence_digest, ear.boot_count) == (DEVICE, NONCE, DIGEST, None)
    assert Ear.parse(ear.encode()) == ear


def test_evidence_that_could_not_be_parsed() -> None:
    ear = contraindicate(OCCASION, InputError("eventlog-truncated", "the log ends within an event"))
    assert (ear.status, ear.vector) == (Tier.CONTRAINDICATED, BROKEN_CRYPTOGRAPHY)
    assert ear.reasons == (Reason("eventlog-truncated", "", "the log ends within an event"),)


def test_a_reason_of_any_length_is_sent() -> None:
    error = InputError("eventlog-malformed", "d" * 10_000, place="p" * 10_000)
    (reason,) = Ear.parse(contraindicate(OCCASION, error).encode()).reasons
    assert reason == Reason("eventlog-malformed", error.place, error.detail)
    assert (len(reason.place), len(reason.detail)) == (MAX_PLACE, MAX_DETAIL)


def verified(data: bytes, **changes: Any) -> Ear:
    given = {"device": DEVICE, "nonce": NONCE, "evidence_digest": DIGEST}
    return verify_result(data, TRUSTED, **{**given, **changes}).ear


def test_a_result_comes_home() -> None:
    contraindicated = contraindicate(OCCASION, Refusal(refusals.EVENT_UNEXPECTED, "another kernel", place="PCR 4"))
    for ear in (affirmed(), contraindicated):
        data = sign_result(ear, APPRAISER)
        assert verified(data) == ear
        assert verify_signed(data, TRUSTED).data == data


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (refusals.RESULT_DEVICE_MISMATCH, {"device": "ab" * 16}),
        (refusals.RESULT_NONCE_MISMATCH, {"nonce": bytes(32)}),
        (refusals.RESULT_EVIDENCE_MISMATCH, {"evidence_digest": bytes(32)}),
    ],
    ids=lambda value: value.code if isinstance(value, RefusalKind) else "",
)
def test_a_result_about_something_else(kind: RefusalKind, changes: dict[str, Any]) -> None:
    assert_refused(kind, verified, sign_result(affirmed(), APPRAISER), **changes)
    assert_refused(kind, verified, sign_result(replace(affirmed(), **changes), APPRAISER))


def test_a_result_that_confirms_another_ledger() -> None:
    """A good verdict does; one that says no confirms none, and is heard."""
    head, other = (LedgerHead(size, bytes(32), 3) for size in (2, 3))
    confirming = sign_result(replace(affirmed(), ledger_head=head), APPRAISER)
    assert verified(confirming, ledger_head=head).ledger_head == head
    for sent in (other, None):
        assert_refused(refusals.RESULT_LEDGER_MISMATCH, verified, confirming, ledger_head=sent)
    assert_refused(refusals.RESULT_LEDGER_MISMATCH, verified, sign_result(affirmed(), APPRAISER), ledger_head=head)


def test_a_result_of_somebody_else() -> None:
    """Whatever it says: the signature comes first."""
    forged = sign_result(replace(affirmed(), device="ab" * 16), SoftwareSigner(key("impostor")))
    assert_refused(refusals.RESULT_SIGNATURE_INVALID, verified, forged)
    assert_refused(refusals.RESULT_SIGNATURE_INVALID, verify_signed, sign_result(affirmed(), APPRAISER), [])
    reference = cose.sign1(affirmed().encode(), APPRAISER, content_type="application/vnd.medvouch.reference+cbor")
    assert_refused(refusals.RESULT_SIGNATURE_INVALID, verified, reference)


def test_a_result_that_is_malformed() -> None:
    with pytest.raises(InputError, match="ear-malformed"):
        verified(cose.sign1(b"\xa0", APPRAISER, content_type=CONTENT_TYPE))
    with pytest.raises(InputError):
        verified(b"no message")


def test_a_result_as_jwt() -> None:
    ear = affirmed()
    token = sign_result_jwt(ear, APPRAISER)
    verified = verify_signed_jwt(token, TRUSTED)
    assert (verified.ear, verified.data) == (ear, token.encode())
    assert_refused(refusals.RESULT_SIGNATURE_INVALID, verify_signed_jwt, token, TRUSTED[:1])
    other = jws.sign_compact(ear.to_json(), APPRAISER, typ="JWT")
    assert_refused(refusals.RESULT_SIGNATURE_INVALID, verify_signed_jwt, other, TRUSTED)
    with pytest.raises(InputError, match="ear-malformed"):
        verify_signed_jwt(jws.sign_compact({}, APPRAISER, typ=JWT_TYPE), TRUSTED)
