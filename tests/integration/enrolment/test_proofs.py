"""Proofs that the authority refuses: each a real gateway's with the one thing changed that its guard is for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tpm2_pytss import ESYS_TR, TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE, TPMT_PUBLIC

from medvouch.adapters.tss_stack import unmarshal
from medvouch.attestation import quote_refusals, refusals
from medvouch.attestation.enrolment import EnrolmentAuthority
from medvouch.attestation.provisioning import (
    IDEVID_TEMPLATE,
    LAK_HANDLE,
    LAK_TEMPLATE,
    PARENT_HANDLE,
    attestation_key,
    nv_layout,
)
from medvouch.attestation.tpm_signer import TpmSigner
from medvouch.crypto import cose
from medvouch.crypto.keys import SoftwareSigner
from medvouch.crypto.tpm import name, qualified_name
from medvouch.formats.enrolment import CONTENT_TYPE, Answer, certify_qualifier, parse_verdict
from medvouch.formats.tpm import Attest
from medvouch.formats.tpm_public import NvAttribute, NvPublic, Public
from support.authorities import NOW, key
from support.enrolling import ORDER, Gateway, World, payload
from support.evidence import public_of, signed
from support.refusing import assert_refused

CERTIFIED = ["certify_ldevid", "certify_idevid", "certify_iak"]


def test_the_genuine_proof_holds_until_the_last_second(
    authority: EnrolmentAuthority, gateway: Gateway, challenged: Any
) -> None:
    for now in (NOW, NOW + 300):
        assert authority.answer(challenged.pending, gateway.sign(challenged.proof), now).serial == ORDER.serial
    proof = gateway.sign(challenged.proof)
    assert_refused(refusals.CHALLENGE_EXPIRED, authority.answer, challenged.pending, proof, NOW + 301)
    assert str(challenged.pending.secret) not in repr(challenged.pending)


def test_a_proof_of_another_idevid(authority: EnrolmentAuthority, challenged: Any) -> None:
    forged = cose.sign1(challenged.proof.encode(), SoftwareSigner(key("stranger")), content_type=CONTENT_TYPE)
    assert_refused(refusals.REQUEST_SIGNATURE_INVALID, authority.answer, challenged.pending, forged, NOW)


def test_a_proof_for_another_challenge(authority: EnrolmentAuthority, gateway: Gateway, challenged: Any) -> None:
    message = gateway.sign(challenged.earlier)
    assert_refused(refusals.CHALLENGE_MISMATCH, authority.answer, challenged.pending, message, NOW)


def test_a_secret_that_was_not_opened(authority: EnrolmentAuthority, gateway: Gateway, challenged: Any) -> None:
    for secret in (bytes(32), challenged.earlier.secret):
        message = gateway.sign(replace(challenged.proof, secret=secret))
        assert_refused(refusals.CREDENTIAL_NOT_ACTIVATED, authority.answer, challenged.pending, message, NOW)


@pytest.mark.parametrize("field", CERTIFIED)
def test_keys_that_the_lak_did_not_certify(
    authority: EnrolmentAuthority, gateway: Gateway, challenged: Any, field: str
) -> None:
    signed = getattr(challenged.proof, field)
    another = getattr(challenged.proof, CERTIFIED[CERTIFIED.index(field) - 1])
    changed = replace(signed, attest=signed.attest[:-1] + bytes([signed.attest[-1] ^ 1]))
    for wrong in (changed, replace(signed, signature=b""), another, challenged.quote):
        message = gateway.sign(replace(challenged.proof, **{field: wrong}))
        refusal = assert_refused(refusals.KEY_NOT_CERTIFIED, authority.answer, challenged.pending, message, NOW)
        assert refusal.place.lower() == field.removeprefix("certify_")


@pytest.mark.parametrize("field", CERTIFIED)
def test_keys_that_were_certified_for_another_challenge(
    authority: EnrolmentAuthority, gateway: Gateway, challenged: Any, field: str
) -> None:
    message = gateway.sign(replace(challenged.proof, **{field: getattr(challenged.earlier, field)}))
    refusal = assert_refused(refusals.CERTIFICATION_STALE, authority.answer, challenged.pending, message, NOW)
    assert refusal.place.lower() == field.removeprefix("certify_")


@pytest.mark.parametrize(
    "change",
    [
        {"auth_policy": b""},
        {"auth_policy": nv_layout(key("floor").public_key(), bytes(33))["floor"].auth_policy},
        {"attributes": NvAttribute.AUTHREAD | NvAttribute.AUTHWRITE | NvAttribute.COUNTER | NvAttribute.NO_DA},
        {"index": 0x01800000},
        {"size": 9},
    ],
)
def test_a_floor_that_others_could_move(
    authority: EnrolmentAuthority, gateway: Gateway, challenged: Any, change: dict[str, Any]
) -> None:
    publics = challenged.proof.nv_publics
    wrong = replace(NvPublic.parse(publics["floor"]), **change).encode()
    message = gateway.sign(replace(challenged.proof, nv_publics={**publics, "floor": wrong}))
    refusal = assert_refused(refusals.NV_INDEX_WRONG, authority.answer, challenged.pending, message, NOW)
    assert refusal.place == "floor"


def test_an_agent_of_before_defines_no_index_for_tuf_versions(
    authority: EnrolmentAuthority, gateway: Gateway, challenged: Any
) -> None:
    """And enrols all the same; without any other index it does not."""
    publics = challenged.proof.nv_publics
    for missing in publics:
        rest = {name: public for name, public in publics.items() if name != missing}
        message = gateway.sign(replace(challenged.proof, nv_publics=rest))
        if missing == "tuf-versions":
            assert authority.answer(challenged.pending, message, NOW).answer
        else:
            assert_refused(refusals.NV_INDEX_WRONG, authority.answer, challenged.pending, message, NOW)
    message = gateway.sign(replace(challenged.proof, nv_publics={**publics, "more": publics["floor"]}))
    assert_refused(refusals.NV_INDEX_WRONG, authority.answer, challenged.pending, message, NOW)


def test_a_floor_that_the_lak_did_not_certify(authority: EnrolmentAuthority, gateway: Gateway, challenged: Any) -> None:
    signed = challenged.proof.certify_floor
    changed = replace(signed, attest=signed.attest[:-1] + bytes([signed.attest[-1] ^ 1]))
    unsigned = replace(signed, signature=b"")
    for wrong in (changed, unsigned, challenged.proof.certify_iak, challenged.quote, challenged.other, challenged.half):
        message = gateway.sign(replace(challenged.proof, certify_floor=wrong))
        refusal = assert_refused(refusals.FLOOR_NOT_CERTIFIED, authority.answer, challenged.pending, message, NOW)
        assert refusal.place == "floor"


def test_a_floor_that_was_certified_for_another_challenge(
    authority: EnrolmentAuthority, gateway: Gateway, challenged: Any
) -> None:
    message = gateway.sign(replace(challenged.proof, certify_floor=challenged.earlier.certify_floor))
    refusal = assert_refused(refusals.CERTIFICATION_STALE, authority.answer, challenged.pending, message, NOW)
    assert refusal.place == "floor"


def test_a_proof_made_again_does_not_raise_the_floor(
    authority: EnrolmentAuthority, gateway: Gateway, challenged: Any
) -> None:
    first, again = (Attest.parse(proof.certify_floor.attest) for proof in (challenged.earlier, challenged.proof))
    assert first.attested == again.attested


@pytest.mark.parametrize(("known", "floor"), [(0, 3), (3, 3), (5, 5)])
def test_a_tpm_that_was_cleared_falls_to_no_lower_floor(
    everybody: World, gateway: Gateway, challenged: Any, known: int, floor: int
) -> None:
    authority = everybody.authority(gateway.entry, known_floors={gateway.entry.ek_hash: known, bytes(32): 9})
    enrolled = authority.answer(challenged.pending, gateway.sign(challenged.proof), NOW)
    answer = parse_verdict(payload(enrolled.answer))
    assert isinstance(answer, Answer)
    assert answer.floor == enrolled.floor == floor


def test_an_index_missing(authority: EnrolmentAuthority, gateway: Gateway, challenged: Any) -> None:
    fewer = {name: public for name, public in challenged.proof.nv_publics.items() if name != "floor"}
    message = gateway.sign(replace(challenged.proof, nv_publics=fewer))
    assert_refused(refusals.NV_INDEX_WRONG, authority.answer, challenged.pending, message, NOW)


def test_two_proofs_at_once(everybody: World, gateway: Gateway, challenged: Any) -> None:
    """Both were challenged while neither was enrolled; only one gets an identity."""
    authority = everybody.authority(gateway.entry, enrolled={gateway.entry.ek_hash})
    message = gateway.sign(challenged.proof)
    assert_refused(refusals.EK_ALREADY_ENROLLED, authority.answer, challenged.pending, message, NOW)


def test_the_lak_s_place_is_noted(authority: EnrolmentAuthority, gateway: Gateway, challenged: Any) -> None:
    enrolled = authority.answer(challenged.pending, gateway.sign(challenged.proof), NOW)
    lak, parent = (gateway.tpm.read_public(gateway.tpm.persistent(at)) for at in (LAK_HANDLE, PARENT_HANDLE))
    assert enrolled.lak_qualified_name == qualified_name(name(lak), qualified_name(name(parent)))


def test_an_idevid_of_another_hierarchy(authority: EnrolmentAuthority, gateway: Gateway, challenged: Any) -> None:
    """It would be gone with the owner's seed; whoever had it certified did not make it as the TCG says."""
    tpm, pending = gateway.tpm, challenged.pending
    template = TPM2B_PUBLIC(publicArea=unmarshal(TPMT_PUBLIC, IDEVID_TEMPLATE))
    made = tpm._esapi.create_primary(TPM2B_SENSITIVE_CREATE(), template, ESYS_TR.OWNER)
    idevid, lak = tpm._hold(lambda: made[0], transient=True), attestation_key(tpm)
    try:
        public = tpm.read_public(idevid)
        certified = tpm.certify(idevid, lak, certify_qualifier(pending.nonce))
        proof = replace(challenged.proof, certify_idevid=certified)
        message = cose.sign1(proof.encode(), TpmSigner(tpm, idevid, public), content_type=CONTENT_TYPE)
    finally:
        tpm.flush(idevid)
        tpm.flush(lak)
    asked = replace(pending, request=replace(pending.request, idevid_public=public))
    refusal = assert_refused(refusals.KEY_ELSEWHERE, authority.answer, asked, message, NOW)
    assert refusal.place == "IDevID"


def test_certifications_from_two_places(authority: EnrolmentAuthority, gateway: Gateway, challenged: Any) -> None:
    """No TPM says so of one key; a LAK in software does."""
    software = key("software LAK")
    lak = replace(Public.parse(LAK_TEMPLATE), unique=public_of(software).unique).encode()
    changes = {}
    for number, field in enumerate(CERTIFIED[:3]):
        attest = Attest.parse(getattr(challenged.proof, field).attest)
        changes[field] = signed(replace(attest, qualified_signer=b"\x00\x0b" + bytes([number // 2]) * 32), software)
    asked = replace(challenged.pending, request=replace(challenged.pending.request, lak_public=lak))
    message = gateway.sign(replace(challenged.proof, **changes))
    assert_refused(quote_refusals.SIGNER_ELSEWHERE, authority.answer, asked, message, NOW)
