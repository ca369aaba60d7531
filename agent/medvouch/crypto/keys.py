"""Public keys, signers, and the forms a key is written in: SubjectPublicKeyInfo, COSE_Key, thumbprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from medvouch.errors import InputError
from medvouch.formats import cbor

EdwardsPublicKey = ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
PublicKey = ec.EllipticCurvePublicKey | EdwardsPublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey

ES256 = -7
ES384 = -35
ES512 = -36

_CURVES: Mapping[int, ec.EllipticCurve] = {1: ec.SECP256R1(), 2: ec.SECP384R1(), 3: ec.SECP521R1()}
"""COSE elliptic curves of kty EC2 (RFC 9053, 7.1)."""
_CURVE_NUMBERS = {curve.name: number for number, curve in _CURVES.items()}
_EDWARDS: Mapping[int, type[EdwardsPublicKey]] = {6: ed25519.Ed25519PublicKey, 7: ed448.Ed448PublicKey}
"""COSE elliptic curves of kty OKP (RFC 9053, 7.2)."""
_ORDERS = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": (1 << 384) - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D,
    "secp521r1": (1 << 521) - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
}
"""How many points each curve's generator makes (SP 800-186, 3.2.1)."""
_SIGNING = {"secp256r1": (ES256, hashes.SHA256()), "secp384r1": (ES384, hashes.SHA384())}
_MIN_RSA_BITS = 2048


class Signer(Protocol):
    """A private key somewhere: in memory, in a TPM, in a token."""

    alg: int
    """COSE algorithm (RFC 9053)."""

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature as COSE carries it: r || s for ECDSA (RFC 9053, section 2.1)."""
        ...


class SoftwareSigner:
    """A Signer whose key is in memory: ECDSA on P-256 with SHA-256, or on P-384 with SHA-384."""

    def __init__(self, key: PrivateKey) -> None:
        if key.curve.name not in _SIGNING:
            raise _malformed(f"no signatures are made on {key.curve.name}")
        self.alg, self._hash = _SIGNING[key.curve.name]
        self._key = key
        self.public_key: PublicKey = key.public_key()

    def sign(self, message: bytes) -> bytes:
        """R || s of this message."""
        return ecdsa_raw(self._key.sign(message, ec.ECDSA(self._hash)), coordinate_size(self._key.curve))


def coordinate_size(curve: ec.EllipticCurve) -> int:
    """Bytes of a coordinate on this curve, which is also the width of r and s."""
    return (curve.key_size + 7) // 8


def draw_private_key(curve: ec.EllipticCurve, entropy: Callable[[int], bytes]) -> PrivateKey:
    """A key made of `entropy(size)` by rejection sampling (FIPS 186-5, A.2.2); `key-malformed` on other curves."""
    if curve.name not in _ORDERS:
        raise _malformed(f"no keys are made on {curve.name}")
    mask = (1 << curve.key_size) - 1
    while True:
        scalar = int.from_bytes(entropy(coordinate_size(curve)), "big") & mask
        if 0 < scalar < _ORDERS[curve.name]:
            return ec.derive_private_key(scalar, curve)


def ecdsa_raw(der: bytes, size: int) -> bytes:
    """R || s, each left-padded to `size` bytes, from a DER ECDSA-Sig-Value."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def ecdsa_der(raw: bytes, size: int) -> bytes:
    """DER from r || s; InputError `signature-malformed` where it is not twice `size` long."""
    if len(raw) != 2 * size:
        raise InputError("signature-malformed", f"{len(raw)} bytes where r and s take {2 * size}")
    return encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))


def spki(key: PublicKey) -> bytes:
    """DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7)."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_spki(data: bytes) -> PublicKey:
    """The key of a DER SubjectPublicKeyInfo; InputError `key-malformed` where it is none that we use."""
    try:
        key = serialization.load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _malformed(str(error)) from error
    if not isinstance(key, PublicKey):
        raise _malformed(f"a {type(key).__name__} is no key that we use")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _CURVE_NUMBERS:
        raise _malformed(f"no keys are used on {key.curve.name}")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        raise _malformed(f"an RSA key of {key.key_size} bits")
    if spki(key) != data:
        raise _malformed("the key is not in the one form that DER has for it")
    return key


def load_public_pem(data: bytes) -> PublicKey:
    """A PEM public key (SubjectPublicKeyInfo); InputError `key-malformed` where it is none that we use."""
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _malformed(str(error)) from error
    if not isinstance(key, PublicKey):
        raise _malformed(f"a {type(key).__name__} is no key that we use")
    return load_spki(spki(key))


def load_private_pem(data: bytes) -> PrivateKey:
    """An unencrypted PEM private key; InputError `key-malformed` where it is none that we sign with."""
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:  # the last: X25519 of a wrong size
        raise _malformed(str(error)) from error
    if not isinstance(key, PrivateKey):
        raise _malformed(f"a {type(key).__name__} is no key that we sign with")
    return key


def cose_key(key: PublicKey) -> dict[int, Any]:
    """The required members of a COSE_Key (RFC 9053, section 7; RFC 8230 for RSA); `key-malformed` on other curves."""
    if isinstance(key, rsa.RSAPublicKey):
        public = key.public_numbers()
        return {1: 3, -1: _unsigned(public.n), -2: _unsigned(public.e)}
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVE_NUMBERS:
            raise _malformed(f"COSE has no keys on {key.curve.name}")
        size, numbers = coordinate_size(key.curve), key.public_numbers()
        x, y = numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")
        return {1: 2, -1: _CURVE_NUMBERS[key.curve.name], -2: x, -3: y}
    curve = next(number for number, form in _EDWARDS.items() if isinstance(key, form))
    return {1: 1, -1: curve, -2: key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)}


def from_cose_key(members: object) -> PublicKey:
    """The key of a decoded COSE_Key of exactly the members that `cose_key` writes; InputError `key-malformed`."""
    if not isinstance(members, Mapping):
        raise _malformed("a COSE_Key is a map")
    try:
        key = _FORMS[members[1]](members)
        canonical = cbor.encode(cose_key(key)) == cbor.encode(members)
    except (KeyError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise _malformed(f"not a COSE_Key that we use: {error}") from error
    if not canonical:
        raise _malformed("the COSE_Key is not in the one form we use")
    return key


def _from_ec2(members: Mapping[Any, Any]) -> PublicKey:
    point = b"\x04" + members[-2] + members[-3]
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[members[-1]], point)


def _from_okp(members: Mapping[Any, Any]) -> PublicKey:
    return _EDWARDS[members[-1]].from_public_bytes(members[-2])


def _from_rsa(members: Mapping[Any, Any]) -> PublicKey:
    n, e = (int.from_bytes(members[label], "big") for label in (-1, -2))
    return load_spki(spki(rsa.RSAPublicNumbers(e, n).public_key()))


_FORMS = {1: _from_okp, 2: _from_ec2, 3: _from_rsa}
"""Readers by kty."""


def key_thumbprint(key: PublicKey) -> bytes:
    """COSE Key Thumbprint with SHA-256 (RFC 9679), 32 bytes."""
    return hashlib.sha256(cbor.encode(cose_key(key))).digest()


def _unsigned(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _malformed(detail: str) -> InputError:
    return InputError("key-malformed", detail)
