"""Real-time clocks that are wrong."""

from __future__ import annotations

from medvouch.adapters.system import SystemClock
from medvouch.ports import Timestamp

TEN_YEARS_MS = 3653 * 86_400_000


class WrongClock(SystemClock):
    """The host's clock, `off_ms` fast (slow where that is negative); `sure`: it claims to be right."""

    def __init__(self, off_ms: int, *, sure: bool) -> None:
        self._off_ms = off_ms
        self._sure = sure

    def now(self) -> Timestamp:
        """Wall clock."""
        return Timestamp(super().now().ms + self._off_ms, self._sure)
