"""A fleet, a plan for it, and the rollout that comes of both."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from medvouch.assurance.reports import DeviceReport
from medvouch.assurance.rollout_planning import plan_rollout
from medvouch.formats.ear import Tier
from medvouch.formats.fleet import Fleet
from medvouch.formats.rollout import Rollout, Target
from medvouch.formats.rollout_plan import Plan
from medvouch.update.transitions import Update

NOW = 1_800_000_000
HOUR, DAY = 3600, 86_400
UNTIL = NOW + 30 * DAY
RELEASE = "releases/1.1.0/release.suit"
TARGET = Target(RELEASE, bytes(31) + b"\7", 4096, 3, "1.1.0", "update")
ACTOR = "user 0"

PLAN = f"""\
name = "all"
release = "{RELEASE}"
until = 2027-02-14T08:00:00Z
max_failure_rate = "20%"
min_reports = 2
silent_hours = 48
soak_hours = 1
defer_days = 7

[[cohorts]]
name = "lab"
labels = ["lab"]

[[cohorts]]
name = "sites"

[[waves]]
lab = "100%"

[[waves]]
sites = "25%"

[[waves]]
sites = "100%"
"""


def ueid(number: int) -> bytes:
    return b"\1" + bytes([number]) * 32


def entry(number: int, **fields: Any) -> dict[str, Any]:
    return {"ueid": ueid(number).hex(), "serial": f"SN-{number}", "model": "MV-100", "version": "1.0.0", **fields}


def fleet_file(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"devices": entries}).encode()


def fleet() -> Fleet:
    """Two devices in the lab, and eight at sites."""
    return Fleet.parse(fleet_file(*(entry(number, labels=["lab"] if number < 2 else []) for number in range(10))))


def planned(text: str = PLAN, of: Fleet | None = None, now: int = NOW, **changes: Any) -> Rollout:
    """A rollout that has directed nobody; `changes` of its target."""
    return plan_rollout(Plan.parse(text.encode()), replace(TARGET, **changes), of or fleet(), now, ACTOR, "it is time")


def attested(at: int, version: str = "1.1.0") -> DeviceReport:
    return DeviceReport(verdict=Tier.AFFIRMING, judged_at=at, proven=version, heard_at=at)


def said(state: Update, at: int, sequence: int = 3, **fields: Any) -> DeviceReport:
    return DeviceReport(state=state, sequence=sequence, said_at=at, heard_at=at, **fields)


def condemned(at: int) -> DeviceReport:
    return DeviceReport(verdict=Tier.CONTRAINDICATED, judged_at=at, code="event-unexpected", heard_at=at)


def all_of(devices: Iterable[bytes], report: DeviceReport) -> dict[bytes, DeviceReport]:
    return dict.fromkeys(devices, report)
