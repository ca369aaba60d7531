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
from medvouch.crypto.keys import PublicKey, load_spki
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
    known = ImaKey.of_certificate(certificate(key, b"0123456789"))
    assert (known.id, known.key) == (b"6789", key)
    assert known.named is not None
    assert known.named.describe() == "serial 1 of files"
    assert ImaKey.of_certificate(certificate(key, None)) == replace(KEYS[1], named=known.named)


# Made with evmctl 1.4 (ima-evm-utils of Debian 12): `evmctl ima_sign -a sha256 --sigfile -k KEY FILE` over b"hello\n".
EC_KEY = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d030107034200043e4d9d43b87b28fe62495872d751020c979483a10e1f6cddf0f37a"
    "b87481c2a93a89c4307de1294b602a86e0ce64ec657c8504cb6d77bd124e87ccb0ecf4984f"
)
EC_SIGNATURE = bytes.fromhex(
    "0302048131abfe0046304402204314f1ff4c6ec60f7c2677abcf823255418caf3a5263aab4e52a8a10c1b48dbd022012b4c2f0a8618e"
    "dff61181e4c6748d1eb494622770a0b471de6ad90b361c68cb"
)
RSA_KEY = bytes.fromhex(
    "30820122300d06092a864886f70d01010105000382010f003082010a0282010100b58e0e28547ae138e4bbfb74c2d89296cf56d8349e"
    "528a07a988ba23d11d7ac6b74a7b552d786cf444fd831bb5b3d287afdc44d5d2f91a81a08bf13df40e8c634d88002fbd927c714841dd"
    "15e690d4f4e2fc9b19be48e5dd916e46484f76150c2b94226c7c94193bc596445aff2d807b5ddff7c5784de0088ae3737f5ab7a2bda2"
    "0dd92ca2998606c5f47eb7a1a95a1fda2ac0cec563fb9d128b0a27b17ebc7072fd66464bb49136b3a0837ee599b3e919c6f715cbc667"
    "8e18c815ed5adafe25d6f333f322b2723b0704836c6cb945e716bfbd14fb6781ddc07940434a766255eca3f984b358c67b6e00ab3550"
    "e78912dc0ad335bb545a89202aadb12e662cc70203010001"
)
RSA_SIGNATURE = bytes.fromhex(
    "0302047811daf5010018fdd185cd8a3162dd216b977736e47067a0d577fbf1bfc51c95e8094ce8f076a7375eb159432d84bc5b2a7294"
    "5d1c0eb8864d22e896f48de83677f4a9b982658676a3956f6096cca4c5b039ad8d8883f08d4cf9061feeda132ae79037c2f82c781a5c"
    "4ab3194e6cb26171621c89850128acb1802859c6f95c6fab9ef84b1b5a0d52d0f9f36ab70b35b596d8342994b61a2261c940dd245757"
    "a8e984209e4a541a8cbd6fa5d69b510b953dd8fe86b45daeb7b5af4e1c5bcc23c18d4418ea86f4482970f1df8d6549e647afb2e89551"
    "0817ea9afedb47ac494ed92f1723f492ce4bb3ff0fd539a7b04e58f593f7a1cb19502f9fce2fe27eaf333828ff55e0f73a"
)


@pytest.mark.parametrize(("key", "signature"), [(EC_KEY, EC_SIGNATURE), (RSA_KEY, RSA_SIGNATURE)])
def test_what_evmctl_signs(key: bytes, signature: bytes) -> None:
    found = hashlib.sha256(b"hello\n").digest()
    known = ImaKey.of_key(load_spki(key))
    fields = (b"sha256:\0" + found, b"/hello\0", signature)
    assert verify_file(ima.make(0, 10, "ima-sig", fields), [known]) == SignedFile(
        "/hello", HashAlg.SHA256, found, known
    )
