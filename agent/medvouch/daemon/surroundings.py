"""Everything the agent stands on, and what it was told about itself and about whom to trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from medvouch.crypto.keys import PublicKey
from medvouch.lifecycle.roles import TrustedRole
from medvouch.ports import Clock, Entropy, MeasurementLogs, Store, Tpm, Transport


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
class Surroundings:
    """The ports."""

    tpm: Tpm
    logs: MeasurementLogs
    store: Store
    clock: Clock
    entropy: Entropy
    credentials: Credentials
    links: Links
