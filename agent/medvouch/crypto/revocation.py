"""Certificate revocation lists (RFC 5280, section 5 and 6.3): complete ones, signed by the certificate's own issuer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from medvouch.crypto import refusals
from medvouch.crypto.certificates import UnverifiedCertificate, verify_signed
from medvouch.errors import InputError, Refusal

MAX_LIST_BYTES = 4 * 1024 * 1024


def check_revocation(
    certificate: UnverifiedCertificate, issuer: UnverifiedCertificate, lists: Sequence[bytes], at: datetime
) -> None:
    """`issuer`'s lists among `lists` (DER) do not hold `certificate` as revoked at `at`.

    A list issued after `at` serves too: it says when each certificate was revoked. Raises Refusal
    `certificate-revoked` or `revocation-unknown`, InputError `crl-*` for a list that cannot be read.
    """
    for data in lists:
        revocations = _load(data)
        if revocations.issuer == certificate.parsed.issuer:
            _check_list(revocations, issuer, at)
            entry = revocations.get_revoked_certificate_by_serial_number(certificate.parsed.serial_number)
            if entry is not None and entry.revocation_date_utc <= at:
                detail = f"revoked at {entry.revocation_date_utc}"
                raise Refusal(refusals.CERTIFICATE_REVOKED, detail, place=str(certificate))


def _load(data: bytes) -> x509.CertificateRevocationList:
    if len(data) > MAX_LIST_BYTES:
        raise InputError("crl-limit", f"{len(data)} bytes where at most {MAX_LIST_BYTES} are allowed")
    try:
        revocations = x509.load_der_x509_crl(data)
        _ = revocations.issuer, revocations.extensions, revocations.next_update_utc
        _ = revocations.signature_hash_algorithm, revocations.signature_algorithm_parameters
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as cause:
        raise InputError("crl-malformed", str(cause)) from cause
    except KeyError as cause:  # as cryptography 43 says it
        raise InputError("crl-malformed", f"a name is of the unknown type {cause}") from cause
    return revocations


def _check_list(revocations: x509.CertificateRevocationList, issuer: UnverifiedCertificate, at: datetime) -> None:
    """The list is the issuer's, not outdated at `at`, and complete (no critical extension says otherwise)."""
    usage = issuer.parsed.extensions.get_extension_for_class(x509.KeyUsage).value
    try:
        verify_signed(
            issuer,
            revocations.signature,
            revocations.tbs_certlist_bytes,
            revocations.signature_algorithm_parameters,
            revocations.signature_hash_algorithm,
            place="revocation list",
        )
    except Refusal as cause:
        raise Refusal(refusals.REVOCATION_UNKNOWN, cause.detail, place=str(issuer)) from cause
    if not usage.crl_sign:
        raise Refusal(refusals.REVOCATION_UNKNOWN, "its issuer may not sign lists", place=str(issuer))
    if revocations.next_update_utc is not None and revocations.next_update_utc < at:
        raise Refusal(refusals.REVOCATION_UNKNOWN, f"outdated since {revocations.next_update_utc}", place=str(issuer))
    if any(extension.critical for extension in revocations.extensions):
        raise Refusal(refusals.REVOCATION_UNKNOWN, "it may be incomplete: critical extension", place=str(issuer))
