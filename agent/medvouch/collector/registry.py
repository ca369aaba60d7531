"""What the collector durably knows of each enrolled device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

from medvouch.attestation.appraisal import BootClock
from medvouch.crypto.floor import epoch
from medvouch.crypto.merkle import EMPTY_ROOT
from medvouch.errors import InputError, StorageFault
from medvouch.formats.claims import LedgerHead
from medvouch.formats.ear import MAX_CODE, Tier
from medvouch.formats.enrolment import (
    MAX_ANSWER_BYTES,
    DeviceId,
    Digest,
    Escrow,
    Floor,
    FloorBase,
    Nonce,
    NvNames,
    Owner,
    Spki,
    TpmPublic,
)
from medvouch.formats.ledger import MAX_ATTACHMENT_BYTES
from medvouch.formats.manufacturing import EkHash, Serial
from medvouch.formats.record import Many, Maybe, Nested, Octets, OneOf, Record, Text, Uint
from medvouch.formats.sanitisation import MAX_SANITISED_BYTES
from medvouch.ports import Store

MAX_SERIAL_BYTES = 20
"""Of a certificate's serial number (RFC 5280, 4.1.2.2)."""
MAX_CERTIFICATES = 64
"""Of one device."""
MAX_REVOKED = 100_000
"""Certificates on the list: about the 4 MiB that `crypto.revocation` reads."""
MAX_WORD = 64
"""Characters of what a device calls a state, a version or a reason."""
REVOKED_KEY = "revoked"

T = TypeVar("T")


@dataclass(frozen=True)
class EnrolledDevice(Record):
    """One live enrolment.

    `attestation_key` is the LAK's SubjectPublicKeyInfo, `client_key_thumbprint` of the MQTT client key (RFC 9679),
    `ek_hash` SHA-256 of the EK's SubjectPublicKeyInfo; `escrow` holds the TPM's hierarchy authorisations, sealed to the
    accountable owner. `nv_names` are the NV indexes' Names; the device enrolled at the security epoch `floor`, while
    its floor counter stood at `floor_base`; `iak_public` and `ldevid_public` are TPMT_PUBLIC. Counts and ledger
    head are those of the last evidence accepted, all zero before the first. `qualified_name` is the LAK's, which says
    where in its TPM it stands. `certificates` are the serial numbers of those issued to it; `floor_counter` is where
    the device last said that its floor counter stands, or zero.
    """

    FORMAT = "registry"

    device: DeviceId
    serial: Serial
    ek_hash: EkHash
    attestation_key: Spki
    qualified_name: Annotated[bytes, Octets(66)]
    client_key_thumbprint: Annotated[bytes, Octets(32, exact=True)]
    accountable_owner: Owner
    escrow: Escrow
    nv_names: NvNames
    floor: Floor
    floor_base: FloorBase
    iak_public: TpmPublic
    ldevid_public: TpmPublic
    certificates: Annotated[tuple[bytes, ...], Many(Octets(MAX_SERIAL_BYTES), MAX_CERTIFICATES)]
    floor_counter: Annotated[int, Uint()] = 0
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
    def present_counter(self) -> int:
        """Where its floor counter stands, as far as is known."""
        return max(self.floor_base, self.floor_counter)

    @property
    def raised_epoch(self) -> int:
        """The security epoch that its TPM holds, likewise."""
        return epoch(self.floor, self.floor_base, self.present_counter)

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
class Sanitising(Record):
    """A device that was asked to sanitise itself: the nonce, and the verdict (EAR) on its ledger as it ends."""

    FORMAT = "registry"

    nonce: Nonce
    receipt: Annotated[bytes, Octets(MAX_ATTACHMENT_BYTES)]


@dataclass(frozen=True)
class Ended(Record):
    """An enrolment that ended: as it was, the verdict on its ledger, and the proof of sanitisation with its nonce.

    `time_ms` since 1970 is when the proof was taken; the device's certificates are revoked from then on.
    """

    FORMAT = "registry"

    record: Annotated[EnrolledDevice, Nested(EnrolledDevice)]
    receipt: Annotated[bytes, Octets(MAX_ATTACHMENT_BYTES)]
    sanitisation: Annotated[bytes, Octets(MAX_SANITISED_BYTES)]
    nonce: Nonce
    time_ms: Annotated[int, Uint()]


@dataclass(frozen=True)
class Claimed(Record):
    """What a device last said of its update on `state/update`: its word, and nothing else.

    `wish` is its user's; `seq` numbers its messages; it came at `received` (s since 1970, by the collector's clock).
    """

    FORMAT = "registry"

    state: Annotated[str, Text(MAX_WORD)]
    version: Annotated[str, Text(MAX_WORD, empty=True)]
    sequence: Annotated[int, Uint()]
    reason: Annotated[str, Text(MAX_WORD, empty=True)]
    wish: Annotated[str, Text(MAX_WORD, empty=True)]
    seq: Annotated[int, Uint()]
    received: Annotated[int, Uint()]


@dataclass(frozen=True)
class Judged(Record):
    """The last verdict on a device, at `issued` (s since 1970): `release` is the version that it was found to run.

    `code` says why it is not affirming.
    """

    FORMAT = "registry"

    status: Annotated[str, OneOf(tuple(tier.name.lower() for tier in Tier))]
    code: Annotated[str, Text(MAX_CODE, empty=True)]
    release: Annotated[str, Text(MAX_WORD, empty=True)]
    issued: Annotated[int, Uint()]


@dataclass(frozen=True)
class LastKnown(Record):
    """The last verdict on an enrolled device, and its last claim, which is none; None where there is none yet."""

    FORMAT = "registry"

    judged: Annotated[Judged | None, Maybe(Nested(Judged))] = None
    claimed: Annotated[Claimed | None, Maybe(Nested(Claimed))] = None


@dataclass(frozen=True)
class _Revoked(Record):
    """A certificate's serial number, and since when (s since 1970) it is revoked."""

    FORMAT = "registry"

    serial: Annotated[bytes, Octets(MAX_SERIAL_BYTES)]
    time: Annotated[int, Uint()]


@dataclass(frozen=True)
class _AllRevoked(Record):
    FORMAT = "registry"

    certificates: Annotated[tuple[_Revoked, ...], Many(Nested(_Revoked), MAX_REVOKED)]


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

    def raise_floor(self, ek_hash: bytes, reached: int) -> None:
        """Remember a device's security epoch; the one that is known is never lowered."""
        if reached > self.floor(ek_hash):
            self._store.put({f"floor/{ek_hash.hex()}": _KnownFloor(reached).encode()})

    def add(self, record: EnrolledDevice, name: str, given: GivenAnswer) -> None:
        """Keep a new enrolment, and what was answered to the bootstrap name that asked for it."""
        known = max(record.floor, self.floor(record.ek_hash))
        self._store.put(
            {
                f"floor/{record.ek_hash.hex()}": _KnownFloor(known).encode(),
                f"device/{record.device}": record.encode(),
                f"ek/{record.ek_hash.hex()}": record.device.encode(),
                f"known/{record.device}": None,
                f"answer/{name}": given.encode(),
            }
        )

    def risen(self, device: str, counter: int) -> None:
        """Remember where a device says that its floor counter stands."""
        record = self.find(device)
        if record is not None:
            self._store.put({f"device/{device}": replace(record, floor_counter=counter).encode()})

    def sanitising(self, device: str, pending: Sanitising) -> None:
        """Remember what a proof of sanitisation is to be judged by."""
        self._store.put({f"sanitising/{device}": pending.encode()})

    def asked_to_sanitise(self, device: str) -> Sanitising | None:
        """By what it is to be judged, where the device was asked for one."""
        return self._read(f"sanitising/{device}", Sanitising.parse)

    def ended(self, device: str) -> Ended | None:
        """The last enrolment of a device that ended, or None."""
        return self._read(f"ended/{device}", Ended.parse)

    def decommissioned(self, ended: Ended) -> None:
        """End an enrolment: its certificates are revoked, its EK may be enrolled anew; its floor stays known."""
        record, since = ended.record, ended.time_ms // 1000
        revoked = self.revoked() | {int.from_bytes(serial, "big"): since for serial in record.certificates}
        rows = tuple(_Revoked(serial.to_bytes(MAX_SERIAL_BYTES, "big"), at) for serial, at in revoked.items())
        self._store.put(
            {
                f"ended/{record.device}": ended.encode(),
                f"device/{record.device}": None,
                f"known/{record.device}": None,
                f"ek/{record.ek_hash.hex()}": None,
                f"sanitising/{record.device}": None,
                REVOKED_KEY: _AllRevoked(rows).encode(),
            }
        )

    def revoked(self) -> dict[int, int]:
        """The certificates revoked: serial number to time (s since 1970)."""
        known = self._read(REVOKED_KEY, _AllRevoked.parse)
        return {int.from_bytes(row.serial, "big"): row.time for row in known.certificates} if known else {}

    def accepted(self, device: str, clock: BootClock, head: LedgerHead | None, judged: Judged | None = None) -> None:
        """Remember how far the device's TPM and its ledger had come in the last evidence accepted, and the verdict."""
        record = self.find(device)
        if record is not None:
            risen = replace(
                record, reset_count=clock.reset_count, restart_count=clock.restart_count, clock_ms=clock.clock_ms
            )
            if head is not None:
                risen = replace(risen, ledger_size=head.size, ledger_root=head.root, ledger_counter=head.counter)
            known = {f"known/{device}": replace(self.known(device), judged=judged).encode()} if judged else {}
            self._store.put({f"device/{device}": risen.encode(), **known})

    def refused(self, device: str, judged: Judged) -> None:
        """Remember a verdict on evidence that was not accepted."""
        if self.find(device) is not None:
            self._store.put({f"known/{device}": replace(self.known(device), judged=judged).encode()})

    def claimed(self, device: str, claim: Claimed) -> bool:
        """Remember what an enrolled device says of its update; whether it is newer than what is known."""
        known = self.known(device)
        if self.find(device) is None or (known.claimed is not None and claim.seq <= known.claimed.seq):
            return False
        self._store.put({f"known/{device}": replace(known, claimed=claim).encode()})
        return True

    def known(self, device: str) -> LastKnown:
        """The last verdict on a device, and its last claim."""
        return self._read(f"known/{device}", LastKnown.parse) or LastKnown()

    def _read(self, key: str, parse: Callable[[bytes], T]) -> T | None:
        data = self._store.get(key)
        try:
            return None if data is None else parse(data)
        except InputError as error:
            remedy = "restore the collector's database from a backup"
            raise StorageFault("registry-corrupt", f"{key}: {error.detail}", remedy=remedy) from error
