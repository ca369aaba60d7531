"""The time that expiry is judged at (DESIGN §7): it never falls below what is known to have passed."""

from __future__ import annotations

from medvouch.ports import Timestamp


def trusted_now(wall: Timestamp, floor: int) -> int:
    """Seconds since 1970: the later of the wall clock and `floor`; `floor` alone where the clock is not believed.

    `floor` is the latest of the build date and the times that verified TUF timestamps and EARs testify. A TUF
    timestamp testifies when it was issued (`Repository.testified_time`); its expiry says nothing of the present.
    """
    return max(wall.ms // 1000, floor) if wall.ok else floor
