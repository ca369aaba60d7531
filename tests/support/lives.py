"""Whole lives of gateways, small but real: real TPM, enrolment, ledger and checkpoints; keys of roles by `key`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medvouch.adapters.store import SqliteStore
from medvouch.adapters.system import SystemClock
from medvouch.assurance.bundle import BundleTrust, assemble
from medvouch.attestation.attester import AttestationKeys, boot_name
from medvouch.attestation.results import AFFIRMING_VECTOR, Occasion, VerifiedEar, contraindicate, sign_result
from medvouch.attestation.sanitisation import sanitise
from medvouch.attestation.tpm_signer import TpmSigner
from medvouch.crypto import escrow
from medvouch.crypto.keys import SoftwareSigner
from medvouch.daemon.health import Health
from medvouch.daemon.recording import INDEXES, Circumstances, Pen, Recorder
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import Change, Standing
from medvouch.daemon.worker import Worker
from medvouch.errors import InputError
from medvouch.formats.claims import LedgerHead
from medvouch.formats.ear import Ear, Tier
from medvouch.formats.identity import DeviceIdentity, OwnershipAuths
from medvouch.formats.ledger import Bundle, Entry
from medvouch.formats.sanitisation import TPM2_CLEAR, SanitisationCertificate
from medvouch.ledger.anchoring import Anchor
from medvouch.ledger.statements import Author
from medvouch.messages.commands import issue_command
from medvouch.ports import Commit, LedgerRow, Tpm
from medvouch_sim.vendor import Order
from support.authorities import NOW, key, root
from support.enrolling import AUTHORITY, ORDER, OWNER, Gateway, World, payload

APPRAISER, COMMANDER = SoftwareSigner(key("appraiser")), SoftwareSigner(key("commander"))
HOSPITAL = "St. Example Hospital"
TRUST = BundleTrust(
    enrolment=[key("stranger").public_key(), AUTHORITY.public_key],
    enrolment_roots=[root("enrolment").certificate],
    appraisers=[APPRAISER.public_key],
    commanders=[COMMANDER.public_key],
)
AT = NOW + 10 * 365 * 86_400
"""Long after: the certificates in service have expired."""


@dataclass
class Life:
    """An enrolled gateway that keeps its ledger, its TPM on."""

    tpm: Tpm
    store: SqliteStore
    standing: Standing
    recorder: Recorder
    pen: Pen
    anchor: Anchor
    health: Health
    identity: DeviceIdentity
    lockout: bytes

    @property
    def device(self) -> str:
        return self.pen.author.device

    def record(self, change: Change, attachments: dict[str, bytes], *, checkpoint: bool) -> None:
        around = Circumstances("somebody", self.standing.owner, attachments)
        asyncio.run(self.recorder.record(change, around, checkpoint=checkpoint))
        assert list(self.health) == []

    def commission(self) -> None:
        self.record(self.standing.commissioned(HOSPITAL), {"command": command(self.device)}, checkpoint=True)

    def judged(self, data: bytes, *, checkpoint: bool = True) -> None:
        self.record(self.standing.judged(VerifiedEar(parsed(data), data)), {"ear": data}, checkpoint=checkpoint)

    @property
    def head(self) -> LedgerHead:
        """As evidence would name it now."""
        shown = self.recorder.head(0)
        assert shown is not None
        return shown[0]

    def live(self) -> None:
        """From enrolment on, so that every kind of entry is there: two checkpoints, the second after a verdict."""
        self.commission()
        self.judged(verdict(self.device, self.head))

    def bundle(self, *, receipt: bool = True) -> Bundle:
        """All of it; with the appraiser's receipt where that is wanted."""
        signed = verdict(self.device, self.head) if receipt else b""
        return assemble(self.device, self.store.entries(), self.store.checkpoints(), receipt=signed)

    def sanitise(self, nonce: bytes, **changes: Any) -> bytes:
        """Clear the TPM, and prove it; `changes` of the certificate."""
        head, device = self.head, self.identity
        given = {
            "ueid": device.ueid,
            "device_id": device.device_id,
            "serial": device.serial,
            "ledger_size": head.size,
            "ledger_root": head.root,
            "ledger_counter": head.counter,
            "method": TPM2_CLEAR,
            "time_ms": NOW * 1000,
            "clock_ok": True,
            "accountable_owner": HOSPITAL,
        }
        return sanitise(self.tpm, self.lockout, SanitisationCertificate(**{**given, **changes}), nonce)

    def entry(self, index: int, change: Change, attachments: dict[str, bytes]) -> Entry:
        """What root on the device can sign: the LDevID signs whatever it is given."""
        return Entry.parse(self.pen.entry(index, change, Circumstances("root", "", attachments)).entry)


def parsed(data: bytes) -> Ear:
    return Ear.parse(payload(data))


def verdict(device: str, head: LedgerHead | None, *, affirming: bool = True, **changes: Any) -> bytes:
    """A signed result."""
    occasion = Occasion(device, bytes(16), bytes(32), NOW, "medvouch", "0.1", "release-1")
    ear = contraindicate(occasion, InputError("event-unexpected", "an unknown kernel"))
    if affirming:
        good = {"status": Tier.AFFIRMING, "vector": AFFIRMING_VECTOR, "boot_count": 1, "reasons": ()}
        ear = replace(ear, **good, ledger_head=head)
    return sign_result(replace(ear, **changes), APPRAISER)


def command(device: str, signer: SoftwareSigner = COMMANDER) -> bytes:
    args = {"owner": HOSPITAL}
    return issue_command(signer, "commission", "c1", device, args, issued_at=NOW * 1000, expires_at=NOW * 1000 + 1)


@contextmanager
def life(world: World, directory: Path, order: Order = ORDER, *, cleared: bool = False) -> Iterator[Life]:
    """One that has just enrolled: its ledger has one entry and no checkpoint. `cleared`: its TPM was, just before."""
    with world.gateway(directory / "tpm", order) as gateway, closing(SqliteStore(directory / "state.db")) as store:
        if cleared:
            gateway.tpm.clear(b"")
        standing, clock = Standing(store), SystemClock()
        identity, lockout = _enrolled(world, gateway, store, standing, clock)
        keys = AttestationKeys.load(gateway.tpm, identity)
        pen = _pen(gateway.tpm, keys, identity, clock)
        anchor, health = Anchor(gateway.tpm, keys.lak, INDEXES, identity.nv_auths), Health()
        reporter = Reporter(store, clock, identity.device_id, pen.boot)
        recorder = Recorder(store, Worker(), pen, anchor, reporter, health)
        yield Life(gateway.tpm, store, standing, recorder, pen, anchor, health, identity, lockout)


def _enrolled(
    world: World, gateway: Gateway, store: SqliteStore, standing: Standing, clock: SystemClock
) -> tuple[DeviceIdentity, bytes]:
    authority, enrollee = world.authority(gateway.entry), gateway.enrollee()

    def keep(identity: DeviceIdentity) -> None:
        change = standing.enrolled(identity)
        keys = AttestationKeys.load(gateway.tpm, identity)
        around = Circumstances("enrolment authority", identity.accountable_owner, {"answer": identity.answer})
        row: LedgerRow = _pen(gateway.tpm, keys, identity, clock).entry(0, change, around)
        gateway.tpm.flush(keys.ldevid)
        gateway.tpm.flush(keys.lak)
        store.commit(Commit(change.values, row))

    challenge, pending = authority.challenge(enrollee.request(), NOW)
    enrolled = authority.answer(pending, enrollee.proof(challenge), NOW)
    identity = enrollee.accept(enrolled.answer, keep)
    escrowed = escrow.open_sealed(enrolled.escrow, OWNER, context=enrolled.ueid)
    return identity, OwnershipAuths.parse(escrowed).lockout


def _pen(tpm: Tpm, keys: AttestationKeys, identity: DeviceIdentity, clock: SystemClock) -> Pen:
    signer = TpmSigner(tpm, keys.ldevid, identity.ldevid_public)
    return Pen(signer, Author(identity.device_id, identity.ueid), clock, boot_name(tpm.read_clock()))
