"""What is known of a device's last verdict and last update: from its own ledger, or from what a collector keeps.

A verdict is an appraiser's. What state an update is in is the device's word, and stands here only to be told apart from
what is proven: that a release runs is known from a good verdict alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medvouch.assurance.bundle import VerifiedLife
from medvouch.assurance.lineage import Installation
from medvouch.formats.directive import Directive
from medvouch.formats.ear import Tier
from medvouch.update.transitions import Update

CONSENT = "consent"
"""The machine whose states are what the user of a device says to updates."""
HOLD = "hold"
"""The machine whose states are what holds an update up."""
QUARANTINING = (Tier.WARNING, Tier.CONTRAINDICATED)
INSTALLED = (Update.SELF_CHECKED, Update.CLOSED)
"""States of an update in which it is installed, as the device says."""


@dataclass(frozen=True)
class DeviceReport:
    """One device; times in s since 1970, 0 where there is none.

    `verdict` is the last one, from `judged_at`; `code` says why it is not affirming; `proven` is the version that it
    proved to run, or empty. `state`, `sequence` and `reason` are what the device last said of an update, at `said_at`;
    `directive` is the one that this update came of, where the source tells. `consent` is its user's. It was last heard
    of at `heard_at`.
    """

    verdict: Tier = Tier.NONE
    judged_at: int = 0
    code: str = ""
    proven: str = ""
    state: str = ""
    sequence: int = 0
    reason: str = ""
    said_at: int = 0
    directive: Directive | None = None
    consent: str = ""
    heard_at: int = 0

    @property
    def quarantined(self) -> str:
        """Why it is in quarantine, or nothing (DESIGN §8): a bad verdict, or an update that failed."""
        if self.verdict in QUARANTINING:
            return f"verdict {self.verdict.name.lower()}" + (f": {self.code}" if self.code else "")
        if self.state == Update.FAILED:
            return "update failed" + (f": {self.reason}" if self.reason else "")
        return ""


def report_of(life: VerifiedLife, installations: Sequence[Installation]) -> DeviceReport:
    """Out of a verified life and what `lineage.trace` says of it."""
    ear = life.verdicts[-1].ear if life.verdicts else None
    last = installations[-1] if installations else None
    signed = last.authorised if last else None
    return DeviceReport(
        verdict=ear.status if ear else Tier.NONE,
        judged_at=ear.issued_at if ear else 0,
        code=ear.reasons[0].code if ear and ear.reasons else "",
        proven=ear.release or "" if ear and ear.status is Tier.AFFIRMING else "",
        state=last.steps[-1].state if last else "",
        sequence=signed.sequence if signed else 0,
        reason=last.detail.partition(":")[0] if last and last.steps[-1].state == Update.FAILED else "",
        said_at=last.steps[-1].time_ms // 1000 if last and last.steps[-1].clock_ok else 0,
        directive=last.directive if last else None,
        consent=life.states.get(CONSENT, ""),
        heard_at=last_heard(life),
    )


def last_heard(life: VerifiedLife) -> int:
    """The latest time that its ledger shows: of an entry whose clock was synchronised, or of a verdict."""
    said = [entry.statement for entry in life.entries]
    times = [each.time_ms // 1000 for each in said if each.time_source == "clock"]
    return max([*times, *(verdict.ear.issued_at for verdict in life.verdicts)], default=0)
