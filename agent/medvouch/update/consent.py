"""The user's say in updates (CRA, Annex I, part I, 2(c)), as tables: what may be wished, and what that holds up.

Updates come by themselves unless somebody says otherwise. Who opts out is told of releases and gets none; who postpones
gets it later, within the limit that the director signed; maintenance windows and a busy clinical workload hold up what
would interrupt. A way out of quarantine is held up by the workload alone, and so is what somebody wants at once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from medvouch.errors import Refusal
from medvouch.formats import consent as wishes
from medvouch.formats.consent import ConsentRecord
from medvouch.formats.directive import RECOVERY, UPDATE
from medvouch.update import refusals
from medvouch.update.transitions import Update
from medvouch.update.windows import Windows


class Wish(enum.StrEnum):
    """What the user wants of updates."""

    AUTOMATIC = wishes.AUTOMATIC
    """They come by themselves."""
    OPTED_OUT = wishes.OPTED_OUT
    """They are told of, and nothing is fetched."""
    POSTPONED = wishes.POSTPONED
    """They are fetched, and not started before a date."""


class Cause(enum.StrEnum):
    """What changes a wish."""

    OPT_IN = "opt-in"
    OPT_OUT = "opt-out"
    POSTPONE = "postpone"
    INSTALL_NOW = "install-now"
    """This release, at once; who has opted out stays so for the next one."""
    LAPSE = "lapse"
    """A postponement has come to its end, or to its limit."""


TRANSITIONS: dict[tuple[Wish, Cause], Wish] = {
    (Wish.AUTOMATIC, Cause.OPT_IN): Wish.AUTOMATIC,
    (Wish.AUTOMATIC, Cause.OPT_OUT): Wish.OPTED_OUT,
    (Wish.AUTOMATIC, Cause.POSTPONE): Wish.POSTPONED,
    (Wish.AUTOMATIC, Cause.INSTALL_NOW): Wish.AUTOMATIC,
    (Wish.OPTED_OUT, Cause.OPT_IN): Wish.AUTOMATIC,
    (Wish.OPTED_OUT, Cause.OPT_OUT): Wish.OPTED_OUT,
    (Wish.OPTED_OUT, Cause.INSTALL_NOW): Wish.OPTED_OUT,
    (Wish.POSTPONED, Cause.OPT_IN): Wish.AUTOMATIC,
    (Wish.POSTPONED, Cause.OPT_OUT): Wish.OPTED_OUT,
    (Wish.POSTPONED, Cause.POSTPONE): Wish.POSTPONED,
    (Wish.POSTPONED, Cause.INSTALL_NOW): Wish.AUTOMATIC,
    (Wish.POSTPONED, Cause.LAPSE): Wish.AUTOMATIC,
}
WAITING: Mapping[Cause, frozenset[Update]] = {
    Cause.POSTPONE: frozenset({Update.NOTIFIED, Update.STAGED}),
    Cause.INSTALL_NOW: frozenset({Update.NOTIFIED, Update.STAGED, Update.ACTIVATED}),
}
"""What is said of one release, and how far that may have come."""


def advance(wish: Wish, cause: Cause) -> Wish:
    """The wish that follows; Refusal `consent-not-allowed` where the table has no such row."""
    try:
        return TRANSITIONS[wish, cause]
    except KeyError:
        detail = f"no transition {cause.value!r} from {wish.value!r}"
        raise Refusal(refusals.CONSENT_NOT_ALLOWED, detail) from None


@dataclass(frozen=True)
class Directed:
    """A release that the device was sent to, and how far it has come; `manifest`: SHA-256 of its envelope.

    `purpose` and `defer_until` (s since 1970, 0: not at all) are those of its directive.
    """

    state: Update
    manifest: bytes
    purpose: str = UPDATE
    defer_until: int = 0

    @property
    def deferrable_until(self) -> int:
        """Until when it may be put off as it stands now (s since 1970), 0: not at all; nobody puts off a way out."""
        return self.defer_until if self.purpose != RECOVERY and self.state in WAITING[Cause.POSTPONE] else 0


def changed(now: ConsentRecord, cause: Cause, until: int, release: Directed | None, at: int) -> ConsentRecord:
    """The wish after somebody said so at a time (s since 1970); `until` of a postponement.

    Raises Refusal `consent-not-allowed`, `update-not-waiting`, `postpone-*`.
    """
    wish = advance(Wish(now.wish), cause)
    if cause not in WAITING:
        return ConsentRecord(wish)
    if release is None or release.state not in WAITING[cause]:
        raise Refusal(refusals.UPDATE_NOT_WAITING, f"it is {release.state.value if release else 'none'}")
    if cause is Cause.INSTALL_NOW:
        return ConsentRecord(wish, release=release.manifest)
    _check_postponement(until, release, at)
    return ConsentRecord(wish, until)


def _check_postponement(until: int, release: Directed, at: int) -> None:
    if not release.deferrable_until:
        detail = f"its directive, for {release.purpose!r}, has no date to put it off to"
        raise Refusal(refusals.POSTPONE_NOT_ALLOWED, detail)
    if until > release.defer_until:
        detail = f"until {until}, where its directive says {release.defer_until} at most (s since 1970)"
        raise Refusal(refusals.POSTPONE_BEYOND_LIMIT, detail)
    if until <= at:
        raise Refusal(refusals.POSTPONE_NOT_AHEAD, f"until {until}, where it is {at} (s since 1970)")


def lapsed(consent: ConsentRecord, release: Directed | None, now: int) -> bool:
    """Whether a postponement is over: its date has come, or the limit of the release that waits."""
    bound = release is not None and release.purpose != RECOVERY and release.state in WAITING[Cause.POSTPONE]
    end = min(consent.until, release.defer_until) if release and bound else consent.until
    return consent.wish == Wish.POSTPONED and now >= end


# --- what is held up -------------------------------------------------------------------------------------------------


class Reason(enum.StrEnum):
    """Why something waits; stable codes, the first that holds is told."""

    OPTED_OUT = "opted-out"
    POSTPONED = "postponed"
    CLOCK = "clock-not-trusted"
    """There are windows, and nobody can say whether one is open."""
    WINDOW = "window-closed"
    BUSY = "busy"


HOLDERS: Mapping[Reason, str] = {
    Reason.OPTED_OUT: "user",
    Reason.POSTPONED: "user",
    Reason.CLOCK: "agent",
    Reason.WINDOW: "configuration",
    Reason.BUSY: "workload",
}
"""Who keeps an update waiting, as the ledger says it."""

_INTERRUPTION = frozenset({Reason.BUSY})
_RESTART = _INTERRUPTION | {Reason.CLOCK, Reason.WINDOW}
HELD: Mapping[Update, frozenset[Reason]] = {
    Update.NOTIFIED: frozenset({Reason.OPTED_OUT}),
    Update.STAGED: frozenset(Reason),
    Update.ACTIVATED: _RESTART,
}
"""What may hold the next step of an update that has come so far: to be fetched, to be armed, to be started.

In every other state the only step is the restart out of a slot that failed.
"""


@dataclass(frozen=True)
class Hold:
    """What is waited for; `until` in seconds since 1970, 0 where nobody can say."""

    reason: Reason
    until: int = 0


@dataclass(frozen=True)
class Situation:
    """All that counts; `now` is trusted time (s since 1970), `sure`: the clock is believed."""

    release: Directed
    consent: ConsentRecord
    now: int
    sure: bool
    windows: Windows = field(default_factory=Windows)
    busy: bool = False


def interrupts(state: Update) -> bool:
    """Whether the next step would, so that the hook has to be asked."""
    return Reason.BUSY in HELD.get(state, _INTERRUPTION)


def decide(around: Situation) -> Hold | None:
    """Go on (None), or wait."""
    release = around.release
    may = HELD.get(release.state, _INTERRUPTION)
    if release.purpose == RECOVERY or around.consent.release == release.manifest:
        may &= _INTERRUPTION
    for reason, find in _FINDERS.items():
        if reason in may and (until := find(around)) is not None:
            return Hold(reason, until)
    return None


def _opted_out(around: Situation) -> int | None:
    return 0 if around.consent.wish == Wish.OPTED_OUT else None


def _postponed(around: Situation) -> int | None:
    until = min(around.consent.until, around.release.defer_until)
    return until if around.consent.wish == Wish.POSTPONED and around.now < until else None


def _clock(around: Situation) -> int | None:
    return 0 if around.windows.windows and not around.sure else None


def _window(around: Situation) -> int | None:
    opening = around.windows.opening(around.now)
    return opening if opening > around.now else None


def _busy(around: Situation) -> int | None:
    return 0 if around.busy else None


_FINDERS: Mapping[Reason, Callable[[Situation], int | None]] = {
    Reason.OPTED_OUT: _opted_out,
    Reason.POSTPONED: _postponed,
    Reason.CLOCK: _clock,
    Reason.WINDOW: _window,
    Reason.BUSY: _busy,
}
"""Until when each holds, None where it does not."""
