"""Certification requests (PKCS#10, RFC 2986): that whoever asks has the key."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from medvouch.crypto import refusals
from medvouch.crypto.keys import PublicKey, load_spki
from medvouch.errors import InputError, Refusal
from medvouch.formats.csr_attestation import Request

_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def verify_request(data: bytes) -> tuple[Request, PublicKey]:
    """A request (DER) that is signed by the key it is for, and that key.

    Raises InputError `certificate-*`, `key-malformed`, Refusal `request-not-signed`.
    """
    request = Request.parse(data)
    key = load_spki(request.key)
    try:
        parsed = x509.load_der_x509_csr(data)
        algorithm, holds = parsed.signature_hash_algorithm, parsed.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise InputError("certificate-malformed", str(cause)) from cause
    if not holds or (algorithm is not None and not isinstance(algorithm, _HASHES)):
        raise Refusal(refusals.REQUEST_NOT_SIGNED, "its signature does not hold, or over a weak hash")
    return request, key
