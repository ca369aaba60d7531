"""Signatures of files in IMA lists: by RSA and ECDSA keys, and each way in which one does not hold."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from medvouch.crypto import refusals
from medvouch.crypto.ima_signatures import ImaKey, SignedFile, verify_file
from medvouch.crypto.keys import PublicKey
from medvouch.formats import ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.ima import Entry
from medvouch.formats.ima_signature import MAX_SIGNATURE_BYTES, OF_FILE, OF_VERITY, ImaSignature
from support.refusing import assert_input_refused, assert_refused
from support.truncation import assert_every_truncation_refused

ECDSA = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
KEYS = [ImaKey.of_key(ECDSA.public_key()), ImaKey.of_key(RSA.public_key())]
CONTENTS = hashlib.sha256(b"contents").digest()


def ecdsa(signed: bytes, kind: int = OF_FILE) -> ImaSignature:
    value = ECDSA.sign(signed, ec.ECDSA(Prehashed(hashes.SHA256())))
    return ImaSignature(kind, HashAlg.SHA256, KEYS[0].id, value)


def pkcs1(signed: bytes) -> ImaSignature:
    value = RSA.sign(signed, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
    return ImaSignature(OF_FILE, HashAlg.SHA256, KEYS[1].id, value)


def entry(signature: ImaSignature | None, found: bytes = CONTENTS, label: bytes = b"sha256") -> Entry:
    template = "ima-sigv2" if label.startswith((b"ima:", b"verity:")) else "ima-sig"
    value = signature.encode() if signature else b""
    return ima.make(3, 10, template, (label + b":\0" + found, b"/bin/x\0", value))


def test_signature_round_trip() -> None:
    signature = ecdsa(CONTENTS)
    assert ImaSignature.parse(signature.encode()) == signature
    assert signature.encode()[:7] == b"\3\2\4" + KEYS[0].id
    assert_every_truncation_refused(ImaSignature.parse, signature.encode())
    assert_input_refused("ima-signature-trailing", ImaSignature.parse, signature.encode() + b"x")
    for broken in (b"\3\1\4", b"\6\2\4", b"\1\2\4", b"\3\2\x63"):
        assert_input_refused("ima-signature-malformed", ImaSignature.parse, broken + signature.encode()[3:])
    long = replace(signature, value=bytes(MAX_SIGNATURE_BYTES + 1))
    assert_input_refused("ima-signature-limit", ImaSignature.parse, long.encode())


@pytest.mark.parametrize("sign", [ecdsa, pkcs1])
def test_a_file_that_was_signed(sign: object) -> None:
    signature = sign(CONTENTS)  # type: ignore[operator]
    signed = verify_file(entry(signature), KEYS)
    assert signed == SignedFile("/bin/x", HashAlg.SHA256, CONTENTS, next(k for k in KEYS if k.id == signature.key_id))
    assert verify_file(entry(signature, label=b"ima:sha256"), KEYS).digest == CONTENTS


def test_a_file_signed_by_its_merkle_tree() -> None:
    signature = ecdsa(hashlib.sha256(b"\6\4" + CONTENTS).digest(), OF_VERITY)
    assert verify_file(entry(signature, label=b"verity:sha256"), KEYS).digest == CONTENTS
    for other in (entry(signature, label=b"ima:sha256"), entry(ecdsa(CONTENTS), label=b"verity:sha256")):
        assert_refused(refusals.IMA_SIGNATURE_ALGORITHM, verify_file, other, KEYS)


def test_no_signature() -> None:
    raced = entry(ecdsa(CONTENTS))._replace(template_hash=bytes(20))
    unsigned = ima.make(0, 10, "ima-ng", (b"sha256:\0" + CONTENTS, b"/bin/x\0"))
    nothing = ima.make(0, 10, "n-ng|sig", (b"/bin/x\0", ecdsa(CONTENTS).encode()))
    for each in (entry(None), unsigned, nothing, raced):
        assert_refused(refusals.IMA_SIGNATURE_MISSING, verify_file, each, KEYS)


def test_a_weak_or_another_hash() -> None:
    weak = replace(ecdsa(CONTENTS), algorithm=HashAlg.SHA1)
    assert_refused(refusals.IMA_SIGNATURE_ALGORITHM, verify_file, entry(weak, b"1" * 20, b"sha1"), KEYS)
    assert_refused(refusals.IMA_SIGNATURE_ALGORITHM, verify_file, entry(ecdsa(CONTENTS), label=b"sha512"), KEYS)
    assert_refused(refusals.IMA_SIGNATURE_ALGORITHM, verify_file, entry(ecdsa(CONTENTS), CONTENTS[1:]), KEYS)


def test_a_key_that_nobody_knows() -> None:
    assert_refused(refusals.IMA_SIGNATURE_KEY_UNKNOWN, verify_file, entry(ecdsa(CONTENTS)), KEYS[1:])


@pytest.mark.parametrize("sign", [ecdsa, pkcs1])
def test_a_file_that_was_altered(sign: object) -> None:
    signature = sign(CONTENTS)  # type: ignore[operator]
    refusal = assert_refused(refusals.IMA_SIGNATURE_INVALID, verify_file, entry(signature, b"\1" * 32), KEYS)
    assert refusal.place == "ima entry 3"
    other = [replace(key, id=signature.key_id) for key in KEYS if key.id != signature.key_id]
    assert_refused(refusals.IMA_SIGNATURE_INVALID, verify_file, entry(signature), other)
    assert verify_file(entry(signature), [*other, *KEYS]).key in KEYS


def test_a_key_of_another_kind_signs_nothing() -> None:
    key = ImaKey(KEYS[0].id, ed25519.Ed25519PrivateKey.generate().public_key())
    assert_refused(refusals.IMA_SIGNATURE_INVALID, verify_file, entry(ecdsa(CONTENTS)), [key])


def certificate(key: PublicKey, identifier: bytes | None) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "files")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    if identifier is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(identifier), critical=False)
    return builder.sign(ECDSA, hashes.SHA256()).public_bytes(Encoding.DER)


def test_key_ids_come_from_certificates() -> None:
    key = RSA.public_key()
    assert ImaKey.of_certificate(certificate(key, b"0123456789")) == ImaKey(b"6789", key)
    assert ImaKey.of_certificate(certificate(key, None)) == KEYS[1]
