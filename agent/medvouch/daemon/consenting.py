"""The user's say in updates (CRA, Annex I, part I, 2(c)): each wish an entry of the ledger, with who wished it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medvouch.daemon.holding import Holding
from medvouch.daemon.recording import Circumstances, Recorder
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import CONSENT_KEY, DIRECTIVE_KEY, Change, Standing
from medvouch.errors import InputError
from medvouch.formats.consent import ConsentRecord
from medvouch.formats.ledger import Attachments, Transition
from medvouch.messages.payloads import Fields
from medvouch.update.consent import WAITING, Cause, Directed, changed, lapsed

MACHINE = "consent"
MAX_TIME = 2**63 - 1
SAID = tuple(cause for cause in Cause if cause is not Cause.LAPSE)
"""What somebody can say; the other comes by itself."""


@dataclass(frozen=True)
class Order:
    """What somebody wants; `until` of a postponement (s since 1970)."""

    cause: Cause
    until: int = 0

    @classmethod
    def parse(cls, args: Mapping[str, Any]) -> Order:
        """From `cause` and, for a postponement, `until`. Raises InputError `call-malformed`."""
        cause, until = args.get("cause"), args.get("until", 0)
        if cause not in SAID:
            raise InputError("call-malformed", "consent takes opt-in, opt-out, postpone or install-now as its cause")
        if type(until) is not int or not 0 <= until <= MAX_TIME or bool(until) != (cause == Cause.POSTPONE):
            raise InputError(
                "call-malformed", "postpone, and nothing else, takes a time in seconds since 1970 as until"
            )
        return cls(Cause(cause), until)


@dataclass
class Consent:
    """What the user of this device wants of updates; `holding` is what comes of it.

    Nothing changes while somebody has `lock`.
    """

    standing: Standing
    recorder: Recorder
    reporter: Reporter
    holding: Holding
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def status(self) -> Fields:
        """`state/update`, and until when the release that waits may be put off."""
        release = self.holding.release
        return {**self.holding.state(), "defer_until": (release.deferrable_until or None) if release else None}

    async def change(self, order: Order, actor: str, attachments: Attachments | None = None) -> Fields:
        """Record what `actor` wants. Raises Refusal `consent-not-allowed`, `update-not-waiting`, `postpone-*`."""
        async with self.lock:
            await self._record(order, actor, attachments or {})
            return self.status()

    async def lapse(self) -> None:
        """Record that a postponement has come to its end, where it has."""
        async with self.lock:
            if lapsed(self.standing.consent, self.holding.release, self.holding.time.now()):
                await self._record(Order(Cause.LAPSE), "agent", {})

    async def _record(self, order: Order, actor: str, attachments: Attachments) -> None:
        before, release = self.standing.consent, self.holding.release
        after = changed(before, order.cause, order.until, release, self.holding.time.now())
        about = release if release and release.state in WAITING[Cause.INSTALL_NOW] else None
        around = Circumstances(
            actor=actor,
            owner=self.standing.owner,
            attachments={**attachments, **self._limit(about)},
            named={"envelope": about.manifest} if about else {},
            detail=f"until {after.until} (s since 1970)" if after.until else "",
        )
        fields = {"wish": after.wish, "until": after.until or None, "cause": order.cause.value, "actor": actor}
        message = self.reporter.event_message("consent", fields)
        await self.recorder.record(_change(before, after, order.cause), around, [message], checkpoint=True)
        await self.holding.note(self.holding.wished(after), news=True)

    def _limit(self, about: Directed | None) -> dict[str, bytes]:
        """The directive of the release that waits, which says how far that may be put off."""
        directive = self.standing.directive
        return {"directive": directive.encode()} if about and directive and directive.digest == about.manifest else {}

    async def directed(self, directive: bytes) -> None:
        """The release under way was directed again, with another limit perhaps."""
        last = self.standing.directive
        if last is None or last.encode() != directive:
            await self.recorder.keep({DIRECTIVE_KEY: directive}, [])


def _change(before: ConsentRecord, after: ConsentRecord, cause: Cause) -> Change:
    return Change(Transition(MACHINE, before.wish, after.wish, cause), {CONSENT_KEY: after.encode()})
