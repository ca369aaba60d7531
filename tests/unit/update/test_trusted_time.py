from __future__ import annotations

import pytest

from medvouch.ports import Timestamp
from medvouch.update.trusted_time import trusted_now


@pytest.mark.parametrize(
    ("wall", "floor", "now"),
    [
        (Timestamp(2_000_999, True), 1_000, 2_000),
        (Timestamp(999_000, True), 1_000, 1_000),
        (Timestamp(2_000_000, False), 1_000, 1_000),
        (Timestamp(0, False), 1_000, 1_000),
    ],
)
def test_time_never_falls_below_the_floor_and_an_unbelieved_clock_says_nothing(
    wall: Timestamp, floor: int, now: int
) -> None:
    assert trusted_now(wall, floor) == now
