"""Signatures of files in an IMA list, held against keys that the verifier knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from medvouch.crypto import certificates, refusals
from medvouch.crypto.keys import PublicKey
from medvouch.errors import Refusal
from medvouch.formats import der
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cms import IssuerAndSerial, SignedData, Signer
from medvouch.formats.hashing import digest
from medvouch.formats.ima import Entry
from medvouch.formats.ima_signature import KEY_ID_BYTES, OF_METADATA, OF_VERITY, ImaSignature

_HASHES: dict[HashAlg, hashes.HashAlgorithm] = {
    HashAlg.SHA256: hashes.SHA256(),
    HashAlg.SHA384: hashes.SHA384(),
    HashAlg.SHA512: hashes.SHA512(),
    HashAlg.SHA3_256: hashes.SHA3_256(),
    HashAlg.SHA3_384: hashes.SHA3_384(),
    HashAlg.SHA3_512: hashes.SHA3_512(),
}
"""Algorithms that signatures are believed by; SHA-1 is none of them."""
_RSA, _ECDSA, _NIST = "1.2.840.113549.1.1.1", "1.2.840.10045.4.3", "2.16.840.1.101.3.4"
_APPENDED: Mapping[tuple[bytes, bytes], tuple[HashAlg, type[PublicKey]]] = {
    (der.oid(f"{_NIST}.2.{hashed}"), der.oid(signed)): (algorithm, kind)
    for algorithm, hashed, ecdsa in (
        (HashAlg.SHA256, 1, f"{_ECDSA}.2"),
        (HashAlg.SHA384, 2, f"{_ECDSA}.3"),
        (HashAlg.SHA512, 3, f"{_ECDSA}.4"),
        (HashAlg.SHA3_256, 8, f"{_NIST}.3.10"),
        (HashAlg.SHA3_384, 9, f"{_NIST}.3.11"),
        (HashAlg.SHA3_512, 10, f"{_NIST}.3.12"),
    )
    for signed, kind in ((_RSA, rsa.RSAPublicKey), (ecdsa, ec.EllipticCurvePublicKey))
}
"""By the digest's and the signature's algorithm in a CMS signature (RFC 5754, RFC 8702): hash, and kind of key."""


@dataclass(frozen=True)
class ImaKey:
    """A key that files are signed with, and the id that the kernel finds it by; `named` is of its certificate."""

    id: bytes
    key: PublicKey
    named: IssuerAndSerial | None = None

    @classmethod
    def of_key(cls, key: PublicKey) -> ImaKey:
        """The id is the end of SHA-1 over the public key (RFC 5280, 4.2.1.2, method 1)."""
        return cls(x509.SubjectKeyIdentifier.from_public_key(key).digest[-KEY_ID_BYTES:], key)

    @classmethod
    def of_certificate(cls, der: bytes) -> ImaKey:
        """The id is the end of the certificate's subject key identifier. Raises InputError, Refusal `certificate-*`."""
        certificate = certificates.load(der)
        key = certificate.public_key
        issued = IssuerAndSerial(certificate.parsed.issuer.public_bytes(), certificate.parsed.serial_number)
        try:
            named = certificate.parsed.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return replace(cls.of_key(key), named=issued)
        return cls(named.digest[-KEY_ID_BYTES:], key, issued)

    def may_be(self, signer: Signer) -> bool:
        """Whether a CMS signature names this key; nobody signed that name, and a key without certificate has none."""
        if isinstance(signer, bytes):
            return signer[-KEY_ID_BYTES:] == self.id
        return self.named is None or self.named == signer


@dataclass(frozen=True)
class SignedFile:
    """A measured file whose signature holds: `key` signed `digest`. The path is measured, and not signed.

    `appended`: the signature stands at the end of the file, and `digest` is that of the file without it.
    """

    path: str
    algorithm: HashAlg
    digest: bytes
    key: ImaKey
    appended: bool = False


def verify_file(entry: Entry, keys: Iterable[ImaKey]) -> SignedFile:
    """Check the signature of an entry that a replay confirmed.

    1. The entry has a signature, and a digest of a file: `ima-signature-missing`.
    2. It is over that digest and not over attributes: `ima-signature-attributes`.
    3. It was made by the algorithm of that digest, which is one to be believed: `ima-signature-algorithm`.
    4. Its key is known: `ima-signature-key-unknown`.
    5. It is that key's signature of the digest: `ima-signature-invalid`.

    The one in the extended attribute counts, or where there is none, or none of a known key, the one at the end of the
    file, as the kernel has it (ima_appraise.c). That one is over the digest that the kernel took of the file without it
    (d-modsig). The list has no byte of either file, so the kernel's word that both digests are of one file is measured,
    and not checked.

    Raises InputError `ima-signature-*` and `cms-*` for what is no signature.
    """
    known, place = tuple(keys), f"ima entry {entry.index}"
    if entry.violation:  # 1
        raise Refusal(refusals.IMA_SIGNATURE_MISSING, entry.describe(), place=place)
    signature = _in_attribute(entry)
    by_known = signature is not None and any(key.id == signature.key_id for key in known)
    if entry.appended_signature and not by_known:
        return _verify_appended(entry, SignedData.parse(entry.appended_signature), known, place)
    if signature is None:
        raise Refusal(refusals.IMA_SIGNATURE_MISSING, entry.describe(), place=place)
    return _verify_attribute(entry, signature, known, place)


def _in_attribute(entry: Entry) -> ImaSignature | None:
    """None where there is none of the file; EVM's own may stand there, of its metadata."""
    if not entry.signature or entry.signature[0] == OF_METADATA:
        return None
    return ImaSignature.parse(entry.signature)


def _verify_attribute(entry: Entry, signature: ImaSignature, keys: Sequence[ImaKey], place: str) -> SignedFile:
    if entry.file_digest is None:  # 1
        raise Refusal(refusals.IMA_SIGNATURE_MISSING, f"{entry.describe()}: no digest of a file", place=place)
    label, found = entry.file_digest
    algorithm = signature.algorithm
    if not _fits(algorithm, label, found) or (signature.type == OF_VERITY) != entry.of_verity:  # 3
        detail = f"{entry.describe()}: signed by {algorithm.label} and type {signature.type}, measured by {label}"
        raise Refusal(refusals.IMA_SIGNATURE_ALGORITHM, detail, place=place)
    candidates = [key for key in keys if key.id == signature.key_id]  # 4
    if not candidates:
        detail = f"{entry.describe()}: signed by {signature.key_id.hex()}"
        raise Refusal(refusals.IMA_SIGNATURE_KEY_UNKNOWN, detail, place=place)
    signed = digest(algorithm, signature.verity_input(found)) if entry.of_verity else found
    for key in candidates:  # 5
        if _holds(key.key, signature.value, algorithm, signed):
            return SignedFile(entry.path, algorithm, found, key)
    raise Refusal(refusals.IMA_SIGNATURE_INVALID, entry.describe(), place=place)


def _verify_appended(entry: Entry, signed: SignedData, keys: Sequence[ImaKey], place: str) -> SignedFile:
    if signed.signed_attributes:  # 2
        raise Refusal(refusals.IMA_SIGNATURE_ATTRIBUTES, entry.describe(), place=place)
    label, found = entry.unsigned_digest or ("nothing", b"")
    algorithm, kind = _APPENDED.get((signed.digest.oid, signed.algorithm.oid), (None, None))
    plain = signed.digest.is_plain and signed.algorithm.is_plain
    if algorithm is None or kind is None or not plain or not _fits(algorithm, label, found):  # 3
        detail = f"{entry.describe()}: measured by {label}, signed by another algorithm, or by none that is believed"
        raise Refusal(refusals.IMA_SIGNATURE_ALGORITHM, detail, place=place)
    candidates = [key for key in keys if key.may_be(signed.signer) and isinstance(key.key, kind)]  # 4
    if not candidates:
        detail = f"{entry.describe()}: signed by {signed.describe_signer()}"
        raise Refusal(refusals.IMA_SIGNATURE_KEY_UNKNOWN, detail, place=place)
    for key in candidates:  # 5
        if _holds(key.key, signed.signature, algorithm, found):
            return SignedFile(entry.path, algorithm, found, key, appended=True)
    raise Refusal(refusals.IMA_SIGNATURE_INVALID, entry.describe(), place=place)


def _fits(algorithm: HashAlg, label: str, found: bytes) -> bool:
    """Whether it is believed, and the one that made the digest."""
    return algorithm in _HASHES and algorithm.label == label.replace("-", "_") and algorithm.size == len(found)


def _holds(key: PublicKey, value: bytes, algorithm: HashAlg, signed: bytes) -> bool:
    prehashed = Prehashed(_HASHES[algorithm])
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(value, signed, padding.PKCS1v15(), prehashed)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(value, signed, ec.ECDSA(prehashed))
        else:
            return False
    except InvalidSignature:
        return False
    return True
