"""Whose signatures an envelope has, and how much is done to find out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.crypto.cose import Claim, sign1
from medvouch.crypto.keys import PublicKey, SoftwareSigner, key_thumbprint, spki
from medvouch.formats.cose import ALG, KID, Sign1
from medvouch.formats.suit import MAX_SIGNATURES, Envelope
from medvouch.release.manifests import add_signature, build_envelope, integrated
from medvouch.update import refusals
from medvouch.update.signatures import MAX_WORK, signers
from support.authorities import key
from support.refusing import assert_refused
from support.suit import CONTENTS, MANIFEST

ENVELOPE = Envelope.parse(build_envelope(MANIFEST, integrated(CONTENTS)))
SIGNERS = [SoftwareSigner(key(f"signer {number}")) for number in range(MAX_WORK + 1)]
STRANGER = SoftwareSigner(key("stranger"))


def by_name(*given: SoftwareSigner) -> Mapping[bytes, PublicKey]:
    return {spki(each.public_key): each.public_key for each in given}


def signature(signer: SoftwareSigner, **protected: Any) -> bytes:
    """Without a kid; another for each of `protected`."""
    return sign1(ENVELOPE.signed, signer, protected=dict(protected), detached=True)


def naming(signer: SoftwareSigner, named: SoftwareSigner, *, signed: bool = True) -> bytes:
    """With the kid of a key, not necessarily its own."""
    kid = {KID: key_thumbprint(named.public_key)}
    where = {"protected": kid} if signed else {"unprotected": kid}
    return sign1(ENVELOPE.signed, signer, detached=True, **where)  # type: ignore[arg-type]


def enclosed(*blocks: bytes) -> Envelope:
    return replace(ENVELOPE, signatures=blocks)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[PublicKey]:
    """The keys that signatures were checked with."""
    made: list[PublicKey] = []
    check = Claim.check

    def counted(claim: Claim, key: PublicKey) -> None:
        made.append(key)
        check(claim, key)

    monkeypatch.setattr(Claim, "check", counted)
    return made


def test_our_tools_name_the_key_where_it_is_signed() -> None:
    signed = Envelope.parse(add_signature(ENVELOPE.encode(), SIGNERS[0]))
    block = Sign1.parse(signed.signatures[0])
    assert block.protected == {ALG: -7, KID: key_thumbprint(SIGNERS[0].public_key)}
    assert block.kid == block.protected[KID]


@pytest.mark.parametrize("signed", [True, False])
def test_a_signature_is_tried_with_the_key_that_it_names_alone(checks: list[PublicKey], signed: bool) -> None:
    last = SIGNERS[-1]
    assert signers(enclosed(naming(last, last, signed=signed)), by_name(*SIGNERS)) == (spki(last.public_key),)
    assert checks == [last.public_key]


def test_one_that_names_a_stranger_or_another_is_nobodys(checks: list[PublicKey]) -> None:
    first, second = SIGNERS[:2]
    assert signers(enclosed(naming(first, STRANGER), naming(second, first)), by_name(*SIGNERS)) == ()
    assert checks == [first.public_key]


@pytest.mark.parametrize("kid", ["signer 0", 7, None])
def test_a_kid_that_is_no_byte_string_is_none(kid: object) -> None:
    block = sign1(ENVELOPE.signed, SIGNERS[0], unprotected={KID: kid}, detached=True)
    assert signers(enclosed(block), by_name(*SIGNERS[:2])) == (spki(SIGNERS[0].public_key),)


def test_without_a_kid_all_that_fit_are_tried_while_that_is_little(checks: list[PublicKey]) -> None:
    known = SIGNERS[: MAX_WORK // 3]
    blocks = [signature(each) for each in (known[-1], STRANGER, known[0])]
    assert signers(enclosed(*blocks), by_name(*known)) == tuple(spki(each.public_key) for each in (known[-1], known[0]))
    assert len(checks) == 2 * len(known) + 1


def test_more_work_than_an_honest_manifest_makes_is_refused_before_any_is_done(checks: list[PublicKey]) -> None:
    known = by_name(*SIGNERS[: MAX_WORK // 3 + 1])
    blocks = [signature(each) for each in (*SIGNERS[:2], STRANGER)]
    refused = assert_refused(refusals.MANIFEST_SIGNATURES_TOO_MANY, signers, enclosed(*blocks), known)
    assert refused.detail == "3 signatures and 17 keys: the work of 51 checks, 48 are made"
    crowd = [signature(STRANGER, n=number) for number in range(MAX_SIGNATURES)]
    assert_refused(refusals.MANIFEST_SIGNATURES_TOO_MANY, signers, enclosed(*crowd), by_name(*SIGNERS[:4]))
    assert checks == []
    named = [naming(each, each) for each in SIGNERS[:MAX_SIGNATURES]]
    assert len(signers(enclosed(*named), by_name(*SIGNERS))) == MAX_SIGNATURES


def test_larger_curves_count_for_more_and_keys_that_cannot_have_signed_for_nothing(checks: list[PublicKey]) -> None:
    large = [SoftwareSigner(ec.generate_private_key(ec.SECP384R1())) for _ in range(4)]
    three = by_name(*large[:3], *SIGNERS)
    assert signers(enclosed(*map(signature, large[:3])), three) == tuple(spki(each.public_key) for each in large[:3])
    assert len(checks) == 6
    four = by_name(*large)
    assert_refused(refusals.MANIFEST_SIGNATURES_TOO_MANY, signers, enclosed(*map(signature, large[:3])), four)


@pytest.mark.parametrize(
    "blocks",
    [
        lambda: [naming(SIGNERS[0], SIGNERS[0]), naming(STRANGER, SIGNERS[0])],
        lambda: [naming(STRANGER, STRANGER), naming(STRANGER, STRANGER, signed=False)],
        lambda: [signature(STRANGER)] * 2,
        lambda: [naming(SIGNERS[0], SIGNERS[0])] * 2,
    ],
)
def test_what_comes_twice_is_refused_before_any_is_checked(checks: list[PublicKey], blocks: Any) -> None:
    refused = assert_refused(refusals.MANIFEST_KEY_REPEATED, signers, enclosed(*blocks()), by_name(*SIGNERS))
    assert refused.place == "signature 1, after 0"
    assert checks == []


def test_a_key_that_signs_twice_under_two_names(checks: list[PublicKey]) -> None:
    blocks = naming(SIGNERS[0], SIGNERS[0]), signature(STRANGER), signature(SIGNERS[0])
    refused = assert_refused(refusals.MANIFEST_KEY_REPEATED, signers, enclosed(*blocks), by_name(*SIGNERS[:3]))
    assert refused.place == "signature 2, after 0"
