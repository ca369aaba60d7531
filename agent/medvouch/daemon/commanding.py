"""Commands from the outside: signed by a role, for this device, in time, and run once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from medvouch.daemon import refusals
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import Standing
from medvouch.errors import MedvouchError, Refusal
from medvouch.lifecycle.life import Life
from medvouch.lifecycle.roles import TrustedRole
from medvouch.messages.commands import VerifiedCommand, verify_command
from medvouch.messages.payloads import Fields
from medvouch.ports import Clock, Store

log = logging.getLogger(__name__)

WHEN_FROZEN = ("attest", "sanitise")
"""What a device still does that is about to be decommissioned."""

Handler = Callable[[VerifiedCommand], Awaitable[Fields]]


class CommandDesk:
    """Checks each command and hands it to its handler; every outcome is answered on `res/{name}/{id}`."""

    def __init__(
        self,
        commander: TrustedRole,
        handlers: Mapping[str, Handler],
        device: str,
        reporter: Reporter,
        store: Store,
        clock: Clock,
        standing: Standing,
    ) -> None:
        self._commander = commander
        self._handlers = handlers
        self._device = device
        self._reporter = reporter
        self._store = store
        self._clock = clock
        self._standing = standing

    async def take(self, name: str, identifier: str, data: bytes) -> None:
        """Run what arrived on `cmd/{name}/{identifier}`; a refusal becomes event and answer, never an exception."""
        try:
            command = self._admit(name, identifier, data)
            fields = await self._handlers[name](command)
        except MedvouchError as error:
            log.warning("command %s: %s", name, error)
            refusal = {"outcome": "refused", "code": error.code, "detail": error.detail}
            await self._reporter.event("command-refused", {"command": name, "code": error.code, "detail": error.detail})
            await self._reporter.answer(name, identifier, refusal)
        else:
            await self._reporter.answer(name, identifier, {**fields, "outcome": "done"})

    def _admit(self, name: str, identifier: str, data: bytes) -> VerifiedCommand:
        now = self._clock.now().ms
        command = verify_command(data, self._commander.at(now // 1000), self._device, now)
        if (command.name, command.id) != (name, identifier):
            raise Refusal(refusals.COMMAND_MISADDRESSED, f"it is {command.name}/{command.id}")
        if name not in self._handlers:
            raise Refusal(refusals.COMMAND_UNKNOWN, f"there is no command {name!r}")
        if self._standing.life is Life.FROZEN and name not in WHEN_FROZEN:
            raise Refusal(refusals.DEVICE_FROZEN, f"no {name!r} any more")
        if not self._store.first_time("command", identifier):
            raise Refusal(refusals.COMMAND_REPLAYED, f"{identifier} was taken before")
        return command
