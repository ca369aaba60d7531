"""Rollouts as they are kept, and the plans that they come of."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.rollout import (
    DEEDS,
    MAX_COHORTS,
    MAX_WAVES,
    STAGES,
    Cohort,
    Note,
    Rollout,
    Target,
    Terms,
    Wave,
)
from medvouch.formats.rollout_plan import MAX_PLAN_BYTES, Plan, Share
from support.refusing import assert_input_refused
from support.rollouts import PLAN, RELEASE, UNTIL, ueid
from support.truncation import assert_every_truncation_refused

TARGET = Target(RELEASE, bytes(32), 4096, 3, "1.1.0", "update")
ROLLOUT = Rollout(
    name="all",
    target=TARGET,
    terms=Terms(1_900_000_000, 3600, 60, 0, 250, 1),
    cohorts=(Cohort("lab", (ueid(0),)), Cohort("rest", (ueid(1), ueid(2)))),
    waves=(Wave((1, 0), 1_800_000_000, 1_800_000_100), Wave((1, 2), 1_800_000_200, 0, (ueid(1),)), Wave((1, 2))),
    stage="halted",
    resumed=0,
    forgiven=(ueid(0),),
    log=(Note(1_800_000_000, "user 0", "started", "because"),),
)
# Written by hand from RFC 8949: keys in bytewise order of their encodings.
NOTE = b"\xa4\x64deed\x67started\x64time\x1a\x6b\x49\xd2\x00\x65actor\x66user 0\x66reason\x67because"
SECONDS = st.integers(0, 2**40)
UEIDS = st.binary(min_size=33, max_size=33)
NAME = st.text(min_size=1, max_size=32)


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    devices = draw(st.lists(UEIDS, unique=True, max_size=6))
    split = draw(st.integers(0, len(devices)))
    cohorts = (Cohort(draw(NAME), tuple(devices[:split])), Cohort(draw(NAME), tuple(devices[split:])))
    sizes = zip(*(sorted(draw(st.lists(st.integers(0, len(each.devices)), min_size=2, max_size=2)))
                  for each in cohorts), strict=True)  # fmt: skip
    begun = draw(st.integers(0, 2))
    times = [draw(st.integers(1, 2**40)) if number < begun else 0 for number in range(2)]
    waves = tuple(Wave(size, time, draw(SECONDS)) for size, time in zip(sizes, times, strict=True))
    terms = draw(st.builds(Terms, SECONDS, SECONDS, SECONDS, SECONDS, st.integers(0, 10_000), st.integers(0, 65_536)))
    notes = draw(st.lists(st.builds(Note, SECONDS, NAME, st.sampled_from(DEEDS), NAME), max_size=3))
    stage = draw(st.sampled_from(STAGES))
    return Rollout(draw(NAME), TARGET, terms, cohorts, waves, stage, draw(SECONDS), tuple(devices[:1]), tuple(notes))


def plain() -> dict[str, Any]:
    value: dict[str, Any] = cbor.decode(ROLLOUT.encode())
    return value


def test_the_bytes() -> None:
    assert ROLLOUT.log[0].encode() == NOTE
    assert ROLLOUT.encode().startswith(b"\xaa\x63log\x81" + NOTE)
    assert Rollout.parse(ROLLOUT.encode()) == ROLLOUT
    assert_every_truncation_refused(Rollout.parse, ROLLOUT.encode())


def test_who_comes_with_which_wave() -> None:
    assert [ROLLOUT.of_wave(number) for number in range(3)] == [(ueid(0),), (ueid(1), ueid(2)), ()]
    assert ROLLOUT.devices == (ueid(0), ueid(1), ueid(2))
    assert ROLLOUT.begun == ROLLOUT.waves[:2]


@given(rollouts())
def test_any_rollout_comes_back(rollout: Rollout) -> None:
    assert Rollout.parse(rollout.encode()) == rollout


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with suppress(InputError):
        assert Rollout.parse(data).encode() == data


@pytest.mark.parametrize(
    ("path", "wrong", "fault"),
    [
        ("type", "medvouch-bundle", "malformed"),
        ("name", "n" * 33, "limit"),
        ("stage", "paused", "malformed"),
        ("resumed", 2**41, "limit"),
        ("forgiven", [bytes(32)], "malformed"),
        ("target/purpose", "sabotage", "malformed"),
        ("terms/max_failures", 10_001, "limit"),
        ("cohorts/1/devices", [ueid(0), ueid(2)], "malformed"),
        ("cohorts/1/devices", [ueid(1)], "malformed"),
        ("cohorts", [{"name": "c", "devices": []}] * (MAX_COHORTS + 1), "limit"),
        ("waves/1/sizes", [0, 2], "malformed"),
        ("waves/1/sizes", [1], "malformed"),
        ("waves/1/sizes", [1, 3], "malformed"),
        ("waves/0/directed", 0, "malformed"),
        ("waves", [{"sizes": [1, 2], "directed": 0, "passed": 0, "skipped": []}] * (MAX_WAVES + 1), "limit"),
        ("log/0/deed", "forgotten", "malformed"),
        ("log/0/actor", "", "malformed"),
    ],
)
def test_fields_that_are_wrong(path: str, wrong: object, fault: str) -> None:
    value = within = plain()
    *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in way:
        within = within[step]  # type: ignore[index]
    within[last] = wrong  # type: ignore[index]
    assert_input_refused(f"rollout-{fault}", Rollout.parse, cbor.encode(value))


# --- plans -----------------------------------------------------------------------------------------------------------


def parsed(text: str) -> Plan:
    return Plan.parse(text.encode())


def test_a_plan() -> None:
    plan = parsed(PLAN)
    assert (plan.name, plan.release) == ("all", RELEASE)
    assert plan.terms == Terms(UNTIL, 48 * 3600, 3600, 7 * 86_400, 2000, 2)
    assert [cohort.name for cohort in plan.cohorts] == ["lab", "sites"]
    assert plan.waves[1] == {"sites": Share(None, 2500)}


def test_what_a_plan_need_not_say() -> None:
    short = "\n".join(line for line in PLAN.splitlines() if not line.startswith(("silent", "soak", "defer", "min")))
    plan = parsed("min_reports = 0\n" + short.replace("2027-02-14T08:00:00Z", "2027-02-14"))
    assert plan.terms == Terms(UNTIL - 8 * 3600, 72 * 3600, 24 * 3600, 0, 2000, 1)


def test_whom_a_cohort_takes() -> None:
    lab, sites = parsed(PLAN.replace('labels = ["lab"]', f'ueids = ["{ueid(1).hex()}"]\nmodels = ["MV-1"]')).cohorts
    assert lab.takes(ueid(1), "MV-2", frozenset({"lab"}))
    assert lab.takes(ueid(2), "MV-1", frozenset())
    assert not lab.takes(ueid(2), "MV-2", frozenset({"lab"}))
    assert sites.takes(ueid(2), "MV-2", frozenset())
    assert parsed(PLAN).cohorts[0].takes(ueid(2), "MV-2", frozenset({"lab", "other"}))


@pytest.mark.parametrize(
    ("said", "size", "found"),
    [("3", 2, 2), ("3", 9, 3), ("0", 9, 0), ('"25%"', 8, 2), ('"25%"', 9, 3), ('"0.01%"', 9, 1), ('"0%"', 9, 0),
     ('"100%"', 9, 9), ('"33.33%"', 3, 1), ('"99.9%"', 1000, 999)],
)  # fmt: skip
def test_shares(said: str, size: int, found: int) -> None:
    assert parsed(PLAN.replace('sites = "25%"', f"sites = {said}")).waves[1]["sites"].of(size) == found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "all"', 'name = "All"'),
        ('name = "all"', 'name = "../all"'),
        ('name = "all"', f'name = "{"a" * 33}"'),
        ('name = "all"', 'name = "all"\nseed = "mine"'),
        ('name = "all"', 'name = "all"\nname = "all"'),
        ("2027-02-14T08:00:00Z", "2027-02-14T08:00:00"),
        ("2027-02-14T08:00:00Z", '"soon"'),
        ("2027-02-14T08:00:00Z", "1970-02-14"),
        ('"20%"', '"101%"'),
        ('"20%"', '"20"'),
        ('"20%"', '"2.123%"'),
        ('"20%"', "20"),
        ("min_reports = 2\n", ""),
        ("min_reports = 2", "min_reports = true"),
        ("silent_hours = 48", "silent_hours = -1"),
        ('name = "lab"', 'name = "sites"'),
        ('name = "lab"', 'name = "lab"\nserials = ["1"]'),
        ('labels = ["lab"]', 'ueids = ["01"]'),
        ('labels = ["lab"]', 'labels = [""]'),
        ('lab = "100%"', 'cellar = "100%"'),
        ('lab = "100%"', "lab = 1.5"),
        ('lab = "100%"', "lab = true"),
        ("[[waves]]", "[[cohorts]]"),
        ("[[cohorts]]", "[[cohorts"),
    ],
)
def test_a_plan_that_is_none(old: str, new: str) -> None:
    assert old in PLAN
    assert_input_refused("rollout-malformed", parsed, PLAN.replace(old, new))


def test_plans_without_anybody_or_without_end() -> None:
    assert_input_refused("rollout-malformed", parsed, PLAN[: PLAN.index("[[waves]]")])
    assert_input_refused("rollout-malformed", parsed, PLAN[: PLAN.index("[[cohorts]]")])
    assert_input_refused("rollout-malformed", Plan.parse, b"\xff")
    assert_input_refused("rollout-limit", parsed, "#" * (MAX_PLAN_BYTES + 1))
    assert_input_refused("rollout-limit", parsed, PLAN.replace("min_reports = 2", "min_reports = 100000"))
    assert_input_refused("rollout-limit", parsed, PLAN + '[[waves]]\nlab = "100%"\n' * MAX_WAVES)


@given(st.text(max_size=200))
def test_any_text_is_a_plan_or_refused(text: str) -> None:
    with suppress(InputError):
        parsed(text)
