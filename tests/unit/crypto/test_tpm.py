"""Signatures of TPMs, Names, credentials and policies, in software."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from medvouch.crypto.keys import PublicKey
from medvouch.crypto.tpm import (
    make_credential,
    name,
    nv_name,
    pcr_digest,
    policy_authorize,
    public_key,
    software_public,
    verify_attest,
)
from medvouch.errors import InputError, Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection, Signature, SignatureAlg, SignedAttest
from medvouch.formats.tpm_public import Curve, EccParameters, ObjectAttribute, Public, RsaParameters, Symmetric
from support.tpms import ATTESTS, ECC_KEY, NV_INDEX

STORAGE = ObjectAttribute.DECRYPT | ObjectAttribute.RESTRICTED
ATTEST = ATTESTS[0]
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
CURVES = {Curve.P256: ec.SECP256R1(), Curve.P384: ec.SECP384R1(), Curve.P521: ec.SECP521R1()}


def coordinates(key: ec.EllipticCurvePublicKey, size: int) -> tuple[bytes, bytes]:
    numbers = key.public_numbers()
    return numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")


def ecdsa(data: bytes, hash: HashAlg = HashAlg.SHA256) -> Signature:
    digest = {HashAlg.SHA1: hashes.SHA1(), HashAlg.SHA256: hashes.SHA256()}[hash]
    r, s = decode_dss_signature(P256.sign(data, ec.ECDSA(digest)))
    return Signature(SignatureAlg.ECDSA, hash, (r.to_bytes(32, "big"), s.to_bytes(32, "big")))


def rsa_signature(data: bytes, algorithm: SignatureAlg) -> Signature:
    digest = hashes.SHA384()
    if algorithm is SignatureAlg.RSASSA:
        return Signature(algorithm, HashAlg.SHA384, (RSA.sign(data, padding.PKCS1v15(), digest),))
    pss = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
    return Signature(algorithm, HashAlg.SHA384, (RSA.sign(data, pss, digest),))


class TestStatements:
    data = ATTEST.encode()

    @pytest.mark.parametrize(
        ("signature", "key"),
        [
            (ecdsa(data), P256.public_key()),
            (rsa_signature(data, SignatureAlg.RSASSA), RSA.public_key()),
            (rsa_signature(data, SignatureAlg.RSAPSS), RSA.public_key()),
        ],
        ids=["ecdsa", "rsassa", "rsapss"],
    )
    def test_verifies(self, signature: Signature, key: PublicKey) -> None:
        verified = verify_attest(SignedAttest(self.data, signature.encode()), key)
        assert (verified.attest, verified.hash) == (ATTEST, signature.hash)
        with pytest.raises(Refusal, match="attest-signature-invalid"):
            verify_attest(SignedAttest(self.data[:-1] + b"\1", signature.encode()), key)

    def test_the_signature_of_another_key(self) -> None:
        other = ec.generate_private_key(ec.SECP256R1()).public_key()
        with pytest.raises(Refusal, match="attest-signature-invalid"):
            verify_attest(SignedAttest(self.data, ecdsa(self.data).encode()), other)

    @pytest.mark.parametrize("key", [RSA.public_key(), ed25519.Ed25519PrivateKey.generate().public_key()])
    def test_a_scheme_that_is_not_the_keys(self, key: PublicKey) -> None:
        with pytest.raises(Refusal, match="attest-algorithm"):
            verify_attest(SignedAttest(self.data, ecdsa(self.data).encode()), key)

    def test_sha1_is_not_believed(self) -> None:
        with pytest.raises(Refusal, match="attest-algorithm"):
            verify_attest(SignedAttest(self.data, ecdsa(self.data, HashAlg.SHA1).encode()), P256.public_key())

    def test_signed_bytes_that_are_no_statement(self) -> None:
        forged = b"any message" * 9
        with pytest.raises(InputError, match="tpm-malformed"):
            verify_attest(SignedAttest(forged, ecdsa(forged).encode()), P256.public_key())


class TestNames:
    def test_a_key(self) -> None:
        data = ECC_KEY.encode()
        assert name(data) == b"\x00\x0b" + hashlib.sha256(data).digest()

    def test_an_index(self) -> None:
        public = replace(NV_INDEX, name_alg=HashAlg.SHA384)
        assert nv_name(public.encode()) == b"\x00\x0c" + hashlib.sha384(public.encode()).digest()

    def test_weak_names_are_refused(self) -> None:
        with pytest.raises(Refusal, match="tpm-hash-weak"):
            name(replace(ECC_KEY, name_alg=HashAlg.SHA1).encode())

    def test_what_has_no_name(self) -> None:
        for named in (name, nv_name):
            with pytest.raises(InputError, match="tpm-truncated"):
                named(b"\x01\xc0\x00\x0a\x00\x0b" if named is nv_name else b"\x00\x23\x00\x0b")


class TestKeys:
    @pytest.mark.parametrize("curve", Curve)
    def test_elliptic_keys_come_back(self, curve: Curve) -> None:
        key = ec.generate_private_key(CURVES[curve]).public_key()
        public = Public.parse(software_public(key))
        assert public_key(public) == key
        assert public.attributes == ObjectAttribute.SIGN | ObjectAttribute.USER_WITH_AUTH

    def test_rsa(self) -> None:
        modulus = RSA.public_key().public_numbers().n.to_bytes(256, "big")
        public = Public(HashAlg.SHA256, STORAGE, b"", RsaParameters(Symmetric(128), None, 2048, 0), (modulus,))
        assert public_key(public) == RSA.public_key()
        for bits, value in ((3072, modulus), (1024, b"\xff" * 128)):
            with pytest.raises(InputError, match="key-malformed"):
                public_key(replace(public, parameters=replace(public.parameters, key_bits=bits), unique=(value,)))

    @pytest.mark.parametrize("curve", Curve)
    def test_coordinates_of_other_sizes(self, curve: Curve) -> None:
        """Leading zeros may be missing, or be more than the curve needs; a coordinate never reaches into the other."""
        for number in range(1, 2000):  # the least whose x begins with a zero
            key = ec.derive_private_key(number, CURVES[curve]).public_key()
            public = Public.parse(software_public(key))
            x, y = public.unique
            if x[0] == 0:
                break
        for unique in ((b"\0\0" + x, y), (x.lstrip(b"\0"), y.lstrip(b"\0"))):
            assert public_key(replace(public, unique=unique)) == key
        for unique in ((b"\1" + x, y), (x + y[:1], y[1:]), (x[:-1], x[-1:] + y), (x + y, b""), (x, b""), (b"", b"")):
            with pytest.raises(InputError, match="key-malformed"):
                public_key(replace(public, unique=unique))

    def test_a_point_off_the_curve(self) -> None:
        with pytest.raises(InputError, match="key-malformed"):
            public_key(ECC_KEY)

    @pytest.mark.parametrize(
        "key",
        [
            RSA.public_key(),
            ed25519.Ed25519PrivateKey.generate().public_key(),
            ec.generate_private_key(ec.SECP256K1()).public_key(),
        ],
    )
    def test_keys_that_tpms_check_nothing_with(self, key: PublicKey) -> None:
        with pytest.raises(InputError, match="key-malformed"):
            software_public(key)


def test_pcr_digest_follows_the_selection() -> None:
    values = {HashAlg.SHA256: {0: b"a" * 32, 7: b"b" * 32}, HashAlg.SHA384: {7: b"c" * 48}}
    selection = PcrSelection.of({HashAlg.SHA384: [7], HashAlg.SHA256: [7, 0]})
    chosen = b"c" * 48 + b"a" * 32 + b"b" * 32
    assert pcr_digest(values, selection) == hashlib.sha256(chosen).digest()
    assert pcr_digest(values, selection, HashAlg.SHA512) == hashlib.sha512(chosen).digest()
    for missing in ({HashAlg.SHA1: [0]}, {HashAlg.SHA384: [0]}):
        with pytest.raises(Refusal, match="pcr-values-incomplete"):
            pcr_digest(values, PcrSelection.of(missing))


def test_policy_authorize() -> None:
    """The digest that tpm2_policyauthorize computes for this key Name in a trial session."""
    first = hashlib.sha256(bytes(32) + b"\x00\x00\x01\x6a" + b"\x00\x0b" + bytes(32)).digest()
    assert policy_authorize(b"\x00\x0b" + bytes(32), b"ref") == hashlib.sha256(first + b"ref").digest()


def opened(ek: Public, seed: bytes, key_name: bytes, credential: bytes) -> bytes:
    """What a TPM does with a credential and the seed (Part 1, 24.6), on other primitives than the code tested."""
    hash_name = ek.name_alg.label
    size = int.from_bytes(credential[:2], "big")
    tag, identity = credential[2 : 2 + size], credential[2 + size :]

    def kdfa(label: bytes, context: bytes, bits: int) -> bytes:
        assert bits <= 8 * ek.name_alg.size
        block = b"\0\0\0\1" + label + b"\0" + context + bits.to_bytes(4, "big")
        return hmac.new(seed, block, hash_name).digest()[: bits // 8]

    assert hmac.new(kdfa(b"INTEGRITY", b"", 8 * ek.name_alg.size), identity + key_name, hash_name).digest() == tag
    symmetric = ek.parameters.symmetric
    assert symmetric is not None
    block_cipher = Cipher(algorithms.AES(kdfa(b"STORAGE", key_name, symmetric.key_bits)), modes.ECB())
    plain, previous = b"", bytes(16)
    for offset in range(0, len(identity), 16):
        stream = block_cipher.encryptor().update(previous)
        previous = identity[offset : offset + 16]
        plain += bytes(a ^ b for a, b in zip(previous, stream, strict=False))
    assert int.from_bytes(plain[:2], "big") == len(plain) - 2
    return plain[2:]


class TestCredentials:
    name = b"\x00\x0b" + bytes(range(32))

    @pytest.mark.parametrize(
        ("curve", "hash", "bits", "size"),
        [
            (Curve.P256, HashAlg.SHA256, 128, 32),
            (Curve.P384, HashAlg.SHA384, 256, 48),
            (Curve.P521, HashAlg.SHA512, 256, 66),
        ],
    )
    def test_elliptic_ek(self, curve: Curve, hash: HashAlg, bits: int, size: int) -> None:
        private = ec.generate_private_key(CURVES[curve])
        x, y = coordinates(private.public_key(), size)
        ek = Public(hash, STORAGE, b"", EccParameters(Symmetric(bits), None, curve), (x, y))
        credential, secret = make_credential(ek, self.name, b"a secret", os.urandom)
        assert len(secret) == 2 * (2 + size)
        point = (int.from_bytes(part, "big") for part in (secret[2 : 2 + size], secret[4 + size :]))
        shared = private.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(*point, CURVES[curve]).public_key())
        party = b"IDENTITY\0" + secret[2 : 2 + size] + x
        seed = hashlib.new(hash.label, b"\0\0\0\1" + shared + party).digest()
        assert opened(ek, seed, self.name, credential) == b"a secret"

    def test_rsa_ek(self) -> None:
        modulus = RSA.public_key().public_numbers().n.to_bytes(256, "big")
        ek = Public(HashAlg.SHA256, STORAGE, b"", RsaParameters(Symmetric(128), None, 2048, 0), (modulus,))
        credential, secret = make_credential(ek, self.name, bytes(32), os.urandom)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"IDENTITY\0")
        assert opened(ek, RSA.decrypt(secret, oaep), self.name, credential) == bytes(32)

    def test_entropy_that_is_no_scalar_is_drawn_again(self) -> None:
        x, y = coordinates(P256.public_key(), 32)
        ek = Public(HashAlg.SHA256, STORAGE, b"", EccParameters(Symmetric(128), None, Curve.P256), (x, y))
        draws = iter([bytes(32), b"\xff" * 32, b"\x01" * 32])
        first = make_credential(ek, self.name, b"s", lambda size: next(draws)[:size])
        assert first == make_credential(ek, self.name, b"s", lambda size: b"\x01" * size)
        assert next(draws, None) is None

    @pytest.mark.parametrize(
        "ek",
        [
            ECC_KEY,
            replace(ECC_KEY, attributes=STORAGE),
            replace(ECC_KEY, parameters=EccParameters(Symmetric(128), None, Curve.P256)),
            replace(
                ECC_KEY,
                name_alg=HashAlg.SHA1,
                attributes=STORAGE,
                parameters=EccParameters(Symmetric(128), None, Curve.P256),
            ),
        ],
        ids=["a signing key", "no cipher", "not for decryption", "SHA-1"],
    )
    def test_keys_that_are_no_ek(self, ek: Public) -> None:
        with pytest.raises(Refusal, match="ek-unsupported"):
            make_credential(ek, self.name, b"s", os.urandom)
