"""The agent: prepares the TPM and enrols where it must, then serves until it is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any

from medvouch.attestation.attester import AttestationKeys, Attester, Description, LedgerSource, boot_name
from medvouch.attestation.enrollee import Enrollee
from medvouch.attestation.provisioning import load_ldevid
from medvouch.attestation.tpm_signer import TpmSigner
from medvouch.crypto.keys import key_thumbprint
from medvouch.daemon import data_key, refusals
from medvouch.daemon.attesting import AttestingService, Verdicts
from medvouch.daemon.commanding import CommandDesk
from medvouch.daemon.consenting import Order
from medvouch.daemon.decommissioning import Decommissioning
from medvouch.daemon.departing import Departure
from medvouch.daemon.enrolling import enrol
from medvouch.daemon.exporting import export
from medvouch.daemon.floor import Authority, FloorKeeper
from medvouch.daemon.health import Health
from medvouch.daemon.link import watch_link
from medvouch.daemon.mirrors import folder_url
from medvouch.daemon.recording import INDEXES, Circumstances, Pen, Recorder
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.service import Service
from medvouch.daemon.standing import Standing
from medvouch.daemon.storage import WatchedStore
from medvouch.daemon.surroundings import Hardware, Surroundings, TrustedRoles
from medvouch.daemon.update_assembly import UpdateAssembly
from medvouch.daemon.updating import Updating
from medvouch.daemon.worker import Worker, in_thread, outlast
from medvouch.errors import InputError, Refusal, TpmFault
from medvouch.formats.eat import NONCE_SIZES
from medvouch.formats.identity import DeviceIdentity
from medvouch.ledger.anchoring import Anchor
from medvouch.ledger.statements import Author
from medvouch.ports import Commit, CreatedKey, KeyHandle

log = logging.getLogger(__name__)


class Agent:
    """One device's agent. `service` stands once the device is enrolled."""

    def __init__(
        self, around: Surroundings, enrollee: Enrollee, hardware: Hardware, trusted: TrustedRoles, worker: Worker
    ) -> None:
        self._around = around
        self._enrollee = enrollee
        self._hardware = hardware
        self._trusted = trusted
        self._worker = worker
        self.health = Health()
        self._store = WatchedStore(around.store, self.health)
        self.standing = Standing(self._store)
        self.service: Service | None = None
        self.attesting: AttestingService | None = None
        self.reporter: Reporter | None = None
        self.updating: Updating | None = None

    async def run(self) -> None:
        """Enrol if need be, then serve until cancelled, or until the device is decommissioned."""
        around = self._around
        departure = Departure(around, self._worker, self.standing, self._store, self._trusted.enrolment, self.health)
        if await departure.resumed():
            return
        identity = self.standing.identity or await self._enrol()
        await self._check_ownership()
        keys = await self._worker.run(lambda: AttestationKeys.load(self._around.tpm, identity))
        pen = await self._worker.run(lambda: self._pen(identity, keys.ldevid))
        device = identity.device_id
        self.reporter = reporter = Reporter(self._store, around.clock, device, pen.boot)
        transport = around.links.service(device, reporter.will())
        anchor = Anchor(around.tpm, keys.lak, INDEXES, identity.nv_auths)
        recorder = Recorder(self._store, self._worker, pen, anchor, reporter, self.health)
        attester = await self._worker.run(lambda: self.attester(identity, keys, recorder))
        self.attesting = AttestingService(
            attester,
            self._worker,
            reporter,
            self.standing,
            self.health,
            Verdicts(self._trusted.appraiser, device, around.clock),
            recorder,
        )
        self.updating = self._updater(identity, reporter, recorder, attester)
        self.service = Service(
            device,
            self._hardware,
            transport,
            self.standing,
            reporter,
            self.attesting,
            self.health,
            self._store,
            recorder,
            self.updating,
            lambda: self._worker.run(lambda: data_key.make(around.tpm, around.entropy)),
        )
        desk, sanitised = self._desk(identity, self.service, recorder, reporter)
        try:
            await _until(sanitised, self.service.run(desk))
        finally:
            await transport.close()
        self.attesting = None
        await departure.deliver()

    def _desk(
        self, identity: DeviceIdentity, service: Service, recorder: Recorder, reporter: Reporter
    ) -> tuple[CommandDesk, asyncio.Event]:
        """Where commands come in, and what is set once one of them has ended this device's life."""
        around, fields = self._around, service.identity_fields
        authority = Authority(self._trusted.appraiser, around.clock)
        floor = FloorKeeper(around.tpm, self._worker, identity, authority, self.standing, recorder, reporter, fields)
        ending = Decommissioning(
            around.tpm,
            self._worker,
            identity,
            self.standing,
            recorder,
            reporter,
            self._store,
            around.clock,
            fields,
        )
        handlers = {
            "attest": service.attest,
            "commission": service.commission,
            "update": service.update,
            "consent": service.consent,
            "floor": floor.raise_floor,
            "freeze": ending.freeze,
            "sanitise": ending.sanitise,
        }
        commander, device = self._trusted.commander, identity.device_id
        desk = CommandDesk(commander, handlers, device, reporter, self._store, around.clock, self.standing)
        return desk, ending.sanitised

    async def control(self, call: str, args: Mapping[str, Any], uid: int) -> Mapping[str, Any]:
        """A call by a user: `status`, `ledger`, `update`, which may look only at the directory `from`, `consent`, which
        shows what is wanted of updates or changes it, or `attest` with `nonce` (hex) and `appraiser`.

        Raises InputError `call-malformed`, Refusal `not-enrolled`, `updates-off`, and what making evidence or changing
        the wish raises.
        """
        if call == "status":
            return self.service.status() if self.service else self._unenrolled()
        if call == "ledger":
            return {"bundle": (await in_thread(self._exported)).hex()}
        if call == "update":
            log.info("an update asked for by user %d", uid)
            return self._service().look_for_update(_place(args))
        if call == "consent":
            return await self._consent(args, uid)
        if call != "attest":
            raise InputError("call-malformed", f"there is no call {call!r}")
        if self.attesting is None:
            raise Refusal(refusals.NOT_ENROLLED, "there are no keys to attest with yet")
        log.info("evidence asked for by user %d", uid)
        return {"evidence": (await self.attesting.evidence(*_challenge(args))).hex()}

    async def _consent(self, args: Mapping[str, Any], uid: int) -> Mapping[str, Any]:
        if not args:
            return self._service().consent_status()
        order, place = Order.parse(args), _place(args)
        log.info("%s of updates by user %d", order.cause, uid)
        return await self._service().wished(order, f"user {uid}", only=place)

    def _service(self) -> Service:
        if self.service is None:
            raise Refusal(refusals.NOT_ENROLLED, "it is not in service yet")
        return self.service

    def _exported(self) -> bytes:
        identity = self.standing.identity
        if identity is None:
            raise Refusal(refusals.NOT_ENROLLED, "its ledger begins with its enrolment")
        return export(self._store, identity.device_id)

    def _unenrolled(self) -> dict[str, Any]:
        return {
            "device": "",
            "life": self.standing.life.value,
            "state": self.health.state,
            "connected": False,
            "attestation": None,
            "update": None,
            "consent": None,
            "problems": [vars(problem) for problem in self.health],
        }

    async def _enrol(self) -> DeviceIdentity:
        self._trusted.check_enrolment(self._around.clock.now().ms // 1000)
        links = self._around.links
        transport = links.enrolment()
        watching = asyncio.create_task(watch_link(transport, self.health))
        try:
            return await enrol(transport, self._enrollee, self._worker, self._keep, links.bootstrap_name(), self.health)
        finally:
            watching.cancel()
            await transport.close()

    def _keep(self, identity: DeviceIdentity) -> None:
        """The certificate first: an identity on the disk means that all of it is, and the ledger's first entry."""
        self._around.credentials.install(identity.client_chain)
        tpm, change = self._around.tpm, self.standing.enrolled(identity)
        key = load_ldevid(tpm, CreatedKey(identity.ldevid_public, identity.ldevid_private))
        try:
            around = Circumstances("enrolment authority", identity.accountable_owner, {"answer": identity.answer})
            row = self._pen(identity, key).entry(0, change, around)
        finally:
            tpm.flush(key)
        self._store.commit(Commit(change.values, row))

    def _pen(self, identity: DeviceIdentity, key: KeyHandle) -> Pen:
        """What signs ledger entries in this boot. Blocking."""
        tpm = self._around.tpm
        author = Author(identity.device_id, identity.ueid)
        boot = boot_name(tpm.read_clock())
        return Pen(TpmSigner(tpm, key, identity.ldevid_public), author, self._around.clock, boot)

    async def _check_ownership(self) -> None:
        """Power may go between keeping the identity and taking the TPM; the authorisations are in the escrow only."""
        if not await self._worker.run(self._around.tpm.ownership_taken):
            detail = "nobody owns the TPM, so that whoever gets at it may redefine its indexes"
            remedy = "have the accountable owner set the owner and lockout authorisations of this device's escrow"
            fault = TpmFault("tpm-unowned", detail, remedy=remedy)
            log.warning("%s", fault)
            self.health.report("tpm", fault)

    def _updater(
        self, identity: DeviceIdentity, reporter: Reporter, recorder: Recorder, attester: Attester
    ) -> Updating | None:
        parts, around, attesting = self._around.updates, self._around, self.attesting
        if parts is None or attesting is None:
            return None
        updating = UpdateAssembly(
            around,
            parts,
            self._worker,
            identity,
            self.standing,
            self._store,
            self.health,
            recorder,
            reporter,
            attesting.evidence,
            attester.boot_count,
        ).updating()
        attesting.listeners.append(updating.judged)
        return updating

    def attester(self, identity: DeviceIdentity, keys: AttestationKeys, ledger: LedgerSource | None = None) -> Attester:
        """What makes evidence with this identity's keys. Blocking; raises TpmFault."""
        hardware = self._hardware
        description = Description(
            ueid=identity.ueid,
            client_key_thumbprint=key_thumbprint(self._around.credentials.client_key()),
            oem_id=hardware.oem_id,
            hw_model=hardware.model.encode(),
            hw_version=hardware.hw_version,
            sw_name=hardware.sw_name,
            sw_version=hardware.sw_version,
        )
        around = self._around

        def update_state() -> str | None:
            record = self.standing.update
            return record.state if record else None

        def suit_report(nonce: bytes) -> bytes | None:
            report = self.standing.suit_report
            return replace(report, nonce=nonce).encode() if report else None

        return Attester(
            around.tpm, around.logs, around.clock, keys, description,
            ledger=ledger, update_state=update_state, suit_report=suit_report,
        )  # fmt: skip


async def _until(ended: asyncio.Event, serving: Coroutine[None, None, None]) -> None:
    """Serve until `ended`, then let the service take its leave; what it raises is raised here.

    However often this is cancelled, the service has ended when it does: the TPM that it uses is closed next.
    """
    service, waiting = asyncio.create_task(serving), asyncio.create_task(ended.wait())
    try:
        await asyncio.wait([service, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        service.cancel()
        waiting.cancel()
        await outlast(service, waiting)
    if not service.cancelled():
        service.result()


def _challenge(args: Mapping[str, Any]) -> tuple[bytes, str]:
    try:
        nonce, appraiser = bytes.fromhex(args["nonce"]), args["appraiser"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("call-malformed", "attest needs a nonce in hex and an appraiser") from error
    if len(nonce) not in NONCE_SIZES or not isinstance(appraiser, str):
        raise InputError("call-malformed", "attest needs a nonce of 8 to 64 bytes and an appraiser's name")
    return nonce, appraiser


def _place(args: Mapping[str, Any]) -> str:
    """The base URL of the directory that a user names, or nothing."""
    path = args.get("from", "")
    if not isinstance(path, str) or (path and not path.startswith("/")) or not path.isprintable():
        raise InputError("call-malformed", "update takes the absolute path of a directory")
    return folder_url(path) if path else ""
