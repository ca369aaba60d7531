"""Everything the agent stands on, and what it was told about itself and about whom to trust."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from medvouch.crypto.keys import PublicKey
from medvouch.lifecycle.roles import TrustedRole
from medvouch.ports import Clock, Entropy, Fetcher, MeasurementLogs, Slots, Store, Tpm, Transport
from medvouch.update.windows import Windows

if TYPE_CHECKING:
    from medvouch.daemon.mirrors import Places
    from medvouch.daemon.parts import Parts
    from medvouch.formats.tuf_versions import Versions
    from medvouch.update.processor import DeviceClass
    from medvouch.update.repository import Repository  # with tuf; agents without updates do without


class Credentials(Protocol):
    """The MQTT client key and certificate."""

    def client_key(self) -> PublicKey:
        """The public half, made on first use."""
        ...

    def install(self, certificates: Sequence[bytes]) -> None:
        """Keep the certificate (DER, leaf first) for the next connection."""
        ...


class Links(Protocol):
    """The two ways to the broker."""

    def bootstrap_name(self) -> str:
        """What the bootstrap credential calls this device."""
        ...

    def enrolment(self) -> Transport:
        """With the bootstrap credential."""
        ...

    def service(self, device: str, will: bytes) -> Transport:
        """With the client certificate; the broker publishes `will` on `status/agent` if the agent is lost."""
        ...


@dataclass(frozen=True)
class Hardware:
    """What the maker calls the device (RFC 9711, hardware and software claims)."""

    model: str
    serial: str
    hw_version: str
    oem_id: bytes
    sw_name: str
    sw_version: str


@dataclass(frozen=True)
class TrustedRoles:
    """Who judges this device, commands it, enrols it and owns it."""

    appraiser: TrustedRole
    commander: TrustedRole
    enrolment: TrustedRole
    owner: TrustedRole

    def check_enrolment(self, now: int) -> None:
        """All that an enrolment rests on is in force: who judges approves floors, to the owner the TPM is sealed.

        Raises Refusal `trust-expired`, `role-expired`.
        """
        for role in (self.enrolment, self.owner, self.appraiser):
            role.at(now)


@dataclass(frozen=True)
class Updates:
    """What installing needs. `repository` is made with one of the `places`, a source of trusted time (s since 1970) and
    the versions below which it is not believed.

    `allowed` are URL prefixes of payloads; `built` is when this software was (s since 1970); `enrolment_roots` (DER)
    issue this device's certificates; `reboot` asks for a restart and returns. `trust_version` is that of the trust
    document in use; `check_trust` gives another's, or raises where this agent could not live with it. `parts` are those
    of which there is one. Looks that nobody asked for come up to `jitter_s` seconds later. A restart suits in these
    `windows`, and never while `busy` says that the clinical workload is; that raises EnvironmentFault where nobody can
    say. `migrate` is as of `DataMigration.run`.
    """

    slots: Slots
    fetcher: Fetcher
    places: Places
    repository: Callable[[str, Callable[[], int], Versions], Repository]
    device_class: DeviceClass
    allowed: Sequence[str]
    release: TrustedRole
    quality: TrustedRole
    enrolment_roots: Sequence[bytes]
    built: int
    reboot: Callable[[], Awaitable[None]]
    trust_version: int
    check_trust: Callable[[bytes], int]
    windows: Windows
    busy: Callable[[], Awaitable[bool]] | None
    parts: Parts
    jitter_s: int = 0
    migrate: Callable[[Sequence[str]], Awaitable[None]] | None = None


@dataclass(frozen=True)
class Surroundings:
    """The ports; `updates` None: releases are installed by other means."""

    tpm: Tpm
    logs: MeasurementLogs
    store: Store
    clock: Clock
    entropy: Entropy
    credentials: Credentials
    links: Links
    updates: Updates | None = None
