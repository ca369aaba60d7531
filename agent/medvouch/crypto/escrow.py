"""Secrets sealed to an accountable owner: COSE_Encrypt (RFC 9052, 5.1), ECDH-ES with HKDF-SHA-256, AES-256-GCM.

::

    96([h'{1: 3}', {5: iv}, ciphertext, [[h'{1: -25}', {-1: ephemeral COSE_Key}, h'']]])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from medvouch.crypto import refusals
from medvouch.crypto.keys import PrivateKey, cose_key, draw_private_key, from_cose_key
from medvouch.errors import InputError, Refusal
from medvouch.formats import cbor
from medvouch.formats.cose import ALG, message, octets

TAG_ENCRYPT = 96
MAX_PLAINTEXT_BYTES = 2048
"""An escrow holds a handful of authorisation values."""

A256GCM = 3
ECDH_ES_HKDF_256 = -25
_IV, _EPHEMERAL_KEY = 5, -1
_IV_BYTES, _TAG_BYTES, _KEY_BITS = 12, 16, 256
_CONTENT_HEADER = cbor.encode({ALG: A256GCM})
_RECIPIENT_HEADER = cbor.encode({ALG: ECDH_ES_HKDF_256})


def seal(
    plaintext: bytes,
    recipient: ec.EllipticCurvePublicKey,
    entropy: Callable[[int], bytes],
    *,
    context: bytes = b"",
) -> bytes:
    """`plaintext` for the holder of `recipient`'s private half, bound to `context` (the device it is of).

    `entropy(size)` gives random bytes fit for keys. InputError `key-malformed` where the recipient's key is on none of
    the NIST curves of COSE; ValueError where the plaintext is over MAX_PLAINTEXT_BYTES.
    """
    if len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise ValueError(f"an escrow holds at most {MAX_PLAINTEXT_BYTES} bytes")
    ephemeral = draw_private_key(recipient.curve, entropy)
    iv = entropy(_IV_BYTES)
    key = content_key(ephemeral.exchange(ec.ECDH(), recipient), A256GCM, _KEY_BITS, _RECIPIENT_HEADER)
    ciphertext = AESGCM(key).encrypt(iv, plaintext, _enc_structure(context))
    header = {_EPHEMERAL_KEY: cose_key(ephemeral.public_key())}
    body = [_CONTENT_HEADER, {_IV: iv}, ciphertext, [[_RECIPIENT_HEADER, header, b""]]]
    return cbor.encode(cbor.Tag(TAG_ENCRYPT, body))


def open_sealed(data: bytes, private: PrivateKey, *, context: bytes = b"") -> bytes:
    """The plaintext of `seal`.

    Raises InputError `escrow-*`, `cose-malformed` or `cbor-*` where it is not of that form, Refusal `escrow-unopened`
    where it is sealed to another key or for another context, or was altered.
    """
    sealed = _Sealed.parse(data)
    if sealed.ephemeral.curve.name != private.curve.name:
        raise Refusal(refusals.ESCROW_UNOPENED, f"sealed to a key on {sealed.ephemeral.curve.name}")
    key = content_key(private.exchange(ec.ECDH(), sealed.ephemeral), A256GCM, _KEY_BITS, _RECIPIENT_HEADER)
    try:
        return AESGCM(key).decrypt(sealed.iv, sealed.ciphertext, _enc_structure(context))
    except InvalidTag as error:
        raise Refusal(refusals.ESCROW_UNOPENED, "it does not decrypt with this key") from error


@dataclass(frozen=True)
class _Sealed:
    ephemeral: ec.EllipticCurvePublicKey
    iv: bytes
    ciphertext: bytes

    @classmethod
    def parse(cls, data: bytes) -> _Sealed:
        """Only the one form that `seal` writes."""
        content_header, unprotected, ciphertext, recipients = message(data, TAG_ENCRYPT)
        iv = octets(_only(unprotected, _IV))
        if content_header != _CONTENT_HEADER or len(iv) != _IV_BYTES:
            raise _malformed("not AES-256-GCM with an IV of 96 bits")
        if len(octets(ciphertext)) > MAX_PLAINTEXT_BYTES + _TAG_BYTES:
            raise InputError("escrow-limit", f"{len(ciphertext)} bytes sealed where {MAX_PLAINTEXT_BYTES} are allowed")
        match recipients:
            case [[header, keys, b""]] if header == _RECIPIENT_HEADER:
                ephemeral = from_cose_key(_only(keys, _EPHEMERAL_KEY))
            case _:
                raise _malformed("not one recipient by ECDH-ES with HKDF-SHA-256")
        if not isinstance(ephemeral, ec.EllipticCurvePublicKey):
            raise _malformed("the ephemeral key is on no curve for ECDH")
        return cls(ephemeral, iv, ciphertext)


def _only(header: object, label: int) -> Any:
    if not isinstance(header, dict) or set(header) != {label}:
        raise _malformed(f"not a header of {label} alone")
    return header[label]


def content_key(shared: bytes, algorithm: int, bits: int, recipient_header: bytes) -> bytes:
    """HKDF-SHA-256 of an ECDH secret over the COSE_KDF_Context (RFC 9053, 5.2) without names of the parties."""
    nobody = [None, None, None]
    info = cbor.encode([algorithm, nobody, nobody, [bits, recipient_header]])
    return HKDF(hashes.SHA256(), bits // 8, None, info).derive(shared)


def _enc_structure(context: bytes) -> bytes:
    """What is authenticated beside the ciphertext (RFC 9052, 5.3)."""
    return cbor.encode(["Encrypt", _CONTENT_HEADER, context])


def _malformed(detail: str) -> InputError:
    return InputError("escrow-malformed", detail)
