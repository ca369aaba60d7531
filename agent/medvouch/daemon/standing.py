"""What the device durably knows of itself: identity, place in its life, owner, last verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from medvouch.attestation.results import VerifiedEar
from medvouch.errors import InputError, StorageFault
from medvouch.formats.consent import ConsentRecord
from medvouch.formats.cose import Sign1
from medvouch.formats.data_format import DataFormat, DataState
from medvouch.formats.directive import Directive
from medvouch.formats.ear import Ear
from medvouch.formats.identity import DeviceIdentity
from medvouch.formats.ledger import Transition
from medvouch.formats.suit_report import SuitReport
from medvouch.formats.update import InstalledRelease, PartsRecord, UpdateRecord
from medvouch.lifecycle.life import Cause, Life, advance
from medvouch.ports import Store

IDENTITY_KEY = "identity"
LIFE_KEY = "life"
OWNER_KEY = "owner"
RESULT_KEY = "last-result"
EAR_KEY = "last-ear"
EPOCH_KEY = "security-epoch"
RECEIPT_KEY = "receipt"
UPDATE_KEY = "update"
DIRECTIVE_KEY = "directive"
CONSENT_KEY = "consent"
HOLD_KEY = "hold"
PARTS_KEY = "update-parts"
REPORT_KEY = "suit-report"
INSTALLED_KEY = "installed"
DATA_OFFERED_KEY = "data-offered"
DATA_INSTALLED_KEY = "data-installed"
DATA_STATE_KEY = "data-state"
TRUST_KEY = "trust-document"
TIME_KEY = "testified-time"

T = TypeVar("T")


@dataclass(frozen=True)
class Change:
    """A transition and the values that become durable with it."""

    transition: Transition
    values: Mapping[str, bytes | None]

    def with_values(self, more: Mapping[str, bytes | None]) -> Change:
        """The same transition with more values."""
        return replace(self, values={**self.values, **more})


class Standing:
    """A typed view of the store, and what changes in it. What cannot be read back is `state-corrupt`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def identity(self) -> DeviceIdentity | None:
        """The enrolled identity, or None before enrolment."""
        return self._read(IDENTITY_KEY, DeviceIdentity.parse)

    @property
    def life(self) -> Life:
        """Where in its life the device stands."""
        return self._read(LIFE_KEY, lambda data: Life(data.decode())) or Life.MANUFACTURED

    @property
    def owner(self) -> str:
        """Who answers for the device; empty before it is commissioned."""
        return self._read(OWNER_KEY, bytes.decode) or ""

    @property
    def last_verdict(self) -> Ear | None:
        """The last result that came home and was believed."""
        return self._read(EAR_KEY, Ear.parse)

    @property
    def update(self) -> UpdateRecord | None:
        """The update under way, or the last one."""
        return self._read(UPDATE_KEY, UpdateRecord.parse)

    @property
    def directive(self) -> Directive | None:
        """What led to the update, as it was last seen."""
        return self._read(DIRECTIVE_KEY, Directive.parse)

    @property
    def consent(self) -> ConsentRecord:
        """What the user wants of updates."""
        return self._read(CONSENT_KEY, ConsentRecord.parse) or ConsentRecord()

    @property
    def hold(self) -> tuple[str, str]:
        """What last held an update up, as the ledger has it: the reason, and the SHA-256 of the envelope."""
        reason, _, manifest = (self._read(HOLD_KEY, bytes.decode) or "").partition(" ")
        return reason, manifest

    @property
    def parts(self) -> PartsRecord | None:
        """Of the last release that was for parts of which there is one."""
        return self._read(PARTS_KEY, PartsRecord.parse)

    @property
    def suit_report(self) -> SuitReport | None:
        """What has come of the update so far."""
        return self._read(REPORT_KEY, SuitReport.parse)

    @property
    def installed(self) -> InstalledRelease:
        """The release whose slot was last confirmed."""
        return self._read(INSTALLED_KEY, InstalledRelease.parse) or InstalledRelease("", 0, 0)

    @property
    def data_offered(self) -> DataFormat:
        """In which format the release of `update` keeps the product's data."""
        return self._read(DATA_OFFERED_KEY, DataFormat.parse) or DataFormat()

    @property
    def data_installed(self) -> DataFormat:
        """Likewise of `installed`."""
        return self._read(DATA_INSTALLED_KEY, DataFormat.parse) or DataFormat()

    @property
    def data_state(self) -> DataState:
        """In which formats the product's data is on this device."""
        return self._read(DATA_STATE_KEY, DataState.parse) or DataState()

    @property
    def trust(self) -> bytes | None:
        """The trust document that the update repository last brought."""
        return self._store.get(TRUST_KEY)

    @property
    def testified_time(self) -> int:
        """What the update repository last testified to have passed (s since 1970)."""
        return self._read(TIME_KEY, int) or 0

    @property
    def security_epoch(self) -> int:
        """The floor as it was last recorded; the TPM's word is what counts."""
        identity = self.identity
        return self._read(EPOCH_KEY, int) or (identity.floor if identity else 0)

    @property
    def receipt(self) -> Ear | None:
        """The verdict on the ledger as it ended, of a device that is frozen."""
        return self._read(RECEIPT_KEY, lambda data: Ear.parse(Sign1.parse(data).payload or b""))

    @property
    def closed(self) -> bool:
        """Whether the ledger has ended: the device is about to be decommissioned, or was."""
        return self.life in (Life.FROZEN, Life.DECOMMISSIONED)

    def _read(self, key: str, parse: Callable[[bytes], T]) -> T | None:
        data = self._store.get(key)
        try:
            return None if data is None else parse(data)
        except (InputError, ValueError) as error:
            remedy = "restore the state directory from a backup, or enrol the device again"
            raise StorageFault("state-corrupt", f"the stored {key}: {error}", remedy=remedy) from error

    def moved(self, cause: Cause) -> Change:
        """A step of its life; Refusal `transition-not-allowed` where it does not lead there."""
        before = self.life
        after = advance(before, cause)
        return Change(Transition("life", before, after, cause), {LIFE_KEY: after.encode()})

    def enrolled(self, identity: DeviceIdentity) -> Change:
        """A new identity."""
        return self.moved(Cause.ENROL).with_values({IDENTITY_KEY: identity.encode()})

    def commissioned(self, owner: str) -> Change:
        """An accountable owner; Refusal `transition-not-allowed` where one was named before."""
        return self.moved(Cause.COMMISSION).with_values({OWNER_KEY: owner.encode()})

    def raised(self, epoch: int) -> Change:
        """A higher security epoch."""
        transition = Transition("floor", str(self.security_epoch), str(epoch), "approval")
        return Change(transition, {EPOCH_KEY: str(epoch).encode()})

    def judged(self, verified: VerifiedEar) -> Change:
        """A verified result."""
        last, ear = self.last_verdict, verified.ear
        before = last.status.name.lower() if last else ""
        transition = Transition("attestation", before, ear.status.name.lower(), "result")
        return Change(transition, {EAR_KEY: ear.encode(), RESULT_KEY: verified.data})
