"""Who stands behind a gateway before its hospital does: the vendor that made the TPM, the maker that built it in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.endorsements import EK_CHAIN_INDEXES, IDEVID_CERTIFICATE_INDEX
from medvouch.attestation.provisioning import EK_CERTIFICATE_INDEX, EK_TEMPLATE, IDEVID_TEMPLATE
from medvouch.crypto import cose
from medvouch.crypto.ca import NO_EXPIRY, SERIAL_BYTES, CertificateAuthority, Validity, subject
from medvouch.crypto.certificates import DEVICE_ID, EK, TPM_MANUFACTURER, TPM_MODEL, TPM_VERSION
from medvouch.crypto.keys import PublicKey, SoftwareSigner, spki
from medvouch.crypto.tpm import public_key
from medvouch.formats.manufacturing import CONTENT_TYPE, Manifest, ManifestEntry
from medvouch.formats.tpm_public import Public
from medvouch.ports import Entropy
from medvouch_sim.swtpm import SwTpm

VENDOR_DOMAIN = "devices.example"
"""The maker's, from which the vendor id of its manifests is made."""
DEVICE_CLASS = "MV-100"
"""What its manifests call this class of gateways."""


@dataclass(frozen=True)
class TpmVendor:
    """Makes TPMs and vouches for them by EK certificates, with an issuing authority below its root."""

    root: CertificateAuthority
    issuing: CertificateAuthority

    @classmethod
    def found(
        cls,
        name: str,
        root_key: ec.EllipticCurvePrivateKey,
        issuing_key: ec.EllipticCurvePrivateKey,
        *,
        now: int,
        entropy: Entropy,
    ) -> TpmVendor:
        """A vendor begins; its certificates never expire."""
        always = Validity(now, NO_EXPIRY)
        root = CertificateAuthority.root(
            subject(f"{name} TPM Root CA", organisation=name), root_key, always, entropy.bytes(SERIAL_BYTES)
        )
        below = subject(f"{name} TPM EK CA", organisation=name)
        return cls(root, root.subordinate(below, issuing_key, always, entropy.bytes(SERIAL_BYTES)))

    def endorse(self, key: PublicKey, now: int, entropy: Entropy) -> bytes:
        """An EK certificate as TCG's profile has it: no subject, the TPM named in the alternative name."""
        attributes = ((TPM_MANUFACTURER, "id:4D564F55"), (TPM_MODEL, "swtpm"), (TPM_VERSION, "id:00000007"))
        tpm = x509.DirectoryName(x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes]))
        validity, serial = Validity(now, NO_EXPIRY), entropy.bytes(SERIAL_BYTES)
        return self.issuing.issue(EK, key, x509.Name([]), validity, serial, alternative_names=[tpm])


@dataclass(frozen=True)
class Maker:
    """Builds gateways: certifies their IDevIDs and lists them in signed manifests."""

    name: str
    authority: CertificateAuthority
    signer: SoftwareSigner

    @classmethod
    def found(
        cls,
        name: str,
        authority_key: ec.EllipticCurvePrivateKey,
        manifest_key: ec.EllipticCurvePrivateKey,
        *,
        now: int,
        entropy: Entropy,
    ) -> Maker:
        """A maker begins."""
        own, always = subject(f"{name} IDevID CA", organisation=name), Validity(now, NO_EXPIRY)
        authority = CertificateAuthority.root(own, authority_key, always, entropy.bytes(SERIAL_BYTES))
        return cls(name, authority, SoftwareSigner(manifest_key))

    def identify(self, key: PublicKey, serial: str, model: str, *, now: int, entropy: Entropy) -> bytes:
        """An IDevID certificate (IEEE 802.1AR): model and serial number, for the life of the gateway."""
        name, validity = subject(model, serial=serial, organisation=self.name), Validity(now, NO_EXPIRY)
        return self.authority.issue(DEVICE_ID, key, name, validity, entropy.bytes(SERIAL_BYTES))

    def manifest(self, entries: Iterable[ManifestEntry], now: int) -> bytes:
        """The signed list of these gateways (COSE_Sign1)."""
        ordered = tuple(sorted(entries, key=lambda entry: entry.ek_hash))
        return cose.sign1(Manifest(self.name, now, ordered).encode(), self.signer, content_type=CONTENT_TYPE)


@dataclass(frozen=True)
class Order:
    """What is to be built."""

    serial: str
    model: str
    hw_version: str

    def entry(self, ek_hash: bytes) -> ManifestEntry:
        """Its line of the manifest, once it has a TPM."""
        return ManifestEntry(ek_hash, self.serial, self.model, self.hw_version)


def manufacture(
    tpm: SwTpm, order: Order, vendor: TpmVendor, maker: Maker, *, now: int, entropy: Entropy
) -> ManifestEntry:
    """Give a running, fresh TPM its certificates, as vendor and maker do; the gateway's line of the manifest."""
    ek, idevid = (_primary_key(tpm, template) for template in (EK_TEMPLATE, IDEVID_TEMPLATE))
    tpm.define_platform_nv(EK_CERTIFICATE_INDEX, vendor.endorse(ek, now, entropy))
    tpm.define_platform_nv(EK_CHAIN_INDEXES[0], vendor.issuing.certificate)
    certificate = maker.identify(idevid, order.serial, order.model, now=now, entropy=entropy)
    tpm.define_platform_nv(IDEVID_CERTIFICATE_INDEX, certificate)
    return order.entry(hashlib.sha256(spki(ek)).digest())


def _primary_key(tpm: SwTpm, template: bytes) -> PublicKey:
    with TssTpm(tpm.tcti()) as stack:
        return public_key(Public.parse(stack.read_public(stack.create_primary(template))))
