"""A quote on its own: what is accepted, and each lie with the code of its one guard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from medvouch.attestation import quote_refusals, refusals
from medvouch.attestation.quotes import PcrValues, VerifiedQuote, check_nonce, verify_quote
from medvouch.crypto import refusals as crypto_refusals
from medvouch.crypto.keys import coordinate_size
from medvouch.crypto.tpm import ENDORSEMENT, pcr_digest, qualified_name
from medvouch.errors import InputError, MedvouchError, RefusalKind
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import (
    Attest,
    AttestType,
    CertifyInfo,
    ClockInfo,
    PcrSelection,
    QuoteInfo,
    Signature,
    SignatureAlg,
)
from support.refusing import assert_refused

SHA1, SHA256, SHA384, SHA512 = HashAlg.SHA1, HashAlg.SHA256, HashAlg.SHA384, HashAlg.SHA512
HASHES = {SHA1: hashes.SHA1(), SHA256: hashes.SHA256(), SHA384: hashes.SHA384(), SHA512: hashes.SHA512()}
P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
NONCE = bytes(range(20))
NAME = b"\x00\x0b" + hashlib.sha256(b"the key").digest()
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def values(*banks: HashAlg, pcrs: range = range(8)) -> dict[HashAlg, dict[int, bytes]]:
    return {bank: {pcr: hashlib.new(bank.label, bytes([pcr])).digest() for pcr in pcrs} for bank in banks}


def signature(key: Key, data: bytes, algorithm: SignatureAlg, hash: HashAlg) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = coordinate_size(key.curve)
        parts = decode_dss_signature(key.sign(data, ec.ECDSA(HASHES[hash])))
        return Signature(algorithm, hash, tuple(part.to_bytes(size, "big") for part in parts)).encode()
    scheme: Any = padding.PKCS1v15()
    if algorithm is SignatureAlg.RSAPSS:
        scheme = padding.PSS(padding.MGF1(HASHES[hash]), padding.PSS.DIGEST_LENGTH)
    return Signature(algorithm, hash, (key.sign(data, scheme, HASHES[hash]),)).encode()


def verify(
    pcrs: PcrValues | None = None,
    *,
    key: Key = P256,
    algorithm: SignatureAlg = SignatureAlg.ECDSA,
    hash: HashAlg = SHA256,
    change: Callable[[Attest], Any] = lambda attest: attest,
    shown: PcrValues | None = None,
    nonce: bytes = NONCE,
    **given: Any,
) -> VerifiedQuote:
    """A quote of `pcrs` by `key`, changed before it is signed, and shown with other values where they are given."""
    pcrs = values(SHA256) if pcrs is None else pcrs
    selection = PcrSelection.of(pcrs)
    quoted = QuoteInfo(selection, pcr_digest(pcrs, selection, hash if hash is not SHA1 else SHA256))
    attest = Attest(AttestType.QUOTE, NAME, NONCE, ClockInfo(1, 2, 3, True), 1, quoted)
    changed = change(attest)
    data = changed if isinstance(changed, bytes) else changed.encode()
    signed = signature(key, data, algorithm, hash)
    return verify_quote(key.public_key(), data, signed, pcrs if shown is None else shown, nonce, **given)


@pytest.mark.parametrize("hash", [SHA256, SHA384, SHA512], ids=lambda bank: bank.label)
@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(P256, SignatureAlg.ECDSA), (P384, SignatureAlg.ECDSA), (RSA, SignatureAlg.RSASSA), (RSA, SignatureAlg.RSAPSS)],
    ids=["P-256", "P-384", "RSASSA", "RSAPSS"],
)
def test_each_scheme_over_several_banks(key: Key, algorithm: SignatureAlg, hash: HashAlg) -> None:
    """The digest over the values is made with the signature's hash, whatever the banks' are."""
    pcrs = values(SHA384, SHA256)
    verified = verify(pcrs, key=key, algorithm=algorithm, hash=hash, required=PcrSelection.of(pcrs))
    assert (verified.pcrs, verified.hash, verified.untrusted) == (pcrs, hash, ())
    assert verified.attest.clock_info.reset_count == 2
    swapped = PcrSelection.of(values(SHA256, SHA384))
    assert verify(pcrs, required=swapped).pcrs == pcrs, "banks have no order"


def test_a_bank_of_which_nothing_is_selected_does_not_count() -> None:
    pcrs = {**values(SHA256), SHA384: {}}
    assert verify(pcrs, required=PcrSelection.of(values(SHA256))).pcrs == values(SHA256)


def test_sha1_is_read_and_not_believed() -> None:
    both = values(SHA1, SHA256)
    verified = verify(both)
    assert verified.pcrs == values(SHA256)
    assert verified.untrusted == (SHA1,)
    assert verified.selection == PcrSelection.of(both)


@pytest.mark.parametrize(
    ("quoted", "required"), [(values(SHA1), None), (values(SHA1, SHA256), PcrSelection.of(values(SHA1, SHA256)))]
)
def test_sha1_alone_or_asked_for(quoted: PcrValues, required: PcrSelection | None) -> None:
    assert_refused(quote_refusals.BANK_UNTRUSTED, verify, quoted, required=required)


def test_a_signature_with_sha1() -> None:
    assert_refused(refusals.QUOTE_SIGNATURE_INVALID, verify, hash=SHA1)


def test_sha1_values_must_still_be_those_quoted() -> None:
    both = values(SHA1, SHA256)
    forged = {**both, SHA1: {**both[SHA1], 0: bytes(20)}}
    assert_refused(refusals.PCR_DIGEST_MISMATCH, verify, both, shown=forged)


@pytest.mark.parametrize("magic", [b"\x00TCG", b"\xffTCH", bytes(4)])
def test_what_no_tpm_generated(magic: bytes) -> None:
    assert_refused(quote_refusals.QUOTE_NOT_GENERATED, verify, change=lambda attest: magic + attest.encode()[4:])


@pytest.mark.parametrize("type", [0x8014, 0x8015, 0x8016, 0x8017, 0x8019, 0x801A, 0x801C, 0, 0xFFFF])
def test_an_attestation_of_another_type(type: int) -> None:
    """Only the two bytes are changed: what follows could be taken for a quote."""

    def retyped(attest: Attest) -> bytes:
        data = attest.encode()
        return data[:4] + type.to_bytes(2, "big") + data[6:]

    assert_refused(refusals.QUOTE_TYPE_WRONG, verify, change=retyped)


def test_a_certification_is_no_quote() -> None:
    other = CertifyInfo(NAME, NAME)
    change = {"type": AttestType.CERTIFY, "attested": other}
    assert_refused(refusals.QUOTE_TYPE_WRONG, verify, change=lambda attest: replace(attest, **change))


def test_a_malformed_quote_that_is_signed() -> None:
    for change in (lambda attest: attest.encode() + b"\0", lambda attest: attest.encode()[:-1]):
        with pytest.raises(InputError, match="tpm-t"):
            verify(change=change)


@pytest.mark.parametrize("other", [P384.public_key(), RSA.public_key(), ec.generate_private_key(ec.SECP256R1())])
def test_another_key(other: Any) -> None:
    key = other.public_key() if isinstance(other, ec.EllipticCurvePrivateKey) else other
    pcrs = values(SHA256)
    selection = PcrSelection.of(pcrs)
    attest = Attest(
        AttestType.QUOTE, NAME, NONCE, ClockInfo(1, 2, 3, True), 1, QuoteInfo(selection, pcr_digest(pcrs, selection))
    ).encode()
    signed = signature(P256, attest, SignatureAlg.ECDSA, SHA256)
    assert_refused(refusals.QUOTE_SIGNATURE_INVALID, verify_quote, key, attest, signed, pcrs, NONCE)


def test_the_signer_stands_where_it_was() -> None:
    verify(qualified_name=NAME)
    assert_refused(quote_refusals.SIGNER_ELSEWHERE, verify, qualified_name=NAME[:-1] + b"\0")


def test_qualified_names_follow_the_hierarchy() -> None:
    """Part 1, 16: nameAlg || H(QN of the parent || Name); a hierarchy's QN is its handle."""
    parent = b"\x00\x0b" + hashlib.sha256(ENDORSEMENT + NAME).digest()
    assert qualified_name(NAME) == parent
    other = b"\x00\x0c" + bytes(48)
    assert qualified_name(other, parent) == b"\x00\x0c" + hashlib.sha384(parent + other).digest()


def test_a_replay() -> None:
    assert_refused(quote_refusals.QUOTE_STALE, verify, nonce=NONCE[::-1])
    assert_refused(quote_refusals.QUOTE_STALE, verify, nonce=NONCE + b"\0")
    assert_refused(quote_refusals.QUOTE_STALE, verify, nonce=NONCE[:-1])


@pytest.mark.parametrize(
    ("nonce", "kind"),
    [
        (b"", quote_refusals.NONCE_EMPTY),
        (b"\1\2\3\4\5\6\7", quote_refusals.NONCE_SHORT),
        (bytes(32), quote_refusals.NONCE_CONSTANT),
        (b"\xff" * 8, quote_refusals.NONCE_CONSTANT),
    ],
    ids=["empty", "short", "zeros", "ones"],
)
def test_challenges_that_are_none(nonce: bytes, kind: RefusalKind) -> None:
    """Also where the quote answers them."""
    assert_refused(kind, verify, nonce=nonce, change=lambda attest: replace(attest, extra_data=nonce))
    assert_refused(kind, check_nonce, nonce)


def test_a_challenge_comes_back() -> None:
    assert check_nonce(NONCE[:8]) == NONCE[:8]


def test_selections() -> None:
    required = PcrSelection.of(values(SHA256))
    for empty in ({}, {SHA256: {}}):
        assert_refused(refusals.PCR_SELECTION_EMPTY, verify, empty)
    assert_refused(quote_refusals.PCR_SELECTION_PARTIAL, verify, values(SHA256, pcrs=range(7)), required=required)
    assert_refused(quote_refusals.PCR_SELECTION_PARTIAL, verify, values(SHA384), required=required)
    two = PcrSelection.of(values(SHA256, SHA384))
    assert_refused(quote_refusals.PCR_SELECTION_PARTIAL, verify, values(SHA256), required=two)
    assert_refused(refusals.PCR_SELECTION_MISMATCH, verify, values(SHA256, pcrs=range(9)), required=required)
    assert_refused(refusals.PCR_SELECTION_MISMATCH, verify, values(SHA256, SHA1), required=required)


def test_values_that_are_labelled_otherwise() -> None:
    pcrs = values(SHA256)
    moved = {SHA256: {pcr + 1: value for pcr, value in pcrs[SHA256].items()}}
    assert_refused(refusals.PCR_VALUES_RELABELLED, verify, shown=moved)
    assert_refused(refusals.PCR_VALUES_RELABELLED, verify, shown={HashAlg.SHA3_256: pcrs[SHA256]})
    assert_refused(quote_refusals.PCR_VALUES_UNQUOTED, verify, shown={SHA256: {**pcrs[SHA256], 8: bytes(32)}})
    assert_refused(quote_refusals.PCR_VALUES_UNQUOTED, verify, shown={**pcrs, SHA384: {0: bytes(48)}})
    assert_refused(quote_refusals.PCR_VALUES_UNQUOTED, verify, shown={**pcrs, SHA384: {}})
    fewer = {SHA256: {pcr: value for pcr, value in pcrs[SHA256].items() if pcr}}
    assert_refused(crypto_refusals.PCR_VALUES_INCOMPLETE, verify, shown=fewer)
    assert_refused(crypto_refusals.PCR_VALUES_INCOMPLETE, verify, shown={})


def test_bytes_that_move_to_the_neighbour() -> None:
    """What is hashed stays the same: only the length of each value tells."""
    pcrs = values(SHA256)
    shifted = {**pcrs[SHA256], 0: pcrs[SHA256][0] + pcrs[SHA256][1][:1], 1: pcrs[SHA256][1][1:]}
    assert_refused(quote_refusals.PCR_VALUE_SIZE, verify, shown={SHA256: shifted})


def test_other_values() -> None:
    assert_refused(refusals.PCR_DIGEST_MISMATCH, verify, shown={SHA256: dict.fromkeys(range(8), bytes(32))})


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_any_bytes_end_in_a_declared_error(attest: bytes, signed: bytes) -> None:
    with pytest.raises(MedvouchError):
        verify_quote(P256.public_key(), attest, signed, values(SHA256), NONCE)
