"""What holds an update up at the moment: the user's wish, a maintenance window, the clinical workload.

It is worked out anew whenever somebody asks, so also after a restart. `medvouch.update.consent` decides. Where it is
something else than before, that is an entry of the ledger; what ends it is the next entry of the update.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from medvouch.daemon.health import Health
from medvouch.daemon.recording import Circumstances, Recorder
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import HOLD_KEY, Change, Standing
from medvouch.daemon.trust_adoption import TrustedTime
from medvouch.daemon.update_state import summary
from medvouch.daemon.workload import Workload
from medvouch.errors import EnvironmentFault
from medvouch.formats.consent import ConsentRecord
from medvouch.formats.directive import Directive
from medvouch.formats.ledger import Transition
from medvouch.formats.update import UpdateRecord
from medvouch.messages.payloads import Fields
from medvouch.ports import Message
from medvouch.update.consent import HOLDERS, Directed, Hold, Reason, Situation, decide, interrupts
from medvouch.update.transitions import Update
from medvouch.update.windows import Windows

log = logging.getLogger(__name__)

COMPONENT = "maintenance-windows"
MACHINE = "hold"
ASK_AGAIN_S = 60.0
"""Until the workload is asked again, or the clock."""
_ASKED_AGAIN = frozenset({Reason.BUSY, Reason.CLOCK})


def directed(record: UpdateRecord, directive: Directive | None) -> Directed:
    """A release with what its directive says; without that nobody may put it off."""
    state = Update(record.state)
    if directive is None or directive.digest != record.manifest:
        return Directed(state, record.manifest)
    return Directed(state, record.manifest, directive.purpose, directive.defer_until)


@dataclass
class Holding:
    """Whether an update goes on; `reboot` asks for a restart of the machine and returns."""

    standing: Standing
    recorder: Recorder
    reporter: Reporter
    health: Health
    time: TrustedTime
    windows: Windows
    workload: Workload
    reboot: Callable[[], Awaitable[None]]
    _hold: Hold | None = None
    """What held the update up when that was last worked out."""
    _said: Reason | None = None
    """Why it waits, as it was last told."""

    @property
    def held(self) -> bool:
        """Whether something did."""
        return self._hold is not None

    @property
    def release(self) -> Directed | None:
        """The release of the update."""
        record = self.standing.update
        return directed(record, self.standing.directive) if record else None

    def patience(self) -> float:
        """Seconds until what holds may be over; infinite where only somebody's word ends it."""
        if self._hold is None:
            return math.inf
        if self._hold.reason in _ASKED_AGAIN:
            return ASK_AGAIN_S
        return max(self._hold.until - self.time.now(), 1) if self._hold.until else math.inf

    # --- working it out ----------------------------------------------------------------------------------------------

    async def holds(self) -> bool:
        """Whether the next step of the update has to wait. What for is told where that is news."""
        release = self.release
        if release is None:
            return False
        hold = self.foreseen(release, self.standing.consent)
        if hold is None and interrupts(release.state) and await self.workload.busy():
            hold = Hold(Reason.BUSY)
        await self.note(hold)
        return hold is not None

    def foreseen(self, release: Directed, consent: ConsentRecord) -> Hold | None:
        """As far as it can be told without asking the workload."""
        time = self.time
        return decide(Situation(release, consent, time.now(), time.clock.now().ok, self.windows))

    def wished(self, consent: ConsentRecord) -> Hold | None:
        """With another wish; a workload that was busy when it was last asked is so still."""
        release = self.release
        hold = self.foreseen(release, consent) if release else None
        return hold or (self._hold if self._hold and self._hold.reason is Reason.BUSY else None)

    def over(self) -> None:
        """The update has gone on: whatever held it up holds no more."""
        self._hold = self._said = None

    async def restart(self) -> None:
        """Restart the machine, unless that has to wait; who asked for it asks again after `patience`."""
        if not await self.holds():
            await self.reboot()

    # --- telling it --------------------------------------------------------------------------------------------------

    def state(self, record: UpdateRecord | None = None) -> Fields:
        """`state/update`: the update, or as `record` will be, the user's wish, and what holds it up.

        Times in seconds since 1970.
        """
        return {**summary(record or self.standing.update), **self.fields()}

    def fields(self) -> Fields:
        """The wish, and what holds the update up."""
        return _told(self.standing.consent, self._hold)

    async def note(self, hold: Hold | None, *, news: bool = False) -> None:
        """What holds from now on; it is told where it is another, or something else is `news`."""
        last, self._hold = self._hold, hold
        self._report_clock()
        if hold and hold.reason != self._said:
            log.info("the update waits: %s", hold.reason)
            await self._say(hold)
        self._said = hold.reason if hold else None
        if news or hold != last:
            await self.reporter.state("update", self.state())

    async def _say(self, hold: Hold) -> None:
        """In an event, and in the ledger where that has not got it; one that has ended gets nothing more."""
        event, record = self.reporter.event_message("update-held", self.state()), self.standing.update
        known, reason = self.standing.hold, hold.reason.value
        if record is None or known == (reason, record.manifest.hex()) or self.standing.closed:
            await self.recorder.keep({}, [event])
            return
        windows = [f"windows {self.windows}"] if hold.reason is Reason.WINDOW else []
        until = [f"until {hold.until} (s since 1970)"] if hold.until else []
        around = Circumstances(
            actor=HOLDERS[hold.reason],
            owner=self.standing.owner,
            named={"envelope": record.manifest},
            detail=", ".join(windows + until),
        )
        kept = {HOLD_KEY: f"{reason} {record.manifest.hex()}".encode()}
        await self.recorder.record(Change(Transition(MACHINE, known[0], reason, "wait"), kept), around, [event])

    def available(self, record: UpdateRecord, data: bytes) -> Message:
        """`event/update-available` of a release that was directed by these bytes, and whether it is going to wait."""
        directive, consent = Directive.parse(data), self.standing.consent
        release = Directed(Update.STAGED, record.manifest, directive.purpose, directive.defer_until)
        hold = self.foreseen(release, consent)
        fields = {
            "version": record.version,
            "sequence": record.sequence,
            "security_epoch": record.security_epoch,
            "purpose": directive.purpose,
            "defer_until": release.deferrable_until or None,
            "waits": hold is not None,
            **_told(consent, hold),
        }
        return self.reporter.event_message("update-available", fields)

    def _report_clock(self) -> None:
        """An update that waits for the clock may do so for ever: somebody has to know."""
        if self._hold is None or self._hold.reason is not Reason.CLOCK:
            self.health.clear(COMPONENT)
            return
        detail = "an update waits for a maintenance window, and the clock is not synchronised"
        remedy = "have it synchronised, or install the update with `medvouch update now`"
        self.health.report(COMPONENT, EnvironmentFault(Reason.CLOCK.value, detail, remedy=remedy))


def _told(consent: ConsentRecord, hold: Hold | None) -> Fields:
    return {
        "wish": consent.wish,
        "until": consent.until or None,
        "held_by": hold.reason.value if hold else None,
        "held_until": (hold.until or None) if hold else None,
    }
