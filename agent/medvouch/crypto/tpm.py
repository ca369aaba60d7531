"""What a verifier does with TPM structures in plain software: Names, signatures of TPMs, credentials, policies."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from medvouch.crypto import refusals
from medvouch.crypto.keys import PublicKey, coordinate_size, draw_private_key
from medvouch.errors import InputError, Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import digest
from medvouch.formats.tpm import GENERATED, Attest, PcrSelection, Signature, SignatureAlg, SignedAttest, sized
from medvouch.formats.tpm_public import Curve, EccParameters, NvPublic, ObjectAttribute, Public

RSA_DEFAULT_EXPONENT = 65537
MIN_RSA_BITS = 2048
ENDORSEMENT = bytes.fromhex("4000000b")
"""TPM_RH_ENDORSEMENT (Part 2, 7.4)."""
CC_POLICY_AUTHORIZE = 0x0000016A
"""TPM_CC_PolicyAuthorize (Part 2, 6.5.2)."""

_CURVES: dict[Curve, ec.EllipticCurve] = {
    Curve.P256: ec.SECP256R1(),
    Curve.P384: ec.SECP384R1(),
    Curve.P521: ec.SECP521R1(),
}
_HASHES: dict[HashAlg, hashes.HashAlgorithm] = {
    HashAlg.SHA256: hashes.SHA256(),
    HashAlg.SHA384: hashes.SHA384(),
    HashAlg.SHA512: hashes.SHA512(),
}
"""The hashes that are still believed in."""
_ECDSA = {bank: ec.ECDSA(algorithm) for bank, algorithm in _HASHES.items()}
BELIEVED_HASHES = frozenset(_HASHES)


@dataclass(frozen=True)
class VerifiedAttest:
    """What a TPM said, its signature checked; `hash` is the signature's, also that of a quote's PCR digest."""

    attest: Attest
    hash: HashAlg


def verify_attest(signed: SignedAttest, key: PublicKey) -> VerifiedAttest:
    """Check the signature of an attestation structure, then parse it.

    Raises as `verify_signature`, InputError `tpm-*` where it is no attestation structure.
    """
    algorithm = verify_signature(signed, key)
    return VerifiedAttest(Attest.parse(signed.attest), algorithm)


def verify_signature(signed: SignedAttest, key: PublicKey) -> HashAlg:
    """Check the signature over an attestation structure that is not parsed yet; the hash that was signed.

    Raises InputError `tpm-*`, Refusal `attest-algorithm` where the scheme is not one of the key's or its hash too weak,
    `attest-signature-invalid` where the key did not sign these bytes.
    """
    signature = Signature.parse(signed.signature)
    if signature.hash not in _HASHES:
        raise Refusal(refusals.ATTEST_ALGORITHM, f"hash {signature.hash.label}")
    try:
        _verify(signature, key, signed.attest)
    except InvalidSignature:
        raise Refusal(refusals.ATTEST_SIGNATURE_INVALID, "the key did not sign this") from None
    return signature.hash


def tpmt_signature(data: bytes, key: PublicKey, message: bytes, hash: HashAlg) -> bytes:
    """A TPMT_SIGNATURE, or a plain signature over `message` as one; nothing of it is believed.

    A plain one is DER for ECDSA, and the bytes alone for RSA: then the padding is the one that holds, if any.
    """
    try:
        Signature.parse(data)
    except InputError:
        if isinstance(key, rsa.RSAPublicKey):
            plain = [Signature(scheme, hash, (data,)).encode() for scheme in (SignatureAlg.RSAPSS, SignatureAlg.RSASSA)]
            return next((each for each in plain if _holds(each, key, message)), plain[0])
        try:
            r, s = decode_dss_signature(data)
        except ValueError:
            raise InputError("signature-malformed", "neither a TPMT_SIGNATURE nor one in DER") from None
        size = max(r.bit_length(), s.bit_length(), 1) + 7 >> 3
        return Signature(SignatureAlg.ECDSA, hash, (r.to_bytes(size, "big"), s.to_bytes(size, "big"))).encode()
    return data


def _holds(signature: bytes, key: PublicKey, message: bytes) -> bool:
    try:
        verify_signature(SignedAttest(message, signature), key)
    except (Refusal, InputError):
        return False
    return True


def generated(attest: bytes) -> bool:
    """Whether it leads with TPM_GENERATED_VALUE: a restricted key signs nothing from outside that does."""
    return attest[:4] == GENERATED.to_bytes(4, "big")


def _verify(signature: Signature, key: PublicKey, data: bytes) -> None:
    algorithm = _HASHES[signature.hash]
    if isinstance(key, ec.EllipticCurvePublicKey) and signature.algorithm is SignatureAlg.ECDSA:
        r, s = (int.from_bytes(part, "big") for part in signature.value)
        key.verify(encode_dss_signature(r, s), data, _ECDSA[signature.hash])
    elif isinstance(key, rsa.RSAPublicKey) and signature.algorithm is SignatureAlg.RSASSA:
        key.verify(signature.value[0], data, padding.PKCS1v15(), algorithm)
    elif isinstance(key, rsa.RSAPublicKey) and signature.algorithm is SignatureAlg.RSAPSS:
        key.verify(signature.value[0], data, padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO), algorithm)
    else:
        raise Refusal(refusals.ATTEST_ALGORITHM, f"{signature.algorithm.name} by a {type(key).__name__}")


def name(public: bytes) -> bytes:
    """The Name of a key from its TPMT_PUBLIC (Part 1, 16): nameAlg || digest. Raises InputError `tpm-*`."""
    return _name(Public.parse(public).name_alg, public)


def name_of(public: Public, encoded: bytes) -> bytes:
    """As `name`, of a TPMT_PUBLIC that is parsed already."""
    return _name(public.name_alg, encoded)


def qualified_name(key_name: bytes, parent: bytes = ENDORSEMENT) -> bytes:
    """The Qualified Name of a key (Part 1, 16): its nameAlg || digest over `parent` || its Name.

    `parent` is the parent's own Qualified Name, or the hierarchy's handle where the key is a primary one.
    """
    algorithm = HashAlg(int.from_bytes(key_name[:2], "big"))
    return algorithm.to_bytes(2, "big") + _digest(algorithm, parent + key_name)


def nv_name(public: bytes) -> bytes:
    """The Name of an NV index from its TPMS_NV_PUBLIC; it changes when the index is first written."""
    return _name(NvPublic.parse(public).name_alg, public)


def _name(algorithm: HashAlg, public: bytes) -> bytes:
    return algorithm.to_bytes(2, "big") + _digest(algorithm, public)


def _digest(algorithm: HashAlg, data: bytes) -> bytes:
    if algorithm not in _HASHES:
        raise Refusal(refusals.TPM_HASH_WEAK, f"hash {algorithm.label}")
    return digest(algorithm, data)


def public_key(public: Public) -> PublicKey:
    """The key itself. Raises InputError `key-malformed` where there is no such key or it is too small."""
    try:
        if isinstance(public.parameters, EccParameters):
            curve = _CURVES[public.parameters.curve]
            x, y = (part.lstrip(b"\0").rjust(coordinate_size(curve), b"\0") for part in public.unique)
            return ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\4" + x + y)  # refuses what is not on it
        modulus = int.from_bytes(public.unique[0], "big")
        if modulus.bit_length() != public.parameters.key_bits or modulus.bit_length() < MIN_RSA_BITS:
            raise ValueError(f"an RSA modulus of {modulus.bit_length()} bits")
        return rsa.RSAPublicNumbers(public.parameters.exponent or RSA_DEFAULT_EXPONENT, modulus).public_key()
    except ValueError as error:
        raise InputError("key-malformed", str(error)) from error


def software_public(key: PublicKey) -> bytes:
    """The TPMT_PUBLIC under which TPM2_LoadExternal takes an ECDSA key that is not a TPM's own.

    Its Name stands for the key in PolicyAuthorize. Raises InputError `key-malformed` for other keys.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        for curve, known in _CURVES.items():
            if known.name == key.curve.name:
                parameters = EccParameters(None, None, curve)
                attributes = ObjectAttribute.USER_WITH_AUTH | ObjectAttribute.SIGN
                return Public(HashAlg.SHA256, attributes, b"", parameters, _coordinates(key)).encode()
    raise InputError("key-malformed", f"a TPM checks no signatures of this {type(key).__name__}")


def _coordinates(key: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
    size, numbers = coordinate_size(key.curve), key.public_numbers()
    return numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")


def pcr_digest(
    values: Mapping[HashAlg, Mapping[int, bytes]], selection: PcrSelection, algorithm: HashAlg = HashAlg.SHA256
) -> bytes:
    """What a quote says of these values: the digest over them in the selection's order (Part 1, 17.6.2).

    Raises Refusal `pcr-values-incomplete` where a selected one is not among them.
    """
    chosen = []
    for bank, pcrs in selection.banks:
        for pcr in pcrs:
            if (value := values.get(bank, {}).get(pcr)) is None:
                raise Refusal(
                    refusals.PCR_VALUES_INCOMPLETE, "a selected PCR has no value", place=f"{bank.label} {pcr}"
                )
            chosen.append(value)
    return _digest(algorithm, b"".join(chosen))


def policy_authorize(key_name: bytes, reference: bytes = b"") -> bytes:
    """The SHA-256 policy that the holder of the key `key_name` completes by signing others (Part 3, 23.16).

    `reference` is the policyRef that goes into what is signed.
    """
    first = hashlib.sha256(bytes(32) + CC_POLICY_AUTHORIZE.to_bytes(4, "big") + key_name).digest()
    return hashlib.sha256(first + reference).digest()


def make_credential(ek: Public, key_name: bytes, secret: bytes, entropy: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """TPM2_MakeCredential in software (Part 1, 24): only a TPM with both EK and the named key can open `secret`.

    Returns the contents of TPM2B_ID_OBJECT and of TPM2B_ENCRYPTED_SECRET. `secret` is at most as long as a digest of
    the EK's nameAlg; `entropy(n)` gives n random bytes. Raises InputError `key-malformed`, Refusal `ek-unsupported`.
    """
    if ek.parameters.symmetric is None or not ek.attributes & ObjectAttribute.DECRYPT:
        raise Refusal(refusals.EK_UNSUPPORTED, "it is no storage key")
    if ek.name_alg not in _HASHES:
        raise Refusal(refusals.EK_UNSUPPORTED, f"its hash is {ek.name_alg.label}")
    seed, encrypted = _shared_seed(ek, entropy)
    symmetric_key = _kdfa(ek.name_alg, seed, b"STORAGE", key_name, ek.parameters.symmetric.key_bits // 8)
    identity = _aes_cfb(symmetric_key, sized(secret))
    integrity_key = _kdfa(ek.name_alg, seed, b"INTEGRITY", b"", ek.name_alg.size)
    tag = hmac.digest(integrity_key, identity + key_name, ek.name_alg.label)
    return sized(tag) + identity, encrypted


def _shared_seed(ek: Public, entropy: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """A seed that the EK's holder also finds from the second value (Part 1, B.10.3 and C.6.3)."""
    key, algorithm = public_key(ek), ek.name_alg
    if isinstance(key, ec.EllipticCurvePublicKey):
        ephemeral = draw_private_key(key.curve, entropy)
        x, y = _coordinates(ephemeral.public_key())
        shared = ephemeral.exchange(ec.ECDH(), key)
        return _kdfe(algorithm, shared, b"IDENTITY", x + _coordinates(key)[0]), sized(x) + sized(y)
    assert isinstance(key, rsa.RSAPublicKey)
    seed, hashed = entropy(algorithm.size), _HASHES[algorithm]
    return seed, key.encrypt(seed, padding.OAEP(padding.MGF1(hashed), hashed, b"IDENTITY\0"))


def _kdfa(algorithm: HashAlg, key: bytes, label: bytes, context: bytes, size: int) -> bytes:
    """KDFa (Part 1, 11.4.10.2): SP800-108 in counter mode with HMAC; `size` in bytes."""
    fixed = label + b"\0" + context + (8 * size).to_bytes(4, "big")
    blocks = -(-size // algorithm.size)
    stream = (hmac.digest(key, counter.to_bytes(4, "big") + fixed, algorithm.label) for counter in range(1, blocks + 1))
    return b"".join(stream)[:size]


def _kdfe(algorithm: HashAlg, shared: bytes, label: bytes, parties: bytes) -> bytes:
    """KDFe (Part 1, 11.4.10.3) of one digest's size: SP800-56A over the shared x and both parties' x."""
    return _digest(algorithm, (1).to_bytes(4, "big") + shared + label + b"\0" + parties)


def _aes_cfb(key: bytes, data: bytes) -> bytes:
    """AES in CFB mode from a zero IV, as TPMs encrypt (Part 1, 11.4.9): `cryptography` moves its own CFB about."""
    block = algorithms.AES.block_size // 8
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  # one block at a time, chained below
    result, feedback = b"", bytes(block)
    for offset in range(0, len(data), block):
        chunk = data[offset : offset + block]
        feedback = bytes(a ^ b for a, b in zip(chunk, encryptor.update(feedback), strict=False))
        result += feedback
    return result
