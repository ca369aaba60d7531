"""What the collector durably knows of each enrolled device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

from medvouch.attestation.appraisal import BootClock
from medvouch.crypto.merkle import EMPTY_ROOT
from medvouch.errors import InputError, StorageFault
from medvouch.formats.claims import LedgerHead
from medvouch.formats.enrolment import (
    MAX_ANSWER_BYTES,
    DeviceId,
    Digest,
    Escrow,
    Floor,
    FloorBase,
    NvNames,
    Owner,
    Spki,
    TpmPublic,
)
from medvouch.formats.manufacturing import EkHash, Serial
from medvouch.formats.record import Octets, Record, Uint
from medvouch.ports import Store

T = TypeVar("T")


@dataclass(frozen=True)
class EnrolledDevice(Record):
    """One live enrolment.

    `attestation_key` is the LAK's SubjectPublicKeyInfo, `client_key_thumbprint` of the MQTT client key (RFC 9679),
    `ek_hash` SHA-256 of the EK's SubjectPublicKeyInfo; `escrow` holds the TPM's hierarchy authorisations, sealed to the
    accountable owner. `nv_names` are the NV indexes' Names; the device enrolled at the security epoch `floor`, while
    its floor counter stood at `floor_base`; `iak_public` and `ldevid_public` are TPMT_PUBLIC. Counts and ledger
    head are those of the last evidence accepted, all zero before the first.
    """

    FORMAT = "registry"

    device: DeviceId
    serial: Serial
    ek_hash: EkHash
    attestation_key: Spki
    client_key_thumbprint: Annotated[bytes, Octets(32, exact=True)]
    accountable_owner: Owner
    escrow: Escrow
    nv_names: NvNames
    floor: Floor
    floor_base: FloorBase
    iak_public: TpmPublic
    ldevid_public: TpmPublic
    reset_count: Annotated[int, Uint()] = 0
    restart_count: Annotated[int, Uint()] = 0
    clock_ms: Annotated[int, Uint()] = 0
    ledger_size: Annotated[int, Uint()] = 0
    ledger_root: Digest = EMPTY_ROOT
    ledger_counter: Annotated[int, Uint(2**64 - 1)] = 0

    @property
    def last_head(self) -> LedgerHead | None:
        """The head of its ledger that was last confirmed."""
        if not self.ledger_size:
            return None
        return LedgerHead(self.ledger_size, self.ledger_root, self.ledger_counter)

    @property
    def last_clock(self) -> BootClock:
        """How far the TPM had come."""
        return BootClock(self.reset_count, self.restart_count, self.clock_ms)


@dataclass(frozen=True)
class GivenAnswer(Record):
    """The answer that a proof (by its digest) was given."""

    FORMAT = "registry"

    proof: Digest
    answer: Annotated[bytes, Octets(MAX_ANSWER_BYTES)]


@dataclass(frozen=True)
class _KnownFloor(Record):
    """The highest security epoch known of a device."""

    FORMAT = "registry"

    epoch: Floor


class Registry:
    """Enrolled devices by id, in a Store; one live enrolment per EK. What cannot be read back is a StorageFault."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, device: str) -> EnrolledDevice | None:
        """The live enrolment of a device, or None."""
        return self._read(f"device/{device}", EnrolledDevice.parse)

    def answer(self, name: str) -> GivenAnswer | None:
        """The last answer to a bootstrap name that enrolled, or None."""
        return self._read(f"answer/{name}", GivenAnswer.parse)

    def enrolled(self, ek_hash: bytes) -> bool:
        """Whether this EK has a live enrolment."""
        return self._store.get(f"ek/{ek_hash.hex()}") is not None

    def floor(self, ek_hash: bytes) -> int:
        """The highest security epoch that the device with this EK is known to have had; it outlives its enrolments."""
        known = self._read(f"floor/{ek_hash.hex()}", _KnownFloor.parse)
        return 0 if known is None else known.epoch

    def raise_floor(self, ek_hash: bytes, epoch: int) -> None:
        """Remember a device's security epoch; the one that is known is never lowered."""
        if epoch > self.floor(ek_hash):
            self._store.put({f"floor/{ek_hash.hex()}": _KnownFloor(epoch).encode()})

    def add(self, record: EnrolledDevice, name: str, given: GivenAnswer) -> None:
        """Keep a new enrolment, and what was answered to the bootstrap name that asked for it."""
        epoch = max(record.floor, self.floor(record.ek_hash))
        self._store.put(
            {
                f"floor/{record.ek_hash.hex()}": _KnownFloor(epoch).encode(),
                f"device/{record.device}": record.encode(),
                f"ek/{record.ek_hash.hex()}": record.device.encode(),
                f"answer/{name}": given.encode(),
            }
        )

    def accepted(self, device: str, clock: BootClock, head: LedgerHead | None) -> None:
        """Remember how far the device's TPM and its ledger had come in the last evidence accepted."""
        record = self.find(device)
        if record is not None:
            risen = replace(
                record, reset_count=clock.reset_count, restart_count=clock.restart_count, clock_ms=clock.clock_ms
            )
            if head is not None:
                risen = replace(risen, ledger_size=head.size, ledger_root=head.root, ledger_counter=head.counter)
            self._store.put({f"device/{device}": risen.encode()})

    def _read(self, key: str, parse: Callable[[bytes], T]) -> T | None:
        data = self._store.get(key)
        try:
            return None if data is None else parse(data)
        except InputError as error:
            remedy = "restore the collector's database from a backup"
            raise StorageFault("registry-corrupt", f"{key}: {error.detail}", remedy=remedy) from error
