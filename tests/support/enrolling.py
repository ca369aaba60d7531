"""Everybody who has a part in an enrolment, with keys made once: vendor, maker, authority, and gateways on swtpm."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.enrollee import Enrollee
from medvouch.attestation.enrolment import EnrolmentAuthority, EnrolmentTerms, EnrolmentTrust
from medvouch.attestation.manifest import verify_manifest
from medvouch.attestation.provisioning import IDEVID_TEMPLATE
from medvouch.attestation.tpm_signer import TpmSigner
from medvouch.crypto import cose
from medvouch.crypto.ca import CertificateAuthority
from medvouch.crypto.floor import approve
from medvouch.crypto.keys import SoftwareSigner
from medvouch.formats.cose import Sign1
from medvouch.formats.enrolment import CONTENT_TYPE
from medvouch.formats.manufacturing import ManifestEntry
from medvouch.formats.record import Record
from medvouch_sim.swtpm import SwTpm
from medvouch_sim.vendor import Maker, Order, TpmVendor, manufacture
from support.authorities import NOW, issuing, key

MADE = NOW - 1000
ORDER = Order("SN-0001", "gateway-1", "A2")
OWNER = key("owner")
AUTHORITY = SoftwareSigner(key("enrolment"))


class Randomness:
    """The Entropy of the tests."""

    def bytes(self, size: int) -> bytes:
        return os.urandom(size)


ENTROPY = Randomness()


def vendor(name: str = "Vendor") -> TpmVendor:
    return TpmVendor.found(name, key(f"{name} root"), key(f"{name} issuing"), now=MADE, entropy=ENTROPY)


def maker(name: str = "Maker") -> Maker:
    return Maker.found(name, key(f"{name} ca"), key(f"{name} manifest"), now=MADE, entropy=ENTROPY)


def first_rise(ueid: bytes) -> bytes:
    """The floor authority's approval for a device whose counter was never written."""
    return approve(SoftwareSigner(key("floor")), b"", None, ueid).encode()


@dataclass(frozen=True)
class Gateway:
    """A running, manufactured gateway, its stack open."""

    swtpm: SwTpm
    tpm: TssTpm
    entry: ManifestEntry

    def enrollee(self, **changes: Any) -> Enrollee:
        given = {
            "authorities": [key("stranger").public_key(), AUTHORITY.public_key],
            "owner": OWNER.public_key(),
            "floor_authority": key("floor").public_key(),
            "serial": self.entry.serial,
            "model": self.entry.model,
            "client_key": key("client").public_key(),
        }
        return Enrollee(self.tpm, ENTROPY, **{**given, **changes})

    def sign(self, record: Record, content_type: str = CONTENT_TYPE) -> bytes:
        """As the device does, with its IDevID."""
        idevid = self.tpm.create_primary(IDEVID_TEMPLATE)
        try:
            signer = TpmSigner(self.tpm, idevid, self.tpm.read_public(idevid))
            return cose.sign1(record.encode(), signer, content_type=content_type)
        finally:
            self.tpm.flush(idevid)


@dataclass(frozen=True)
class World:
    """A vendor, a maker, and whoever issues certificates for a collector."""

    vendor: TpmVendor
    maker: Maker
    issuer: CertificateAuthority

    def authority(
        self,
        *entries: ManifestEntry,
        enrolled: Collection[bytes] = (),
        known_floors: Mapping[bytes, int] = MappingProxyType({}),
        approve_floor: Callable[[bytes], bytes] = first_rise,
        **changes: Any,
    ) -> EnrolmentAuthority:
        """One that trusts these; `enrolled` and `known_floors` are by the hashes of EKs."""
        trust = {
            "vendor_roots": [self.vendor.root.certificate],
            "maker_roots": [self.maker.authority.certificate],
            "manifests": [verify_manifest(self.maker.manifest(entries, MADE), [self.maker.signer.public_key])],
            "floor_authority": key("floor").public_key(),
        }
        return EnrolmentAuthority(
            AUTHORITY,
            self.issuer,
            EnrolmentTrust(**{**trust, **changes}),
            EnrolmentTerms("Clinic Engineering", floor=3),
            entropy=ENTROPY,
            enrolled=enrolled.__contains__,
            floor_of=lambda ek_hash: known_floors.get(ek_hash, 0),
            approve_floor=approve_floor,
        )

    @contextmanager
    def gateway(self, directory: Path, order: Order = ORDER) -> Iterator[Gateway]:
        with SwTpm(directory) as swtpm:
            entry = manufacture(swtpm, order, self.vendor, self.maker, now=MADE, entropy=ENTROPY)
            with TssTpm(swtpm.tcti()) as tpm:
                yield Gateway(swtpm, tpm, entry)


def world() -> World:
    return World(vendor(), maker(), issuing("enrolment"))


def payload(message: bytes) -> bytes:
    """What stands in a COSE_Sign1, whoever signed it."""
    content = Sign1.parse(message).payload
    assert content is not None
    return content
