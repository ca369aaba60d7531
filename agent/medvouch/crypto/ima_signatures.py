"""Signatures of files in an IMA list, held against keys that the verifier knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from medvouch.crypto import certificates, refusals
from medvouch.crypto.keys import PublicKey
from medvouch.errors import Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import digest
from medvouch.formats.ima import Entry
from medvouch.formats.ima_signature import KEY_ID_BYTES, OF_VERITY, ImaSignature

_HASHES: dict[HashAlg, hashes.HashAlgorithm] = {
    HashAlg.SHA256: hashes.SHA256(),
    HashAlg.SHA384: hashes.SHA384(),
    HashAlg.SHA512: hashes.SHA512(),
    HashAlg.SHA3_256: hashes.SHA3_256(),
    HashAlg.SHA3_384: hashes.SHA3_384(),
    HashAlg.SHA3_512: hashes.SHA3_512(),
}
"""Algorithms that signatures are believed by; SHA-1 is none of them."""


@dataclass(frozen=True)
class ImaKey:
    """A key that files are signed with, and the id that the kernel finds it by."""

    id: bytes
    key: PublicKey

    @classmethod
    def of_key(cls, key: PublicKey) -> ImaKey:
        """The id is the end of SHA-1 over the public key (RFC 5280, 4.2.1.2, method 1)."""
        return cls(x509.SubjectKeyIdentifier.from_public_key(key).digest[-KEY_ID_BYTES:], key)

    @classmethod
    def of_certificate(cls, der: bytes) -> ImaKey:
        """The id is the end of the certificate's subject key identifier. Raises InputError, Refusal `certificate-*`."""
        certificate = certificates.load(der)
        key = certificate.public_key
        try:
            named = certificate.parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return cls.of_key(key)
        return cls(named.digest[-KEY_ID_BYTES:], key)


@dataclass(frozen=True)
class SignedFile:
    """A measured file whose signature holds: `key` signed `digest`. The path is measured, and not signed."""

    path: str
    algorithm: HashAlg
    digest: bytes
    key: ImaKey


def verify_file(entry: Entry, keys: Iterable[ImaKey]) -> SignedFile:
    """Check the signature of an entry that a replay confirmed.

    1. The entry has a signature, and a digest of a file: `ima-signature-missing`.
    2. It was made by the algorithm of that digest, which is one to be believed: `ima-signature-algorithm`.
    3. Its key is known: `ima-signature-key-unknown`.
    4. It is that key's signature of the digest: `ima-signature-invalid`.

    Raises InputError `ima-signature-*` for what is no signature.
    """
    measured, place = entry.file_digest, f"ima entry {entry.index}"
    if not entry.signature or measured is None or entry.violation:
        raise Refusal(refusals.IMA_SIGNATURE_MISSING, entry.describe(), place=place)
    signature = ImaSignature.parse(entry.signature)
    label, found = measured
    algorithm = signature.algorithm
    known = algorithm in _HASHES and algorithm.label == label.replace("-", "_") and algorithm.size == len(found)
    if not known or (signature.type == OF_VERITY) != entry.of_verity:
        detail = f"{entry.describe()}: signed by {algorithm.label} and type {signature.type}, measured by {label}"
        raise Refusal(refusals.IMA_SIGNATURE_ALGORITHM, detail, place=place)
    candidates = [key for key in keys if key.id == signature.key_id]
    if not candidates:
        detail = f"{entry.describe()}: signed by {signature.key_id.hex()}"
        raise Refusal(refusals.IMA_SIGNATURE_KEY_UNKNOWN, detail, place=place)
    signed = digest(algorithm, signature.verity_input(found)) if entry.of_verity else found
    for key in candidates:
        if _holds(key.key, signature, signed):
            return SignedFile(entry.path, algorithm, found, key)
    raise Refusal(refusals.IMA_SIGNATURE_INVALID, entry.describe(), place=place)


def _holds(key: PublicKey, signature: ImaSignature, signed: bytes) -> bool:
    prehashed = Prehashed(_HASHES[signature.algorithm])
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature.value, signed, padding.PKCS1v15(), prehashed)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature.value, signed, ec.ECDSA(prehashed))
        else:
            return False
    except InvalidSignature:
        return False
    return True
