"""Chains of X.509 certificates (RFC 5280, section 6, as much as device identities use), checked at a given time.

Left out on purpose, and refused where critical: name constraints, policy mappings and constraints, delta and
indirect revocation lists.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from medvouch.crypto import refusals
from medvouch.crypto.certificates import (
    ATTESTATION_KEY,
    TPM_MANUFACTURER,
    TPM_MODEL,
    TPM_VERSION,
    Profile,
    UnverifiedCertificate,
    check_strength,
    load,
    verify_signature,
)
from medvouch.crypto.keys import PublicKey
from medvouch.crypto.revocation import check_revocation
from medvouch.errors import InputError, Refusal

MAX_PATH = 5
"""Certificates from the leaf to its root; TPM vendors use three or four."""
MAX_INTERMEDIATES = 8
"""Certificates a peer may offer; with MAX_PATH it bounds the signatures checked on its behalf to some hundreds."""

_CRITICAL_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
}

_TPM_MANUFACTURER = re.compile(r"id:[0-9A-Fa-f]{8}")
_TPM_VERSION = re.compile(r"id:[0-9A-Fa-f]{2,16}")
"""As vendors write them: TPM_PT_MANUFACTURER and firmware version in hexadecimal (3.1.2)."""
_DEVICE_ID = re.compile(r"[0-9a-f]{32}")

Path = tuple[UnverifiedCertificate, ...]
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True)
class VerifiedCertificate:
    """A certificate that `verify_chain` accepted; `chain` is DER from the leaf to the root, `quirks` what it took."""

    der: bytes
    public_key: PublicKey
    subject: x509.Name
    alternative_names: x509.SubjectAlternativeName | None
    not_after: int
    chain: tuple[bytes, ...]
    quirks: tuple[str, ...]

    @property
    def common_name(self) -> str:
        """The subject's common name, empty where it has none or several."""
        return _only(self.subject, NameOID.COMMON_NAME)

    @functools.cached_property
    def device_id(self) -> str:
        """The device that an enrolment authority certified: the common name, 32 hex digits, or empty."""
        return self.common_name if _DEVICE_ID.fullmatch(self.common_name) else ""

    @property
    def serial(self) -> str:
        """The subject's serialNumber attribute (the device's, not the certificate's), empty likewise."""
        return _only(self.subject, NameOID.SERIAL_NUMBER)


@dataclass(frozen=True)
class TpmModel:
    """Who made a TPM, as its EK certificate says (TCG EK Credential Profile, 3.1.2): e.g. `id:53544D20`."""

    manufacturer: str
    model: str
    version: str


def verify_chain(
    leaf: bytes,
    intermediates: Iterable[bytes],
    roots: Iterable[bytes],
    at: int,
    *,
    profile: Profile,
    revocations: Sequence[bytes] = (),
) -> VerifiedCertificate:
    """Check that `leaf` (DER) is what `profile` says, at `at` (seconds since 1970, UTC).

    1. A chain of signatures leads to one of `roots`, over any of `intermediates`.
    2. Every certificate of it is valid at that time, without unknown critical extensions, keys and hashes strong
       (a root's own signature proves nothing and is not looked at).
    3. Every issuer is an authority, for chains this long and for this purpose.
    4. The leaf is for the profile's usage, purpose and policy, and is no authority.
    5. None but the root is on one of `revocations` (DER lists; those of other issuers are passed over).

    Raises InputError for unreadable certificates, Refusal `certificate-*` or `revocation-unknown` otherwise; where
    several chains lead to a root, the first that holds is taken, else the first one's refusal is raised.
    """
    first = load(leaf)
    pool = tuple(load(data) for data in intermediates)
    if len(pool) > MAX_INTERMEDIATES:
        raise InputError("certificate-limit", f"{len(pool)} intermediates where {MAX_INTERMEDIATES} are allowed")
    anchors = tuple(_anchor(data) for data in roots)
    refusal: Refusal | None = None
    for path in _paths((first,), pool, anchors):  # step 1
        try:
            return _verified(path, datetime.fromtimestamp(at, UTC), profile, revocations)
        except Refusal as found:
            refusal = refusal or found
    raise refusal or Refusal(refusals.CERTIFICATE_UNTRUSTED, "no chain to a trusted root", place=str(first))


def verify_lak_certificate(
    certificate: bytes, roots: Iterable[bytes], at: int, *, revocations: Sequence[bytes] = ()
) -> VerifiedCertificate:
    """A LAK certificate that one of the enrolment authorities `roots` issued to a device. Raises as `verify_chain`."""
    verified = verify_chain(certificate, (), roots, at, profile=ATTESTATION_KEY, revocations=revocations)
    if not verified.device_id:
        raise Refusal(refusals.CERTIFICATE_PURPOSE, "it names no device", place=verified.common_name)
    return verified


def tpm_model(certificate: VerifiedCertificate) -> TpmModel:
    """The TPM attributes of an EK certificate's alternative name (TCG EK Credential Profile, 3.1.2 and 3.2.9).

    Raises Refusal `certificate-purpose` without them, where they are not of their form, or the key has another usage
    than it is good for.
    """
    _check_ek_usage(certificate)
    names = certificate.alternative_names or ()
    for name in names:
        if isinstance(name, x509.DirectoryName):
            values = [_only(name.value, oid) for oid in (TPM_MANUFACTURER, TPM_MODEL, TPM_VERSION)]
            if all(values):
                return _model(TpmModel(*values))
    raise Refusal(refusals.CERTIFICATE_PURPOSE, "an EK certificate names manufacturer, model and version of its TPM")


def _model(found: TpmModel) -> TpmModel:
    if not _TPM_MANUFACTURER.fullmatch(found.manufacturer) or not _TPM_VERSION.fullmatch(found.version):
        detail = f"TPM manufacturer {found.manufacturer!r}, version {found.version!r}"
        raise Refusal(refusals.CERTIFICATE_PURPOSE, detail)
    return found


def _check_ek_usage(certificate: VerifiedCertificate) -> None:
    """RSA keys encipher keys, elliptic ones agree on them."""
    usage = _extension(load(certificate.der), x509.KeyUsage)
    wanted = "key_encipherment" if isinstance(certificate.public_key, rsa.RSAPublicKey) else "key_agreement"
    if usage is None or not getattr(usage, wanted):
        raise Refusal(refusals.CERTIFICATE_PURPOSE, f"an EK of its kind is for {wanted}", place=certificate.common_name)


@functools.lru_cache(maxsize=256)
def _anchor(data: bytes) -> UnverifiedCertificate:
    """A root, read once: they are the same few at every check. What peers send is never kept."""
    return load(data)


def _paths(path: Path, pool: Path, anchors: Path) -> Iterator[Path]:
    """Every path up to an anchor whose signatures hold, shortest first at each step."""
    for anchor in _issuers(path[-1], anchors):
        yield (*path, anchor)
    if len(path) < MAX_PATH - 1:
        for issuer in _issuers(path[-1], pool):
            if issuer not in path:
                yield from _paths((*path, issuer), pool, anchors)


def _issuers(certificate: UnverifiedCertificate, candidates: Path) -> Iterator[UnverifiedCertificate]:
    for candidate in candidates:
        if candidate.parsed.subject == certificate.parsed.issuer:
            try:
                verify_signature(certificate, candidate)
            except Refusal:
                continue
            yield candidate


def _verified(path: Path, at: datetime, profile: Profile, revocations: Sequence[bytes]) -> VerifiedCertificate:
    for certificate in path:  # step 2
        _check_validity(certificate, at)
        _check_critical(certificate)
        _ = certificate.public_key
    for certificate in path[:-1]:
        check_strength(certificate)
    for below, issuer in enumerate(path[1:]):  # step 3
        _check_issuer(issuer, below, profile)
    _check_leaf(path[0], profile)  # step 4
    for certificate, issuer in itertools.pairwise(path):  # step 5
        check_revocation(certificate, issuer, revocations, at)
    leaf = path[0]
    return VerifiedCertificate(
        leaf.der,
        leaf.public_key,
        leaf.parsed.subject,
        _extension(leaf, x509.SubjectAlternativeName),
        int(leaf.parsed.not_valid_after_utc.timestamp()),
        tuple(certificate.der for certificate in path),
        tuple(sorted({quirk for certificate in path for quirk in certificate.quirks})),
    )


def _check_validity(certificate: UnverifiedCertificate, at: datetime) -> None:
    parsed = certificate.parsed
    if at < parsed.not_valid_before_utc:
        raise Refusal(refusals.CERTIFICATE_NOT_YET_VALID, f"from {parsed.not_valid_before_utc}", place=str(certificate))
    if at > parsed.not_valid_after_utc:
        raise Refusal(refusals.CERTIFICATE_EXPIRED, f"until {parsed.not_valid_after_utc}", place=str(certificate))


def _check_critical(certificate: UnverifiedCertificate) -> None:
    for extension in certificate.parsed.extensions:
        if extension.critical and extension.oid not in _CRITICAL_UNDERSTOOD:
            detail = f"critical extension {extension.oid.dotted_string}"
            raise Refusal(refusals.CERTIFICATE_EXTENSION_UNKNOWN, detail, place=str(certificate))


def _check_issuer(issuer: UnverifiedCertificate, below: int, profile: Profile) -> None:
    """`below` counts the authorities between this one and the leaf."""
    constraints = _extension(issuer, x509.BasicConstraints)
    usage = _extension(issuer, x509.KeyUsage)
    purposes = _extension(issuer, x509.ExtendedKeyUsage)
    if constraints is None or not constraints.ca or usage is None or not usage.key_cert_sign:
        raise Refusal(refusals.CERTIFICATE_ISSUER_INVALID, "not a certificate authority", place=str(issuer))
    if constraints.path_length is not None and below > constraints.path_length:
        raise Refusal(refusals.CERTIFICATE_ISSUER_INVALID, "the chain below it is too long", place=str(issuer))
    if purposes is not None and not {profile.purpose, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(purposes):
        detail = f"an authority for other purposes than {profile.name}"
        raise Refusal(refusals.CERTIFICATE_ISSUER_INVALID, detail, place=str(issuer))


def _check_leaf(leaf: UnverifiedCertificate, profile: Profile) -> None:
    constraints = _extension(leaf, x509.BasicConstraints)
    usage = _extension(leaf, x509.KeyUsage)
    purposes = _extension(leaf, x509.ExtendedKeyUsage) or ()
    policies = _extension(leaf, x509.CertificatePolicies) or ()
    found: str | None = None
    if constraints is not None and constraints.ca:
        found = "a certificate authority"
    elif usage is None or not any(getattr(usage, bit) for bit in profile.usages):
        found = f"key usage without {' or '.join(sorted(profile.usages))}"
    elif profile.purpose is not None and profile.purpose not in set(purposes):
        found = f"extended key usage without {profile.purpose.dotted_string}"
    elif profile.policy is not None and profile.policy not in {policy.policy_identifier for policy in policies}:
        found = f"no certificate policy {profile.policy.dotted_string}"
    if found is not None:
        detail = f"{found}, where a certificate of the profile `{profile.name}` is wanted"
        raise Refusal(refusals.CERTIFICATE_PURPOSE, detail, place=str(leaf))


def _extension(certificate: UnverifiedCertificate, kind: type[_Extension]) -> _Extension | None:
    found = certificate.extensions.get(kind)
    return found if isinstance(found, kind) else None


def _only(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    values = name.get_attributes_for_oid(oid)
    return str(values[0].value) if len(values) == 1 else ""
