"""Maintenance windows: what may be written, and when they are open, also on the days that have no 24 hours."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.update.windows import LAST, MAX_WINDOWS, Window, Windows
from support.refusing import assert_input_refused

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: tzinfo = UTC) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


def opening(window: str, now: str, zone: tzinfo = UTC) -> str:
    """When a window opens from a time on, both by the clock of the zone."""
    found = Windows.parse([window], zone).opening(at(now, zone))
    return f"{datetime.fromtimestamp(found, zone):%a %d %H:%M}"


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("Sun 00:00-24:00", Window(frozenset({6}), 0, 1440)),
        ("Mon-Fri 02:00-04:30", Window(frozenset(range(5)), 120, 270)),
        ("Fri-Mon 22:00-02:00", Window(frozenset({4, 5, 6, 0}), 1320, 1560)),
        ("Wed-Wed 23:59-00:00", Window(frozenset({2}), 1439, 1440)),
    ],
)
def test_what_may_be_written(text: str, window: Window) -> None:
    assert Window.parse(text) == window


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mon",
        "mon 02:00-04:00",
        "Mon,Tue 02:00-04:00",
        "Mon-Tue-Wed 02:00-04:00",
        "Mon 2:00-04:00",
        "Mon 02:00",
        "Mon 24:00-02:00",
        "Mon 02:00-24:01",
        "Mon 02:00-25:00",
        "Mon 02:60-04:00",
        "Mon 02:00-02:00",
        "Mon 02:00-04:00 ",
        "Mon 02:00-04:00\n",
        "Mon \u0660\u0662:\u0660\u0660-04:00",
    ],
)
def test_what_may_not(text: str) -> None:
    assert_input_refused("window-malformed", Window.parse, text)


def test_not_too_many() -> None:
    assert len(Windows.parse(["Mon 02:00-04:00"] * MAX_WINDOWS).windows) == MAX_WINDOWS
    assert_input_refused("window-limit", Windows.parse, ["Mon 02:00-04:00"] * (MAX_WINDOWS + 1))


@given(st.text(max_size=24))
def test_any_text(text: str) -> None:
    with suppress(InputError):
        Windows.parse([text]).opening(0)


def test_without_any_it_suits_always() -> None:
    assert Windows().opening(at("2026-12-01T12:00")) == at("2026-12-01T12:00")


# 1 December 2026 is a Tuesday.
@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        ("Mon-Fri 02:00-04:00", "2026-12-01T01:59", "Tue 01 02:00"),
        ("Mon-Fri 02:00-04:00", "2026-12-01T02:00", "Tue 01 02:00"),
        ("Mon-Fri 02:00-04:00", "2026-12-01T03:59", "Tue 01 03:59"),
        ("Mon-Fri 02:00-04:00", "2026-12-01T04:00", "Wed 02 02:00"),
        ("Mon-Fri 02:00-04:00", "2026-12-04T04:00", "Mon 07 02:00"),
        ("Tue 02:00-04:00", "2026-12-01T04:00", "Tue 08 02:00"),
        ("Sun 00:00-24:00", "2026-12-05T23:59", "Sun 06 00:00"),
        ("Sun 00:00-24:00", "2026-12-06T23:59", "Sun 06 23:59"),
        ("Sun 00:00-24:00", "2026-12-07T00:00", "Sun 13 00:00"),
        ("Mon 22:00-02:00", "2026-12-01T01:59", "Tue 01 01:59"),
        ("Mon 22:00-02:00", "2026-12-01T02:00", "Mon 07 22:00"),
        ("Sun-Mon 22:00-02:00", "2026-12-06T22:00", "Sun 06 22:00"),
        ("Tue 12:00-11:00", "2026-12-02T10:59", "Wed 02 10:59"),
    ],
)
def test_when_they_open(window: str, now: str, expected: str) -> None:
    assert opening(window, now) == expected


def test_the_first_of_several() -> None:
    windows = Windows.parse(["Sun 00:00-24:00", "Wed 05:00-06:00", "Wed 03:00-04:00"])
    assert windows.opening(at("2026-12-01T12:00")) == at("2026-12-02T03:00")


def test_they_are_told_as_they_were_written() -> None:
    assert str(Windows.parse(["Mon-Fri 02:00-04:00", "Sun 00:00-24:00"], BERLIN)) == (
        "Mon-Fri 02:00-04:00, Sun 00:00-24:00 (Europe/Berlin)"
    )


def test_hours_are_those_of_the_zone() -> None:
    windows = Windows.parse(["Mon-Sun 02:00-04:00"], BERLIN)
    assert windows.opening(at("2026-12-01T00:30")) == at("2026-12-01T01:00")
    assert windows.opening(at("2026-07-01T00:30")) == at("2026-07-01T00:30"), "in summer it is open from midnight UTC"
    assert Windows.parse(["Tue 00:00-24:00"], BERLIN).opening(at("2026-11-30T23:30")) == at("2026-11-30T23:30")


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("Sun 02:00-03:00", "Sun 04 02:00"),
        ("Sun 02:00-02:30", "Sun 28 03:00"),
        ("Sun 02:30-04:00", "Sun 28 03:30"),
        ("Sun 01:30-02:30", "Sun 28 01:30"),
    ],
)
def test_where_the_clock_is_put_forward(window: str, expected: str) -> None:
    """28 March 2027 has no hour from two to three in Berlin: a window of just that hour opens a week later."""
    assert opening(window, "2027-03-28T00:00", BERLIN) == expected


def test_where_the_clock_is_put_back() -> None:
    """25 October 2026 has the hour from two to three twice in Berlin; the window is open in both."""
    windows = Windows.parse(["Sun 02:00-03:00"], BERLIN)
    begins = at("2026-10-25T00:00")
    assert windows.opening(begins - 1) == begins
    assert windows.opening(begins + 7199) == begins + 7199
    assert windows.opening(begins + 7200) == at("2026-11-01T01:00"), "by then it is winter"


def test_beyond_all_calendars_it_suits() -> None:
    windows = Windows.parse(["Mon 02:00-04:00"])
    assert windows.opening(2**62) == 2**62
    assert windows.opening(LAST - 1) >= LAST - 1


_HOUR = st.tuples(st.integers(0, 23), st.integers(0, 59))


@given(st.integers(0, 6), _HOUR, _HOUR, st.integers(at("2020-01-01T00:00"), at("2040-01-01T00:00")))
def test_it_is_open_where_it_opens_and_never_far(
    day: int, begins: tuple[int, int], ends: tuple[int, int], now: int
) -> None:
    if begins == ends:
        return
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    text = "{} {:02}:{:02}-{:02}:{:02}".format(days[day], *begins, *ends)
    windows = Windows.parse([text], BERLIN)
    found = windows.opening(now)
    assert now <= found <= now + timedelta(days=14, hours=1).total_seconds()
    assert windows.opening(found) == found
