"""Who a device is in service: what an enrolment leaves behind on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from medvouch.formats.enrolment import (
    MAX_NV_INDEXES,
    Certificate,
    Chain,
    DeviceId,
    Floor,
    FloorBase,
    GivenAnswer,
    NvNames,
    Owner,
    TpmPublic,
    Ueid,
)
from medvouch.formats.manufacturing import EkHash, HardwareVersion, Model, Serial
from medvouch.formats.record import Named, Octets, Record


@dataclass(frozen=True)
class DeviceIdentity(Record):
    """Who this device is in service; its keys' private parts are the TPM's (`ldevid_private` is wrapped by it).

    `nv_auths` are the NV indexes' write authorisations, by the names of `nv_names`: to be kept from everybody else.

    `answer` is the authority's whole message (COSE_Sign1) that gave the identity, for the ledger to begin with.
    `client_certificate` changes with each renewal, all else only with a new enrolment.
    """

    FORMAT = "identity"

    ueid: Ueid
    device_id: DeviceId
    ek_hash: EkHash
    serial: Serial
    model: Model
    hw_version: HardwareVersion
    ldevid_public: TpmPublic
    ldevid_private: TpmPublic
    lak_certificate: Certificate
    ldevid_certificate: Certificate
    client_certificate: Certificate
    chain: Chain
    nv_names: NvNames
    nv_auths: Annotated[Mapping[str, bytes], Named(Octets(64), MAX_NV_INDEXES)] = field(repr=False)
    floor: Floor
    floor_base: FloorBase
    iak_public: TpmPublic
    accountable_owner: Owner
    answer: GivenAnswer

    @property
    def client_chain(self) -> tuple[bytes, ...]:
        """What a TLS client presents: its certificate, then the issuers up to the root's subordinate (DER)."""
        return (self.client_certificate, *self.chain)


@dataclass(frozen=True)
class OwnershipAuths(Record):
    """What is sealed in an escrow: the authorisations of the TPM's owner and lockout hierarchies."""

    FORMAT = "escrow"

    owner: Annotated[bytes, Octets(64)] = field(repr=False)
    lockout: Annotated[bytes, Octets(64)] = field(repr=False)
