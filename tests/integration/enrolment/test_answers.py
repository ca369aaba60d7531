"""What the device refuses to take from the authority, or from somebody who would be it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medvouch.attestation import refusals
from medvouch.attestation.enrolment import EnrolmentAuthority
from medvouch.crypto import cose
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import InputError, Refusal
from medvouch.formats.enrolment import CONTENT_TYPE, Answer, message_digest, parse_verdict, ueid
from medvouch.formats.identity import DeviceIdentity
from medvouch.formats.record import Record
from support.authorities import NOW, key
from support.enrolling import Gateway, payload
from support.refusing import assert_refused


def signed_by(label: str, record: Record) -> bytes:
    return cose.sign1(record.encode(), SoftwareSigner(key(label)), content_type=CONTENT_TYPE)


def unkept(identity: DeviceIdentity) -> None:
    raise AssertionError("no identity may come of this")


def test_a_challenge_of_somebody_else(authority: EnrolmentAuthority, gateway: Gateway) -> None:
    enrollee = gateway.enrollee()
    challenge, _ = authority.challenge(enrollee.request(), NOW)
    forged = signed_by("forger", parse_verdict(payload(challenge)))
    assert_refused(refusals.AUTHORITY_SIGNATURE_INVALID, enrollee.proof, forged)
    assert_refused(refusals.AUTHORITY_SIGNATURE_INVALID, gateway.enrollee(authorities=[]).proof, challenge)
    with pytest.raises(InputError):
        enrollee.proof(challenge[:-1])


def test_a_challenge_to_another_request(authority: EnrolmentAuthority, gateway: Gateway) -> None:
    enrollee = gateway.enrollee()
    challenge, _ = authority.challenge(enrollee.request(), NOW)
    assert_refused(refusals.ANSWER_MISMATCH, gateway.enrollee().proof, challenge)
    enrollee.request()
    assert_refused(refusals.ANSWER_MISMATCH, enrollee.proof, challenge)
    assert_refused(refusals.ANSWER_MISMATCH, enrollee.accept, challenge, unkept)


def test_refusals_come_home(authority: EnrolmentAuthority, gateway: Gateway) -> None:
    enrollee, error = gateway.enrollee(), Refusal(refusals.EK_NOT_ON_MANIFEST, "x" * 2000)
    request = enrollee.request()
    found = assert_refused(refusals.ENROLMENT_REFUSED, enrollee.proof, authority.refuse(request, error))
    assert found.detail.startswith("ek-not-on-manifest: xxx")
    assert_refused(refusals.ANSWER_MISMATCH, enrollee.proof, authority.refuse(b"another message", error))
    challenge, _ = authority.challenge(request, NOW)
    refused = authority.refuse(enrollee.proof(challenge), error)
    assert_refused(refusals.ENROLMENT_REFUSED, enrollee.accept, refused, unkept)


def test_answers_to_others(authority: EnrolmentAuthority, gateway: Gateway) -> None:
    enrollee = gateway.enrollee()
    challenge, pending = authority.challenge(enrollee.request(), NOW)
    proof = enrollee.proof(challenge)
    answer = parse_verdict(payload(authority.answer(pending, proof, NOW).answer))
    assert isinstance(answer, Answer)
    assert answer.proof == message_digest(proof)
    for change in (
        {"proof": bytes(32)},
        {"ek_hash": bytes(32)},
        {"ueid": ueid(bytes(32))},
        {"device_id": "0" * 32},
        {"lak_certificate": answer.ldevid_certificate},
        {"ldevid_certificate": answer.lak_certificate},
        {"client_certificate": answer.lak_certificate},
    ):
        changed = signed_by("enrolment", replace(answer, **change))
        assert_refused(refusals.ANSWER_MISMATCH, enrollee.accept, changed, unkept)
    assert_refused(refusals.AUTHORITY_SIGNATURE_INVALID, enrollee.accept, signed_by("forger", answer), unkept)
    enrollee.request()
    assert_refused(refusals.ANSWER_MISMATCH, enrollee.accept, signed_by("enrolment", answer), unkept)
    assert not gateway.tpm.ownership_taken()
