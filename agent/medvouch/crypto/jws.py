"""JWS in the compact form (RFC 7515) with ECDSA (RFC 7518, 3.4): HEADER.PAYLOAD.SIGNATURE, each in base64url.

What a key may sign with is the key's, never the header's word; nothing of the payload is parsed before its signature.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.crypto import refusals
from medvouch.crypto.keys import ES256, ES384, PublicKey, Signer, coordinate_size, ecdsa_der
from medvouch.errors import InputError, Refusal
from medvouch.formats.json_object import unique

FORMAT = "jws"
MAX_JWS_CHARS = 1 << 20

_NAMES = {ES256: "ES256", ES384: "ES384"}
_CURVES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "secp256r1": ("ES256", hashes.SHA256()),
    "secp384r1": ("ES384", hashes.SHA384()),
}


def sign_compact(payload: Mapping[str, Any], signer: Signer, *, typ: str) -> str:
    """A signed JSON object; `typ` is its media type without `application/` (RFC 7515, 4.1.9)."""
    signed = f"{_part(_json({'alg': _NAMES[signer.alg], 'typ': typ}))}.{_part(_json(payload))}"
    return f"{signed}.{_part(signer.sign(signed.encode()))}"


def verify_compact(token: str, keys: Iterable[PublicKey], *, typ: str) -> dict[str, Any]:
    """The JSON object that one of `keys` signed; its header says algorithm and type and nothing else.

    Raises InputError `jws-*`; Refusal `jws-header`, `jws-signature-invalid`.
    """
    if len(token) > MAX_JWS_CHARS:
        raise InputError(f"{FORMAT}-limit", f"{len(token)} characters where at most {MAX_JWS_CHARS} are allowed")
    parts = token.split(".")
    if len(parts) != 3:
        _malformed("three parts joined by dots expected")
    header = parse_object(_bytes(parts[0]))
    payload, signature = _bytes(parts[1]), _bytes(parts[2])
    signed = f"{parts[0]}.{parts[1]}".encode()
    names = [_name(key) for key in keys if _signed_by(key, signature, signed)]
    if not names:
        raise Refusal(refusals.JWS_SIGNATURE_INVALID, "none of the trusted keys signed it")
    if header != {"alg": names[0], "typ": typ}:
        raise Refusal(refusals.JWS_HEADER, f"{json.dumps(header)[:256]} where {names[0]} and {typ} are wanted")
    return parse_object(payload)


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object; no name twice, no fraction, nothing nested without end. InputError `jws-malformed`."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=unique, parse_float=_number, parse_constant=_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{FORMAT}-malformed", f"no JSON: {str(error)[:128]}") from error
    if not isinstance(value, dict):
        _malformed("a JSON object expected")
    return value


def _number(text: str) -> NoReturn:
    raise ValueError(f"a number that is not whole: {text[:32]}")


def _name(key: PublicKey) -> str:
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return _CURVES[key.curve.name][0]


def _signed_by(key: PublicKey, signature: bytes, signed: bytes) -> bool:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        return False
    try:
        der = ecdsa_der(signature, coordinate_size(key.curve))
        key.verify(der, signed, ec.ECDSA(_CURVES[key.curve.name][1]))
    except (InvalidSignature, InputError):
        return False
    return True


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(part: str) -> bytes:
    """The one encoding that base64url without padding has for these bytes (RFC 7515, 2)."""
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except ValueError:
        _malformed("base64url expected")
    if _part(data) != part:
        _malformed("base64url without padding expected")
    return data


def _malformed(detail: str) -> NoReturn:
    raise InputError(f"{FORMAT}-malformed", detail)
