"""Structures that a real swtpm made (shared vectors): they parse, come back the same, and verify."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from medvouch.crypto.keys import PublicKey, load_spki
from medvouch.crypto.tpm import verify_attest
from medvouch.errors import InputError, Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import Attest, AttestType, NvDigestInfo, QuoteInfo, Signature, SignatureAlg, SignedAttest
from support.truncation import assert_every_truncation_refused

STATEMENTS = {"q": AttestType.QUOTE, "cert": AttestType.CERTIFY, "nv": AttestType.NV_DIGEST}


def signed(vectors: Path, stem: str) -> SignedAttest:
    """The vectors carry DER signatures, TPMs give TPMT_SIGNATURE."""
    r, s = decode_dss_signature((vectors / "tpm" / f"{stem}.sig").read_bytes())
    value = (r.to_bytes(32, "big"), s.to_bytes(32, "big"))
    signature = Signature(SignatureAlg.ECDSA, HashAlg.SHA256, value).encode()
    return SignedAttest((vectors / "tpm" / f"{stem}.attest").read_bytes(), signature)


@pytest.fixture
def attestation_key(vectors: Path) -> PublicKey:
    key = serialization.load_pem_public_key((vectors / "tpm" / "ak.pem").read_bytes())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return load_spki(der)


@pytest.mark.parametrize(("stem", "kind"), STATEMENTS.items())
def test_statements_verify(vectors: Path, attestation_key: PublicKey, stem: str, kind: AttestType) -> None:
    statement = signed(vectors, stem)
    verified = verify_attest(statement, attestation_key)
    assert verified.attest.type is kind
    assert verified.hash is HashAlg.SHA256
    assert verified.attest.clock_info.reset_count == 1
    assert verified.attest.encode() == statement.attest
    assert_every_truncation_refused(Attest.parse, statement.attest)


def test_what_they_say(vectors: Path) -> None:
    quote = Attest.parse(signed(vectors, "q").attest).attested
    assert isinstance(quote, QuoteInfo)
    assert quote.selection.banks == ((HashAlg.SHA256, tuple(range(8))),)
    counter = Attest.parse(signed(vectors, "nv").attest).attested
    assert isinstance(counter, NvDigestInfo)


@pytest.mark.parametrize("stem", STATEMENTS)
def test_every_changed_byte_is_noticed(vectors: Path, attestation_key: PublicKey, stem: str) -> None:
    statement = signed(vectors, stem)
    for place in range(len(statement.attest)):
        forged = bytearray(statement.attest)
        forged[place] ^= 1
        with pytest.raises((Refusal, InputError)):
            verify_attest(SignedAttest(bytes(forged), statement.signature), attestation_key)
