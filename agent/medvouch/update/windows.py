"""When a restart suits: maintenance windows by day of the week and hour, in the time zone of who wrote them.

    windows = "Mon-Fri 02:00-04:00", "Sun 00:00-24:00", "Sat 22:00-02:00" (until Sunday, two o'clock)

Hours are those of the wall clock. A time that it leaves out where it is put forward counts as the same time an hour
later, so that `02:00-03:00` is empty on that day; of a time that it has twice where it is put back, the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Self

from medvouch.errors import InputError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MAX_WINDOWS = 32
AHEAD_DAYS = 15
"""In which each window opens twice, so at least once where a change of the clock leaves one out."""
LAST = 253_370_764_800
"""The beginning of the last year that there are dates for, 9999 (s since 1970)."""
_MINUTES_A_DAY = 24 * 60
_DAY = "|".join(DAYS)
_FORM = re.compile(rf"({_DAY})(?:-({_DAY}))? ([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")


@dataclass(frozen=True)
class Window:
    """The `days` on which it begins (0: Monday), and minutes since midnight; it `ends` within a day."""

    days: frozenset[int]
    begins: int
    ends: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`DAY[-DAY] HH:MM-HH:MM`; an end that is not later is the next day's. Raises InputError `window-malformed`."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise _malformed(text)
        first, last = DAYS.index(found[1]), DAYS.index(found[2] or found[1])
        begins, ends = (60 * int(found[hour]) + int(found[hour + 1]) for hour in (3, 5))
        if begins == ends or ends > _MINUTES_A_DAY:
            raise _malformed(text)
        days = frozenset((first + day) % 7 for day in range((last - first) % 7 + 1))
        return cls(days, begins, ends if ends > begins else ends + _MINUTES_A_DAY)


def _malformed(text: str) -> InputError:
    return InputError("window-malformed", f"{text[:64]!r} is not like 'Mon-Fri 02:00-04:00'")


@dataclass(frozen=True)
class Windows:
    """All of them, and the `texts` that they were written as; none at all: it suits always."""

    windows: tuple[Window, ...] = ()
    zone: tzinfo = UTC
    texts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str], zone: tzinfo = UTC) -> Self:
        """Raises InputError `window-malformed`, `window-limit`."""
        texts = tuple(texts)
        windows = tuple(Window.parse(text) for text in texts)
        if len(windows) > MAX_WINDOWS:
            raise InputError("window-limit", f"{len(windows)} where at most {MAX_WINDOWS} are allowed")
        return cls(windows, zone, texts)

    def __str__(self) -> str:
        return f"{', '.join(self.texts)} ({self.zone})"

    def opening(self, now: int) -> int:
        """When they are open from `now` on (s since 1970): `now` itself where they are."""
        if not self.windows or now >= LAST:
            return now
        return min(max(begins, now) for begins, ends in self._openings(now) if begins < ends and now < ends)

    def _openings(self, now: int) -> Iterator[tuple[int, int]]:
        """Beginning and end of each that is under way or comes in the next days."""
        today = datetime.fromtimestamp(now, self.zone).date()
        for day in (today + timedelta(days=number) for number in range(-1, AHEAD_DAYS)):
            for window in self.windows:
                if day.weekday() in window.days:
                    yield self._instant(day, window.begins), self._instant(day, window.ends)

    def _instant(self, day: date, minutes: int) -> int:
        days, rest = divmod(minutes, _MINUTES_A_DAY)
        told = datetime.combine(day + timedelta(days=days), time(rest // 60, rest % 60), self.zone)
        return int(told.timestamp())
