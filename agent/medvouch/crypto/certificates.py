"""One X.509 certificate before anything is known of it, and the profiles it may be judged by."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from medvouch.crypto import refusals
from medvouch.crypto.keys import PublicKey
from medvouch.errors import InputError, Refusal
from medvouch.formats import der

QUIRK_SET_ORDER = "set-order"
"""Nuvoton's TPM CAs wrote the members of their names' SETs unsorted; strict parsers refuse the certificate."""

TCG_EK_CERTIFICATE = ObjectIdentifier("2.23.133.8.1")
TCG_AIK_CERTIFICATE = ObjectIdentifier("2.23.133.8.3")
TCG_VERIFIED_TPM_FIXED = ObjectIdentifier("2.23.133.11.1.2")
TCG_VERIFIED_TPM_RESTRICTED = ObjectIdentifier("2.23.133.11.1.3")
TPM_MANUFACTURER = ObjectIdentifier("2.23.133.2.1")
TPM_MODEL = ObjectIdentifier("2.23.133.2.2")
TPM_VERSION = ObjectIdentifier("2.23.133.2.3")

_MIN_RSA_BITS = 2048
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_UNPARSABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True)
class Profile:
    """What an end-entity certificate must be for.

    `usages` are keyUsage bits by cryptography's names, one of which must be set; `purpose` an extendedKeyUsage and
    `policy` a certificate policy that must be stated, where given.
    """

    name: str
    usages: frozenset[str]
    purpose: ObjectIdentifier | None = None
    policy: ObjectIdentifier | None = None


_SIGNS = frozenset({"digital_signature"})

EK = Profile("endorsement key", frozenset({"key_encipherment", "key_agreement"}), TCG_EK_CERTIFICATE)
"""TCG EK Credential Profile for TPM 2.0, 3.2."""
ATTESTATION_KEY = Profile("attestation key", _SIGNS, TCG_AIK_CERTIFICATE, TCG_VERIFIED_TPM_RESTRICTED)
"""IAK and LAK (TCG TPM 2.0 Keys for Device Identity and Attestation, 8.2)."""
DEVICE_ID = Profile("device identity", _SIGNS, None, TCG_VERIFIED_TPM_FIXED)
"""IDevID and LDevID (same place)."""
TLS_CLIENT = Profile("TLS client", _SIGNS, ExtendedKeyUsageOID.CLIENT_AUTH)
TLS_SERVER = Profile("TLS server", _SIGNS, ExtendedKeyUsageOID.SERVER_AUTH)


@dataclass(frozen=True)
class UnverifiedCertificate:
    """A certificate that could be read; `quirks` names the leniencies that took."""

    der: bytes
    parsed: x509.Certificate
    quirks: tuple[str, ...]
    key: CertificatePublicKeyTypes = field(repr=False, compare=False)
    """Of whatever kind and strength."""
    signed: bytes = field(repr=False, compare=False)
    """What its issuer signed of `der`, also where a quirk changed what was parsed."""

    def __str__(self) -> str:
        return self.parsed.subject.rfc4514_string() or f"serial {self.parsed.serial_number:x}"

    @functools.cached_property
    def extensions(self) -> Mapping[type[x509.ExtensionType], x509.ExtensionType]:
        """By their types; certificates have one of each."""
        return {type(extension.value): extension.value for extension in self.parsed.extensions}

    @functools.cached_property
    def public_key(self) -> PublicKey:
        """Its key; raises Refusal `certificate-algorithm` for one of a weak or unknown kind."""
        key = self.key
        match key:
            case rsa.RSAPublicKey() if key.key_size >= _MIN_RSA_BITS:
                return key
            case ec.EllipticCurvePublicKey() if isinstance(key.curve, _CURVES):
                return key
            case ed25519.Ed25519PublicKey():
                return key
        raise Refusal(refusals.CERTIFICATE_ALGORITHM, "its key is of a weak or unknown kind", place=str(self))


def load(data: bytes) -> UnverifiedCertificate:
    """Read a DER certificate without trailing bytes. Raises InputError `certificate-*`."""
    signed = der.signed_part(data)
    try:
        parsed, key = _parse(data)
        return UnverifiedCertificate(data, parsed, (), key, signed)
    except InputError as strict:
        canonical = der.sort_sets(data)
        if canonical == data:
            raise strict from None
        parsed, key = _parse(canonical)
        return UnverifiedCertificate(data, parsed, (QUIRK_SET_ORDER,), key, signed)


def _parse(data: bytes) -> tuple[x509.Certificate, CertificatePublicKeyTypes]:
    """cryptography reads lazily; whatever can fail in what is used later fails here."""
    try:
        parsed = x509.load_der_x509_certificate(data)
        _ = parsed.extensions, parsed.subject, parsed.issuer
        key = parsed.public_key()
        _ = parsed.not_valid_before_utc, parsed.not_valid_after_utc
        _ = parsed.signature_hash_algorithm, parsed.signature_algorithm_parameters
    except _UNPARSABLE as cause:
        raise InputError("certificate-malformed", str(cause)) from cause
    except KeyError as cause:  # as cryptography 43 says it
        raise InputError("certificate-malformed", f"a name is of the unknown type {cause}") from cause
    return parsed, key


def verify_signature(certificate: UnverifiedCertificate, issuer: UnverifiedCertificate) -> None:
    """The issuer's key signed the certificate, whatever its strength. Raises Refusal `certificate-untrusted`."""
    parsed = certificate.parsed
    verify_signed(
        issuer,
        parsed.signature,
        certificate.signed,
        parsed.signature_algorithm_parameters,
        parsed.signature_hash_algorithm,
        place=certificate,
    )


def verify_signed(
    issuer: UnverifiedCertificate,
    signature: bytes,
    data: bytes,
    parameters: object,
    hash_algorithm: hashes.HashAlgorithm | None,
    *,
    place: object,
) -> None:
    """A signature by `issuer` with `parameters` as cryptography gives `signature_algorithm_parameters`.

    `place`, what was signed, is put into words only for a refusal: names take long.
    """
    try:
        match issuer.key, parameters:
            case ec.EllipticCurvePublicKey() as key, ec.ECDSA():
                return key.verify(signature, data, parameters)
            case rsa.RSAPublicKey() as key, padding.PKCS1v15() | padding.PSS() if hash_algorithm:
                return key.verify(signature, data, parameters, hash_algorithm)
            case ed25519.Ed25519PublicKey() as key, None:
                return key.verify(signature, data)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):  # ValueError: a key too small for the hash
        pass
    raise Refusal(refusals.CERTIFICATE_UNTRUSTED, f"{issuer} did not sign it", place=str(place))


def check_strength(certificate: UnverifiedCertificate) -> None:
    """Its signature is over a hash without known collisions. Raises Refusal `certificate-algorithm`."""
    used = certificate.parsed.signature_hash_algorithm
    if used is not None and not isinstance(used, _HASHES):
        raise Refusal(refusals.CERTIFICATE_ALGORITHM, f"signed over {used.name}", place=str(certificate))
