"""One simulated site: TPM vendor and maker behind it, a broker, a collector, and an observer that hears everything."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from medvouch.adapters.files import write_durably
from medvouch.adapters.mqtt import MqttSettings, MqttTransport
from medvouch.adapters.store import SqliteStore
from medvouch.adapters.system import SystemClock, SystemEntropy
from medvouch.adapters.tls import client_context
from medvouch.attestation.appraisal import Anchors
from medvouch.attestation.enrolment import EnrolmentAuthority, EnrolmentTerms, EnrolmentTrust
from medvouch.attestation.manifest import verify_manifest
from medvouch.attestation.policy import RELEASE_POLICY
from medvouch.attestation.reference import VerifiedReference, verify_references
from medvouch.collector.challenging import Judge
from medvouch.collector.collector import Collector
from medvouch.collector.registry import Registry
from medvouch.crypto.ca import SERIAL_BYTES, CertificateAuthority, Validity, subject
from medvouch.crypto.certificates import TLS_CLIENT, TLS_SERVER
from medvouch.crypto.floor import approve
from medvouch.crypto.keys import PublicKey, SoftwareSigner, load_spki, spki
from medvouch.formats.manufacturing import MAX_ENTRIES, ManifestEntry
from medvouch.formats.trust import ROLES, Role, TrustDocument
from medvouch_sim.broker import Broker, BrokerSettings
from medvouch_sim.fixtures import SECURITY_EPOCHS, key_pem, private_key
from medvouch_sim.observer import Observer
from medvouch_sim.publisher import Publisher
from medvouch_sim.vendor import Maker, TpmVendor

APPRAISER = "collector"
OBSERVER = "observer"
WATCHER = "watcher"
"""For whoever wants to listen with a client of their own."""
OWNER = "St. Example Hospital"
YEAR_S = 365 * 86_400
CONNECT_S = 20.0


ROLE_KEYS = {"release": (2, ("release", "release-2", "release-3"))}
"""Threshold and test keys of a role that has several; any other has one, of its own name."""


def release_signers() -> tuple[SoftwareSigner, ...]:
    """As many of the role `release` as must sign."""
    threshold, names = ROLE_KEYS["release"]
    return tuple(_signer(name) for name in names[:threshold])


def _signer(role: str) -> SoftwareSigner:
    return SoftwareSigner(private_key(role))


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _crl_pem(der: bytes) -> bytes:
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)


@dataclass(frozen=True)
class Credential:
    """A TLS client's certificate and key, as files."""

    certificate: Path
    key: Path


@dataclass
class Site:
    """Everything but the gateways, in `directory`. `references`: signed reference values of the releases in use.

    `publisher`: who publishes updates for its gateways, if anybody does. `watch_boots`: the collector challenges each
    gateway that booted. `update_settings`: more lines of `[update]` in their configuration.
    """

    directory: Path
    references: Sequence[bytes]
    entropy: SystemEntropy = field(default_factory=SystemEntropy)
    started_at: int = field(default_factory=lambda: int(time.time()))
    manifest_entries: list[ManifestEntry] = field(default_factory=list)
    publisher: Publisher | None = None
    update_settings: str = ""
    floor: int = SECURITY_EPOCHS["1.0.0"]
    """The security epoch that gateways enrol at: of the release they are built with."""
    voice: MqttTransport | None = None
    """The connection of the collector at work."""
    broker_addresses: Sequence[str] = ("127.0.0.1",)
    """What gateways reach the broker by."""
    watch_boots: bool = False

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.trust_path = self.directory / "trust.cbor"
        write_durably(self.trust_path, self.trust.encode())
        self.broker = Broker(self.directory / "broker", self._broker_settings())

    @cached_property
    def vendor(self) -> TpmVendor:
        """The TPM vendor that the site trusts."""
        return self._vendor("Testchip", "tpm-vendor-root", "tpm-vendor-issuing")

    @cached_property
    def rogue_vendor(self) -> TpmVendor:
        """A TPM vendor that nobody trusts."""
        return self._vendor("Roguechip", "other-vendor-root", "other-vendor-issuing")

    def _vendor(self, name: str, root: str, issuing: str) -> TpmVendor:
        return TpmVendor.found(name, private_key(root), private_key(issuing), now=self.started_at, entropy=self.entropy)

    @cached_property
    def maker(self) -> Maker:
        """The maker of the gateways."""
        keys = private_key("maker-ca"), private_key("manufacturer")
        return Maker.found("Example Devices", *keys, now=self.started_at, entropy=self.entropy)

    @cached_property
    def enrolment_ca(self) -> CertificateAuthority:
        """Issues the certificates of devices in service."""
        return self._root("Test Enrolment CA", "enrolment-ca")

    @cached_property
    def broker_ca(self) -> CertificateAuthority:
        """Issues the broker's certificate."""
        return self._root("Test Broker CA", "broker-ca")

    @property
    def broker_ca_pem(self) -> bytes:
        """What a client of the broker has to trust."""
        return _pem(self.broker_ca.certificate)

    @cached_property
    def bootstrap_ca(self) -> CertificateAuthority:
        """Issues bootstrap certificates, which reach the enrolment topics only."""
        return self._root("Test Bootstrap CA", "bootstrap-ca")

    def _root(self, name: str, key: str) -> CertificateAuthority:
        serial = self.entropy.bytes(SERIAL_BYTES)
        return CertificateAuthority.root(subject(name), private_key(key), self._validity, serial)

    @property
    def _validity(self) -> Validity:
        return Validity(self.started_at - 3600, self.started_at + YEAR_S)

    @cached_property
    def trust(self) -> TrustDocument:
        """The trust document of this site's fleet."""
        until = self.started_at + YEAR_S
        roles = {role: self._role(role, until) for role in ROLES}
        certificates = {
            "tpm-vendor": (self.vendor.root.certificate,),
            "broker-ca": (self.broker_ca.certificate,),
            "enrolment-ca": (self.enrolment_ca.certificate,),
        }
        return TrustDocument(1, until, APPRAISER, roles, certificates, tuple(self.references))

    @staticmethod
    def _role(name: str, until: int) -> Role:
        threshold, names = ROLE_KEYS.get(name, (1, (name,)))
        keys = tuple(spki(private_key(each).public_key()) for each in names)
        return Role(keys, threshold, until, f"Test {name}")

    def issue(self, authority: CertificateAuthority, name: str, key: PublicKey) -> bytes:
        """A TLS client certificate for a name, in PEM."""
        serial = self.entropy.bytes(SERIAL_BYTES)
        return _pem(authority.issue(TLS_CLIENT, key, subject(name), self._validity, serial))

    def credential(self, authority: CertificateAuthority, name: str, folder: Path) -> Credential:
        """A new TLS client key with its certificate, as files in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        files = Credential(folder / f"{name}.pem", folder / f"{name}-key.pem")
        write_durably(files.key, key_pem(key), mode=0o600)
        write_durably(files.certificate, self.issue(authority, name, key.public_key()))
        return files

    def connect(self, client_id: str, credential: Credential, port: int | None = None) -> MqttTransport:
        """A client of the broker, not started yet; by default on the service listener."""
        roots = (self.broker_ca.certificate,)
        return MqttTransport(
            MqttSettings(
                host=self.broker.host,
                port=port or self.broker.service_port,
                client_id=client_id,
                tls=lambda: client_context(roots, credential.certificate, credential.key),
                clean_start=True,
                session_expiry_s=0,
            )
        )

    def _broker_settings(self) -> BrokerSettings:
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = [x509.IPAddress(IPv4Address(each)) for each in self.broker_addresses]
        certificate = self.broker_ca.issue(
            TLS_SERVER,
            key.public_key(),
            subject("broker"),
            self._validity,
            self.entropy.bytes(SERIAL_BYTES),
            alternative_names=[*addresses, x509.DNSName("localhost")],
        )
        return BrokerSettings(
            certificate=_pem(certificate),
            key=key_pem(key),
            service_roots=_pem(self.enrolment_ca.certificate),
            enrolment_roots=_pem(self.bootstrap_ca.certificate),
            observers=(OBSERVER, WATCHER),
            service_revocations=_crl_pem(self.enrolment_ca.revocation_list({}, self.started_at - 3600)),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[Collector, Observer]]:
        """Broker, observer and collector at work; all gateways of the manifest must have been built by then."""
        with self.broker.running():
            ears = self.connect(OBSERVER, self.service_credential(OBSERVER))
            observer = Observer(ears)
            async with observer.running():
                await _connected(ears)
                async with self._collecting() as collector:
                    yield collector, observer

    @asynccontextmanager
    async def collecting(self) -> AsyncIterator[Collector]:
        """As `running`, and nobody keeps what is said."""
        with self.broker.running():
            async with self._collecting() as collector:
                yield collector

    @asynccontextmanager
    async def _collecting(self) -> AsyncIterator[Collector]:
        store = SqliteStore(self.directory / "collector" / "state.db")
        try:
            voice = self.voice = self.connect(APPRAISER, self.service_credential(APPRAISER))
            collector = self._collector(store, voice)
            async with _task(collector.run()):
                await _connected(voice)
                yield collector
        finally:
            store.close()

    def service_credential(self, name: str) -> Credential:
        """For a client of the service listener that is no device."""
        return self.credential(self.enrolment_ca, name, self.directory / "credentials")

    def _collector(self, store: SqliteStore, transport: MqttTransport) -> Collector:
        references = self.verified_references()
        judge = Judge(
            name=APPRAISER,
            signer=_signer("appraiser"),
            commander=_signer("commander"),
            anchors=Anchors([self.enrolment_ca.certificate], references),
            policy=RELEASE_POLICY,
        )
        registry = Registry(store)
        return Collector(
            judge,
            self._authority(registry),
            store,
            transport,
            SystemClock(),
            self.entropy,
            self._enforce,
            watch_boots=self.watch_boots,
        )

    async def _enforce(self, revocations: bytes) -> None:
        self.broker.revoke(_crl_pem(revocations))

    def verified_references(self) -> tuple[VerifiedReference, ...]:
        """The reference values, checked under the role `release` of the trust document."""
        role = self.trust.roles["release"]
        return verify_references(self.references, [load_spki(key) for key in role.keys], role.threshold)

    def _authority(self, registry: Registry) -> EnrolmentAuthority:
        entries = self.manifest_entries
        lists = [entries[start : start + MAX_ENTRIES] for start in range(0, len(entries), MAX_ENTRIES)]
        manifests = [self.maker.manifest(part, self.started_at) for part in lists]
        believed = EnrolmentTrust(
            vendor_roots=[self.vendor.root.certificate],
            maker_roots=[self.maker.authority.certificate],
            manifests=[verify_manifest(manifest, [self.maker.signer.public_key]) for manifest in manifests],
            floor_authority=_signer("appraiser").public_key,
        )
        return EnrolmentAuthority(
            _signer("enrolment"),
            self.enrolment_ca,
            believed,
            EnrolmentTerms(OWNER, floor=self.floor),
            entropy=self.entropy,
            enrolled=registry.enrolled,
            floor_of=registry.floor,
            approve_floor=lambda ueid: approve(_signer("appraiser"), b"", None, ueid).encode(),
        )


@asynccontextmanager
async def _task(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _connected(*transports: MqttTransport) -> None:
    """Wait until all hear what is published from now on; TimeoutError where that takes too long."""
    async with asyncio.timeout(CONNECT_S):
        while not all(transport.connected for transport in transports):  # noqa: ASYNC110 (no event says so)
            await asyncio.sleep(0.005)
