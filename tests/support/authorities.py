"""Certificate authorities and keys for tests, made once."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from medvouch.crypto.ca import CertificateAuthority, Validity, subject
from medvouch.crypto.certificates import load

NOW = 1_800_000_000
DAY = 86_400
ALWAYS = Validity(NOW - 1000 * DAY, NOW + 1000 * DAY)


def serial() -> bytes:
    return os.urandom(16)


@cache
def key(label: str) -> ec.EllipticCurvePrivateKey:
    """One P-256 key per label and test run."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def root(label: str) -> CertificateAuthority:
    return CertificateAuthority.root(subject(f"{label} root"), key(f"{label} root"), ALWAYS, serial())


@cache
def issuing(label: str) -> CertificateAuthority:
    return root(label).subordinate(subject(f"{label} issuing"), key(f"{label} issuing"), ALWAYS, serial())


def revoked(issuer: CertificateAuthority, certificate: bytes) -> bytes:
    """The issuer's revocation list with this certificate on it, for a day from NOW."""
    today = datetime.fromtimestamp(NOW, UTC)
    entry = x509.RevokedCertificateBuilder().serial_number(load(certificate).parsed.serial_number)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(load(issuer.certificate).parsed.subject)
        .last_update(today)
        .next_update(today + timedelta(days=1))
        .add_revoked_certificate(entry.revocation_date(today).build())
    )
    return builder.sign(issuer.private_key, hashes.SHA256()).public_bytes(Encoding.DER)
