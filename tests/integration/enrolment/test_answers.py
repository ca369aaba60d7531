"""What the device refuses to take from the authority, or from somebody who would be it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from medvouch.attestation import refusals
from medvouch.attestation.enrollee import Enrollee
from medvouch.attestation.enrolment import EnrolmentAuthority
from medvouch.attestation.provisioning import nv_layout
from medvouch.crypto import cose
from medvouch.crypto.floor import approve
from medvouch.crypto.keys import SoftwareSigner
from medvouch.crypto.tpm import nv_name
from medvouch.errors import InputError, Refusal, TpmFault
from medvouch.formats.enrolment import CONTENT_TYPE, Answer, message_digest, parse_verdict, ueid
from medvouch.formats.floor import FloorApproval
from medvouch.formats.identity import DeviceIdentity
from medvouch.formats.record import Record
from support.authorities import NOW, key
from support.enrolling import Gateway, World, payload
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


def test_a_first_rise_that_is_not_approved(everybody: World, gateway: Gateway) -> None:
    """By the TPM's judgement; nothing has risen, and with the approval it does."""
    enrollee = gateway.enrollee()
    request = enrollee.request()

    def challenge(approval: FloorApproval) -> bytes:
        authority = everybody.authority(gateway.entry, approve_floor=lambda _: approval.encode())
        return authority.challenge(request, NOW)[0]

    own, strange = (SoftwareSigner(key(label)) for label in ("floor", "stranger"))
    identifier = ueid(gateway.entry.ek_hash)
    name = nv_name(nv_layout(own.public_key, identifier)["floor"].encode())
    for approval in (
        approve(strange, b"", None, identifier),
        approve(own, b"", None, ueid(bytes(32))),
        approve(own, name, 0, identifier),
    ):
        with pytest.raises(TpmFault, match=r"tpm-refused.*TPM2_NV_Increment by approval"):
            enrollee.proof(challenge(approval))
    enrollee.proof(challenge(approve(own, b"", None, identifier)))
    malformed = everybody.authority(gateway.entry, approve_floor=lambda _: b"\xff")
    with pytest.raises(InputError):
        enrollee.proof(malformed.challenge(request, NOW)[0])


def test_refusals_come_home(authority: EnrolmentAuthority, gateway: Gateway) -> None:
    enrollee, error = gateway.enrollee(), Refusal(refusals.EK_NOT_ON_MANIFEST, "x" * 2000)
    request = enrollee.request()
    found = assert_refused(refusals.ENROLMENT_REFUSED, enrollee.proof, authority.refuse(request, error))
    assert found.detail.startswith("ek-not-on-manifest: xxx")
    challenge, _ = authority.challenge(request, NOW)
    refused = authority.refuse(enrollee.proof(challenge), error)
    assert_refused(refusals.ENROLMENT_REFUSED, enrollee.accept, refused, unkept)


def test_the_refusal_of_another_message(authority: EnrolmentAuthority, gateway: Gateway) -> None:
    enrollee, error = gateway.enrollee(), Refusal(refusals.EK_NOT_ON_MANIFEST, "x")
    enrollee.request()
    assert_refused(refusals.ANSWER_MISMATCH, enrollee.proof, authority.refuse(b"another message", error))


@dataclass(frozen=True)
class Answered:
    """A device that waits, and the answer that the authority would give it."""

    enrollee: Enrollee
    answer: Answer
    lak_public: bytes


@pytest.fixture(scope="module")
def answered(authority: EnrolmentAuthority, gateway: Gateway) -> Answered:
    enrollee = gateway.enrollee()
    challenge, pending = authority.challenge(enrollee.request(), NOW)
    proof = enrollee.proof(challenge)
    answer = parse_verdict(payload(authority.answer(pending, proof, NOW).answer))
    assert isinstance(answer, Answer)
    assert answer.proof == message_digest(proof)
    return Answered(enrollee, answer, pending.request.lak_public)


OTHERS: dict[str, Callable[[Answered], dict[str, Any]]] = {
    "another proof": lambda _: {"proof": bytes(32)},
    "another EK": lambda _: {"ek_hash": bytes(32)},
    "another UEID": lambda _: {"ueid": ueid(bytes(32))},
    "another device": lambda _: {"device_id": "0" * 32},
    "another floor": lambda to: {"floor_base": to.answer.floor_base - 1},
    "another IAK": lambda to: {"iak_public": to.lak_public},
    "the LDevID's certificate for the LAK": lambda to: {"lak_certificate": to.answer.ldevid_certificate},
    "the LAK's certificate for the LDevID": lambda to: {"ldevid_certificate": to.answer.lak_certificate},
    "the LAK's certificate for the client": lambda to: {"client_certificate": to.answer.lak_certificate},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_answers_to_others(answered: Answered, gateway: Gateway, change: Callable[[Answered], dict[str, Any]]) -> None:
    changed = signed_by("enrolment", replace(answered.answer, **change(answered)))
    assert_refused(refusals.ANSWER_MISMATCH, answered.enrollee.accept, changed, unkept)
    assert not gateway.tpm.ownership_taken()


def test_an_answer_of_somebody_else(answered: Answered, gateway: Gateway) -> None:
    forged = signed_by("forger", answered.answer)
    assert_refused(refusals.AUTHORITY_SIGNATURE_INVALID, answered.enrollee.accept, forged, unkept)
    assert not gateway.tpm.ownership_taken()


def test_an_answer_to_an_earlier_request(answered: Answered, gateway: Gateway) -> None:
    """Last of these: it asks again."""
    answered.enrollee.request()
    message = signed_by("enrolment", answered.answer)
    assert_refused(refusals.ANSWER_MISMATCH, answered.enrollee.accept, message, unkept)
    assert not gateway.tpm.ownership_taken()
