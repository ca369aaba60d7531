"""The only place where adapters are built and handed to the agent."""

from __future__ import annotations

import asyncio
import platform
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from medvouch.adapters.bounded_command import run_bounded
from medvouch.adapters.control import ControlServer
from medvouch.adapters.credentials import MAX_PEM_BYTES, FileCredentials
from medvouch.adapters.files import read_bounded
from medvouch.adapters.folder import AnyFetcher
from medvouch.adapters.helper import HelperLogs
from medvouch.adapters.helper_parts import HelperParts
from medvouch.adapters.http import Bandwidth, HttpFetcher, Proxy
from medvouch.adapters.logs import FileLogs
from medvouch.adapters.metadata import FileMetadataStore
from medvouch.adapters.mqtt import MqttSettings, MqttTransport
from medvouch.adapters.slots import FileSlots
from medvouch.adapters.store import SqliteStore
from medvouch.adapters.system import BUILT_MS, SystemClock, SystemEntropy, ask_whether_busy, run_command
from medvouch.adapters.tls import client_context
from medvouch.adapters.tss import TssTpm
from medvouch.attestation.enrollee import Enrollee
from medvouch.cli.config import Config, LogsConfig, UpdateConfig, zone
from medvouch.cli.parts import FOLDER, Nowhere, PartsRunner
from medvouch.cli.trusting import (
    AGENT_ROLES,
    check_agent_trust,
    keys_of,
    owner_key,
    parse_agent_trust,
    role_of,
)
from medvouch.daemon.agent import Agent
from medvouch.daemon.mirrors import Places
from medvouch.daemon.parts import Parts
from medvouch.daemon.standing import TRUST_KEY
from medvouch.daemon.surroundings import Hardware, Surroundings, TrustedRoles, Updates
from medvouch.daemon.worker import Worker
from medvouch.errors import ConfigFault, StorageFault
from medvouch.formats.trust import TrustDocument
from medvouch.messages import topics
from medvouch.ports import Clock, MeasurementLogs, Message, Tpm, Transport
from medvouch.update.execution import Procedure
from medvouch.update.parts import Outcome
from medvouch.update.processor import DeviceClass
from medvouch.update.repository import MAX_ROOT_BYTES, Repository
from medvouch.update.windows import Windows

BROKER_CA = "broker-ca"
MAX_CREDENTIALS_BYTES = 1024
"""Of user and password for a proxy."""


@dataclass(frozen=True)
class MqttLinks:
    """`daemon.surroundings.Links` over paho."""

    config: Config
    roots: tuple[bytes, ...]
    credentials: FileCredentials

    def bootstrap_name(self) -> str:
        """The common name of the bootstrap certificate; ConfigFault where it has none."""
        path = self.config.enrolment.certificate
        try:
            certificate = x509.load_pem_x509_certificate(read_bounded(path, MAX_PEM_BYTES))
            (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        except (StorageFault, ValueError, KeyError) as error:  # KeyError: cryptography 43, of unknown ASN.1 types
            remedy = "install the bootstrap certificate of this device there"
            raise ConfigFault("credential-unusable", f"{path}: not a named certificate", remedy=remedy) from error
        return str(name.value)

    def enrolment(self) -> Transport:
        """A clean session with the bootstrap credential."""
        at = self.config.enrolment
        return MqttTransport(
            MqttSettings(
                host=at.host,
                port=at.port,
                client_id=self.bootstrap_name(),
                tls=lambda: client_context(self.roots, at.certificate, at.key),
                clean_start=True,
                session_expiry_s=0,
            )
        )

    def service(self, device: str, will: bytes) -> Transport:
        """A session that outlives its connection, so that commands sent meanwhile arrive."""
        at, credentials = self.config.broker, self.credentials
        return MqttTransport(
            MqttSettings(
                host=at.host,
                port=at.port,
                client_id=device,
                tls=lambda: client_context(self.roots, credentials.certificate_path, credentials.key_path),
                will=lambda: Message(topics.status(device), will, retain=True),
            )
        )


@asynccontextmanager
async def agent(
    config: Config, *, tpm: Tpm | None = None, executor: Executor | None = None, clock: Clock | None = None
) -> AsyncIterator[Agent]:
    """The agent of a configuration, its adapters closed at the end.

    `tpm`: one that is open already; `clock`: the one to live by where that is not the host's.
    Of the trust documents that the image came with and that the update repository brought since, the later one counts.
    """
    trust = check_agent_trust(config.trust)
    opened: Tpm = tpm if tpm is not None else await asyncio.to_thread(TssTpm, config.tpm.tcti)
    try:
        store = SqliteStore(config.database)
        try:
            brought = store.get(TRUST_KEY)
            later = parse_agent_trust(brought) if brought else trust
            newest = max(trust, later, key=lambda document: document.version)
            yield _build(config, newest, opened, store, Worker(executor), clock or SystemClock())
        finally:
            store.close()
    finally:
        await asyncio.to_thread(opened.close)


def _build(config: Config, trust: TrustDocument, tpm: Tpm, store: SqliteStore, worker: Worker, clock: Clock) -> Agent:
    credentials = FileCredentials(config.state_dir)
    entropy = SystemEntropy()
    around = Surroundings(
        tpm=tpm,
        logs=_logs(config.logs),
        store=store,
        clock=clock,
        entropy=entropy,
        credentials=credentials,
        links=MqttLinks(config, tuple(trust.certificates[BROKER_CA]), credentials),
        updates=_updates(config, trust),
    )
    enrollee = Enrollee(
        tpm,
        entropy,
        authorities=keys_of(trust, "enrolment"),
        owner=owner_key(trust),
        floor_authority=keys_of(trust, "appraiser")[0],
        serial=config.device.serial,
        model=config.device.model,
        client_key=credentials.client_key(),
    )
    trusted = TrustedRoles(**{role: role_of(trust, role) for role in AGENT_ROLES})
    return Agent(around, enrollee, hardware(config), trusted, worker)


def _logs(settings: LogsConfig) -> MeasurementLogs:
    """From the helper where one is configured: the files are root's to read."""
    if settings.helper:
        return HelperLogs(Path(settings.helper))
    return FileLogs(settings.uefi, settings.systemd, settings.ima)


def _updates(config: Config, trust: TrustDocument) -> Updates | None:
    """What installing needs, where a repository is configured."""
    settings = config.update
    if not settings.repository:
        return None
    try:
        root = read_bounded(settings.root, MAX_ROOT_BYTES)
    except StorageFault as error:
        remedy = "install the root.json that your update repository began with, or set update.root"
        raise ConfigFault("root-unreadable", error.detail, remedy=remedy) from error
    fetcher, metadata = _fetcher(settings), FileMetadataStore(config.state_dir / "tuf")
    return Updates(
        slots=FileSlots(settings.slots),
        fetcher=fetcher,
        places=Places(settings.repository, settings.mirrors, settings.payloads),
        repository=lambda base, now, floor: Repository(base, fetcher, metadata, now, root, floor=floor),
        device_class=DeviceClass.named(settings.vendor, settings.class_name),
        allowed=settings.payloads,
        release=role_of(trust, "release"),
        quality=role_of(trust, "quality"),
        enrolment_roots=trust.certificates["enrolment-ca"],
        built=BUILT_MS // 1000,
        reboot=lambda: run_command(settings.reboot_command),
        trust_version=trust.version,
        check_trust=lambda data: parse_agent_trust(data).version,
        windows=Windows.parse(settings.windows, zone(settings.timezone)),
        busy=(lambda: ask_whether_busy(settings.busy_command)) if settings.busy_command else None,
        parts=_parts(config, trust),
        jitter_s=settings.jitter,
        migrate=_migration(settings),
    )


def _migration(settings: UpdateConfig) -> Callable[[Sequence[str]], Awaitable[None]] | None:
    """The product's command for its data, if it has one."""
    command = shlex.split(settings.migrate_command)
    if not command:
        return None
    return lambda arguments: run_bounded([*command, *arguments], settings.migrate_timeout)


def _parts(config: Config, trust: TrustDocument) -> Parts:
    """Parts of which there is one, written here or by the helper."""
    runner, helper = PartsRunner.configured(config.update, trust, config.state_dir / FOLDER), config.update.helper
    staging = runner.components(Nowhere())

    def install(envelope: bytes, procedure: Procedure) -> Outcome:
        return runner.run(envelope, procedure, Nowhere())

    return Parts(
        here=tuple(runner.parts),
        staging=staging,
        stage=lambda envelope, source: runner.run(envelope, Procedure.STAGE, source),
        install=HelperParts(Path(helper), staging).run if helper else install,
    )


def _fetcher(settings: UpdateConfig) -> AnyFetcher:
    """As configured: through the proxy, and within the bandwidth."""
    proxy = None
    if settings.proxy:
        at = urlsplit(settings.proxy)
        proxy = Proxy(at.hostname or "", at.port or 0, _proxy_credentials(settings.proxy_credentials))
    return AnyFetcher(HttpFetcher(proxy=proxy, bandwidth=Bandwidth(settings.bandwidth)))


def _proxy_credentials(path: str) -> str:
    """`user:password`, or nothing where no file is named. ConfigFault `proxy-credentials`."""
    if not path:
        return ""
    try:
        text = read_bounded(Path(path), MAX_CREDENTIALS_BYTES).decode().strip()
    except (StorageFault, ValueError) as error:
        detail = f"{path}: {error.detail if isinstance(error, StorageFault) else 'not UTF-8'}"
        raise ConfigFault("proxy-credentials", detail, remedy="write user:password into it") from error
    if ":" not in text or not text.isprintable():
        raise ConfigFault("proxy-credentials", f"{path}: not user:password", remedy="write user:password into it")
    return text


def hardware(config: Config) -> Hardware:
    """The device as configured; software name and version from os-release where they are not set."""
    release = {} if config.software.name and config.software.version else _os_release()
    return Hardware(
        model=config.device.model,
        serial=config.device.serial,
        hw_version=config.device.hw_version,
        oem_id=bytes.fromhex(config.device.oem_id),
        sw_name=config.software.name or release.get("IMAGE_ID") or release.get("ID", "linux"),
        sw_version=config.software.version or release.get("IMAGE_VERSION") or release.get("VERSION_ID", "0"),
    )


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


@asynccontextmanager
async def control_server(config: Config, running: Agent) -> AsyncIterator[None]:
    """The control socket of a running agent."""
    server = ControlServer(config.control_socket, lambda call, args, actor: running.control(call, args, actor.uid))
    await server.start()
    try:
        yield
    finally:
        await server.close()
