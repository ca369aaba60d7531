"""The example of draft-ietf-lamps-csr-attestation (shared vectors), made with a real TPM."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography import x509

from medvouch.attestation import refusals
from medvouch.attestation.csr import verify_attested_request, verify_bundle
from medvouch.crypto import refusals as crypto_refusals
from medvouch.crypto.certificates import load
from medvouch.crypto.keys import load_spki
from medvouch.formats.csr_attestation import Request
from medvouch.formats.tpm_public import KeyType
from support.refusing import assert_refused
from support.truncation import assert_every_truncation_refused


@pytest.fixture
def request_(vectors: Path) -> bytes:
    path = vectors / "rats" / "ietf-csr-attestation" / "sampledata" / "tcgAttestTpmCertify.pem"
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("-----")]
    return base64.b64decode("".join(lines))


def test_its_key_is_in_the_tpm_of_its_attestation_key(request_: bytes) -> None:
    """RSA keys, and a plain RSASSA signature where other statements have a TPMT_SIGNATURE."""
    parsed = Request.parse(request_)
    assert parsed.encode() == request_
    assert parsed.bundle is not None
    leaf, issuer = parsed.bundle.certificates
    assert load(issuer).parsed.version is x509.Version.v1
    key, attestation_key = load_spki(parsed.key), load(leaf).public_key
    assert verify_bundle(parsed.bundle, key, attestation_key).type is KeyType.RSA
    assert_refused(refusals.KEY_NOT_CERTIFIED, verify_bundle, parsed.bundle, key, load(issuer).public_key)
    assert_refused(refusals.KEY_NOT_CERTIFIED, verify_bundle, parsed.bundle, attestation_key, attestation_key)


def test_its_own_signature_does_not_hold(request_: bytes) -> None:
    """Whoever published it put the bundle in afterwards: `openssl req -verify` says so too."""
    parsed = Request.parse(request_)
    assert parsed.bundle is not None
    key = load(parsed.bundle.certificates[0]).public_key
    assert_refused(crypto_refusals.REQUEST_NOT_SIGNED, verify_attested_request, request_, key)


def test_every_truncation_and_many_changes_are_refused(request_: bytes) -> None:
    assert_every_truncation_refused(Request.parse, request_)
    start = request_.index(b"\xffTCG")
    for place in range(start, start + 140):
        forged = bytearray(request_)
        forged[place] ^= 1
        parsed = Request.parse(bytes(forged))
        assert parsed.bundle is not None
        key = load(parsed.bundle.certificates[0]).public_key
        assert_refused(refusals.KEY_NOT_CERTIFIED, verify_bundle, parsed.bundle, load_spki(parsed.key), key)
