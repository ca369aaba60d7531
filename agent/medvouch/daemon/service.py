"""A device in service: it announces itself, answers commands, takes verdicts home and reports how it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from medvouch import __version__
from medvouch.daemon.attesting import AttestingService, summary
from medvouch.daemon.commanding import CommandDesk
from medvouch.daemon.consenting import Order
from medvouch.daemon.data_key import DATA_KEY
from medvouch.daemon.health import Health
from medvouch.daemon.link import watch_link
from medvouch.daemon.recording import Circumstances, Recorder
from medvouch.daemon.refusals import COMMAND_MALFORMED, UPDATES_OFF
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import Standing
from medvouch.daemon.storage import WatchedStore
from medvouch.daemon.surroundings import Hardware
from medvouch.daemon.update_state import summary as update_summary
from medvouch.daemon.updating import Updating
from medvouch.errors import InputError, MedvouchError, Refusal, StorageFault
from medvouch.formats.eat import NONCE_SIZES
from medvouch.formats.ledger import Attachments
from medvouch.messages import topics
from medvouch.messages.commands import VerifiedCommand
from medvouch.messages.payloads import Fields
from medvouch.ports import Message, Transport

log = logging.getLogger(__name__)

MAX_OWNER_LENGTH = 200
LEAVE_S = 3.0
"""How long the broker may take for the last messages when the agent stops."""


class Service:
    """The tasks of a device in service; `run` ends only when it is cancelled."""

    def __init__(
        self,
        device: str,
        hardware: Hardware,
        transport: Transport,
        standing: Standing,
        reporter: Reporter,
        attesting: AttestingService,
        health: Health,
        store: WatchedStore,
        recorder: Recorder,
        updating: Updating | None,
        new_data_key: Callable[[], Awaitable[bytes]],
    ) -> None:
        self._device = device
        self._hardware = hardware
        self._transport = transport
        self._standing = standing
        self._reporter = reporter
        self._attesting = attesting
        self._health = health
        self._store = store
        self._recorder = recorder
        self._updating = updating
        self._new_data_key = new_data_key

    @property
    def connected(self) -> bool:
        """Whether the session with the broker stands."""
        return self._transport.connected

    @property
    def transport(self) -> Transport:
        """The session with the broker."""
        return self._transport

    async def run(self, desk: CommandDesk) -> None:
        """Serve until cancelled, then publish what is queued and say goodbye. Each boot begins with a checkpoint."""
        await self._recorder.checkpoint()
        if self._updating:
            await self._updating.settle()
        await self._transport.start([topics.commands(self._device), topics.results(self._device)])
        publishing = asyncio.create_task(self._reporter.run(self._transport))
        try:
            await self._serve(desk, publishing)
        finally:
            await self._leave()
            publishing.cancel()

    async def _serve(self, desk: CommandDesk, publishing: asyncio.Task[None]) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_ended(publishing))
                tasks.create_task(self._report_health())
                tasks.create_task(self._receive(desk))
                tasks.create_task(watch_link(self._transport, self._health))
                tasks.create_task(self._store.recover())
                if self._updating:
                    tasks.create_task(self._updating.run())
                await self.announce()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _leave(self) -> None:
        if self._transport.connected:
            with suppress(TimeoutError, StorageFault):
                async with asyncio.timeout(LEAVE_S):
                    await self._reporter.status("offline")
                    await self._reporter.flushed()

    async def announce(self) -> None:
        """Publish the retained states."""
        await self._reporter.status("online")
        await self._reporter.state("identity", self.identity_fields())
        await self._reporter.state("config", {"agent_version": __version__, "sw_version": self._hardware.sw_version})
        await self._reporter.state("health", self.health_fields())
        if self._updating is not None:
            await self._reporter.state("update", self._updating.consent.holding.state())

    def identity_fields(self) -> Fields:
        """Who the device is, and who answers for it."""
        return {
            "life": self._standing.life.value,
            "owner": self._standing.owner,
            "security_epoch": self._standing.security_epoch,
            "model": self._hardware.model,
            "serial": self._hardware.serial,
            "hw_version": self._hardware.hw_version,
            "sw_name": self._hardware.sw_name,
            "sw_version": self._hardware.sw_version,
        }

    def health_fields(self) -> Fields:
        """`state`, and the first problem with what to do."""
        problems = list(self._health)
        first = problems[0] if problems else None
        return {
            "state": self._health.state,
            "problems": len(problems),
            "component": first.component if first else None,
            "code": first.code if first else None,
            "detail": first.detail if first else None,
            "remedy": first.remedy if first else None,
        }

    def status(self) -> dict[str, object]:
        """All that `medvouch status` shows."""
        verdict = self._standing.last_verdict
        return {
            "device": self._device,
            **self.identity_fields(),
            "state": self._health.state,
            "connected": self._transport.connected,
            "attestation": summary(verdict) if verdict else None,
            "update": self._told_of_update(),
            "consent": self._updating.consent.holding.fields() if self._updating else None,
            "problems": [vars(problem) for problem in self._health],
        }

    def _told_of_update(self) -> Fields | None:
        update, progress = self._standing.update, self._updating.progress if self._updating else {}
        return {**update_summary(update), **progress} if update else None

    async def attest(self, command: VerifiedCommand) -> Fields:
        """`cmd/attest`: args `nonce` (bytes, 8 to 64), `appraiser` (text), and `ledger`, its size as known, or none."""
        nonce, appraiser = command.args.get("nonce"), command.args.get("appraiser")
        since = command.args.get("ledger", 0)
        if not isinstance(nonce, bytes) or not isinstance(appraiser, str) or len(nonce) not in NONCE_SIZES:
            raise Refusal(COMMAND_MALFORMED, "attest needs a nonce of 8 to 64 bytes and the appraiser's name")
        if type(since) is not int or since < 0:
            raise Refusal(COMMAND_MALFORMED, "attest takes the size of the ledger as a number")
        await self._attesting.challenged(nonce, appraiser, since)
        return {"nonce": nonce.hex()}

    async def commission(self, command: VerifiedCommand) -> Fields:
        """`cmd/commission`: arg `owner` (text), the accountable owner."""
        owner = command.args.get("owner")
        if not isinstance(owner, str) or not 0 < len(owner) <= MAX_OWNER_LENGTH:
            raise Refusal(COMMAND_MALFORMED, f"commission needs an owner of 1 to {MAX_OWNER_LENGTH} characters")
        change = self._standing.commissioned(owner).with_values({DATA_KEY: await self._new_data_key()})
        after = {**self.identity_fields(), "life": change.transition.after, "owner": owner}
        messages = [
            self._reporter.event_message("commissioned", {"owner": owner}),
            self._reporter.state_message("identity", after),
        ]
        around = Circumstances("commander", owner, {"command": command.data})
        await self._recorder.record(change, around, messages, checkpoint=True)
        return {"owner": owner}

    async def update(self, command: VerifiedCommand) -> Fields:  # noqa: ARG002 - it says nothing but its name
        """`cmd/update`: look for an update now. What comes of it is told on `event/update` and `event/update-*`."""
        return {"state": self.look_for_update()["state"]}

    def look_for_update(self, only: str = "") -> Fields:
        """How the update stands before the look that this asks for, `only` at this place; Refusal `updates-off`."""
        self._updates.nudge(only)
        return update_summary(self._standing.update)

    @property
    def _updates(self) -> Updating:
        if self._updating is None:
            raise Refusal(UPDATES_OFF, "no repository is configured")
        return self._updating

    async def consent(self, command: VerifiedCommand) -> Fields:
        """`cmd/consent`: args `cause` (opt-in, opt-out, postpone or install-now), and of a postponement `until` (s)."""
        try:
            order = Order.parse(command.args)
        except InputError as error:
            raise Refusal(COMMAND_MALFORMED, error.detail) from error
        return await self.wished(order, "commander", attachments={"command": command.data})

    def consent_status(self) -> Fields:
        """What the user wants of updates, what waits for what, and how far it has come; Refusal `updates-off`."""
        return {**self._updates.consent.status(), **self._updates.progress}

    async def wished(
        self, order: Order, actor: str, *, only: str = "", attachments: Attachments | None = None
    ) -> Fields:
        """Record what somebody wants of updates, and go on accordingly, `only` from this place.

        Raises Refusal `updates-off`, and what `Consent.change` does.
        """
        updating = self._updates
        fields = await updating.consent.change(order, actor, attachments)
        updating.nudge(only)
        return fields

    async def _receive(self, desk: CommandDesk) -> None:
        async for message in self._transport.messages():
            try:
                await self._dispatch(message, desk)
            except MedvouchError as error:  # a message that is none, or storage: the store has told health of that
                log.warning("%s: %s", message.topic, error)

    async def _dispatch(self, message: Message, desk: CommandDesk) -> None:
        if message.topic == topics.SESSION:
            await self._session_changed(message.payload.decode())
            return
        topic = topics.parse(message.topic)
        if isinstance(topic, topics.Command):
            await desk.take(topic.name, topic.id, message.payload)
        elif isinstance(topic, topics.Result):
            await self._attesting.verdict(topic.nonce, message.payload)

    async def _session_changed(self, change: str) -> None:
        if change == "connected":
            await self._reporter.status("online")
        elif change == "taken-over":
            detail = "another client connected with this device's certificate"
            log.warning("session-taken-over: %s", detail)
            await self._reporter.event("session-taken-over", {"code": "session-taken-over", "detail": detail})

    async def _report_health(self) -> None:
        while True:
            await self._health.changed.wait()
            self._health.changed.clear()
            with suppress(StorageFault):  # once that is over, health changes again
                await self._reporter.state("health", self.health_fields())


async def _ended(task: asyncio.Task[None]) -> None:
    """Shares the fate of a task that lives longer than whoever waits here."""
    await asyncio.shield(task)
