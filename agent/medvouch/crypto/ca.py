"""Issuing X.509 certificates: for enrolment authorities, device makers and TPM vendors alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from medvouch.crypto.certificates import Profile, load
from medvouch.crypto.keys import PublicKey

NO_EXPIRY = 253402300799
"""9999-12-31T23:59:59Z, the notAfter of certificates that never expire (RFC 5280, 4.1.2.5)."""
SERIAL_BYTES = 16
BACKDATING = 300
"""Seconds before its making from which a certificate or a list is valid."""
LIST_LIFETIME = 30 * 86_400
"""Seconds after its making in which a revocation list is to be replaced."""

_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Validity:
    """Seconds since 1970 (UTC), both ends included."""

    not_before: int
    not_after: int


def subject(common_name: str = "", *, serial: str = "", organisation: str = "") -> x509.Name:
    """A distinguished name of what is not empty."""
    parts = (
        (NameOID.ORGANIZATION_NAME, organisation),
        (NameOID.COMMON_NAME, common_name),
        (NameOID.SERIAL_NUMBER, serial),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


@dataclass(frozen=True)
class CertificateAuthority:
    """A CA certificate (DER) and its private key; `chain` is what a peer needs between it and the root, it included.

    Every `serial` is SERIAL_BYTES of fresh randomness: certificates of one issuer must not share one.
    """

    certificate: bytes
    private_key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain: tuple[bytes, ...] = ()

    @classmethod
    def root(
        cls, name: x509.Name, private_key: ec.EllipticCurvePrivateKey, validity: Validity, serial: bytes
    ) -> CertificateAuthority:
        """A self-signed authority; its chain is empty."""
        public = private_key.public_key()
        builder = _authority(_builder(name, public, validity, serial).issuer_name(name), None)
        return cls(_signed(builder, public, private_key), private_key)

    def subordinate(
        self, name: x509.Name, private_key: ec.EllipticCurvePrivateKey, validity: Validity, serial: bytes
    ) -> CertificateAuthority:
        """An authority below this one that may issue to end entities only."""
        builder = _builder(name, private_key.public_key(), validity, serial).issuer_name(self._name)
        certificate = _signed(_authority(builder, 0), self.private_key.public_key(), self.private_key)
        return CertificateAuthority(certificate, private_key, (certificate, *self.chain))

    def issue(
        self,
        profile: Profile,
        public_key: PublicKey,
        name: x509.Name,
        validity: Validity,
        serial: bytes,
        *,
        alternative_names: Sequence[x509.GeneralName] = (),
    ) -> bytes:
        """A DER certificate that `verify_chain` accepts under `profile`."""
        builder = _builder(name, public_key, validity, serial).issuer_name(self._name)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(_profile_usage(profile, public_key)), critical=True)
        if profile.purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([profile.purpose]), critical=False)
        if profile.policy is not None:
            policy = x509.PolicyInformation(profile.policy, None)
            builder = builder.add_extension(x509.CertificatePolicies([policy]), critical=False)
        if alternative_names:
            # RFC 5280, 4.2.1.6: critical where the subject is empty.
            names = x509.SubjectAlternativeName(alternative_names)
            builder = builder.add_extension(names, critical=not list(name))
        return _signed(builder, self.private_key.public_key(), self.private_key)

    def revocation_list(self, revoked: Mapping[int, int], now: int) -> bytes:
        """A complete DER list as `check_revocation` takes it: serial number to time of revocation (s since 1970).

        It is dated back, for clocks that lag, and to be replaced before LIST_LIFETIME is over: nothing is believed on
        the word of an outdated list.
        """
        issued = now - BACKDATING
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(datetime.fromtimestamp(issued, UTC))
            .next_update(datetime.fromtimestamp(now + LIST_LIFETIME, UTC))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.private_key.public_key()), False)
            .add_extension(x509.CRLNumber(now), critical=False)
        )
        for serial, at in revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial)
            entry = entry.revocation_date(datetime.fromtimestamp(at, UTC))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.private_key, hashes.SHA256()).public_bytes(Encoding.DER)

    def validity(self, now: int, lifetime: int) -> Validity:
        """From a little before `now`, for clocks that lag, for `lifetime` seconds, within this authority's own."""
        own = int(load(self.certificate).parsed.not_valid_after_utc.timestamp())
        return Validity(now - BACKDATING, min(now + lifetime, own))

    @property
    def _name(self) -> x509.Name:
        return load(self.certificate).parsed.subject


def _builder(name: x509.Name, public_key: PublicKey, validity: Validity, serial: bytes) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(public_key)
        .serial_number(1 << 8 * SERIAL_BYTES | int.from_bytes(serial, "big"))  # positive whatever the bytes
        .not_valid_before(datetime.fromtimestamp(validity.not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(validity.not_after, UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _authority(builder: x509.CertificateBuilder, path_length: int | None) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return builder.add_extension(constraints, critical=True).add_extension(
        _usage({"key_cert_sign", "crl_sign"}), critical=True
    )


def _signed(
    builder: x509.CertificateBuilder, issuer: ec.EllipticCurvePublicKey, key: ec.EllipticCurvePrivateKey
) -> bytes:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
    return builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _profile_usage(profile: Profile, public_key: PublicKey) -> set[str]:
    """EKs decrypt: RSA ones encipher keys, ECC ones agree on them."""
    if len(profile.usages) == 1:
        return set(profile.usages)
    return {"key_encipherment" if isinstance(public_key, rsa.RSAPublicKey) else "key_agreement"}


def _usage(bits: set[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{bit: bit in bits for bit in _USAGES})
