"""How a release is to reach a fleet, as its director plans it (TOML), before it is held against fleet and repository.

    name = "1.1.0-hospitals"                   of the rollout
    release = "releases/1.1.0/release.suit"    the envelope, as published
    until = 2027-03-01                         no directive is good for longer, and the rollout is over
    max_failure_rate = "2%"                    more of those that reported, and it halts
    min_reports = 5                            a wave counts once so many of it have reported
    silent_hours = 72                          who is not heard of for so long is unreachable (default 72)
    soak_hours = 24                            from when a wave counts to the next one (default 24)
    defer_days = 14                            users may put it off for so long (default 0: not at all)

    [[cohorts]]                                each device belongs to the first that takes it
    name = "lab"
    ueids = ["01..."]                          or models = [...], labels = [...]; none of them: all that are left
    [[waves]]                                  by cohort how many of it are directed by then, or how much of it
    lab = "100%"
    hospitals = 10

What is not as above is InputError `rollout-malformed`, `rollout-limit`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from medvouch.errors import InputError
from medvouch.formats.directive import MAX_TARGET_NAME
from medvouch.formats.fleet import MAX_DEVICES, MAX_TEXT, UEID_BYTES, parse_ueid
from medvouch.formats.json_object import Node, node, text
from medvouch.formats.record import Place, Uint
from medvouch.formats.rollout import MAX_COHORTS, MAX_WAVES, WHOLE, Terms

FORMAT = "rollout"
MAX_PLAN_BYTES = 16 << 20
MAX_HOURS, MAX_DAYS = 10_000, 3650
DEFAULT_SILENT_HOURS, DEFAULT_SOAK_HOURS = 72, 24
_HOUR, _DAY = 3600, 86_400
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,31}")
_PERCENT = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?%", re.ASCII)
_TERMS = {"until", "max_failure_rate", "min_reports", "silent_hours", "soak_hours", "defer_days"}


@dataclass(frozen=True)
class Share:
    """So many devices, or so much of a cohort in hundredths of a percent."""

    count: int | None
    part: int | None

    def of(self, size: int) -> int:
        """Of a cohort of so many devices: never more than there are, and a part of them rounded up."""
        return min(size, -(-size * self.part // WHOLE) if self.part is not None else self.count or 0)


@dataclass(frozen=True)
class CohortPlan:
    """Whom a cohort takes: by UEID, model or label; with none of them, everybody."""

    name: str
    ueids: frozenset[bytes]
    models: frozenset[str]
    labels: frozenset[str]

    def takes(self, ueid: bytes, model: str, labels: frozenset[str]) -> bool:
        """Whether a device belongs to it."""
        rest = not (self.ueids or self.models or self.labels)
        return rest or ueid in self.ueids or model in self.models or bool(labels & self.labels)


@dataclass(frozen=True)
class Plan:
    """A plan by itself; `waves` by the name of the cohort."""

    name: str
    release: str
    terms: Terms
    cohorts: tuple[CohortPlan, ...]
    waves: tuple[Mapping[str, Share], ...]

    @classmethod
    def parse(cls, data: bytes) -> Plan:
        """From TOML."""
        place = Place(FORMAT)
        if len(data) > MAX_PLAN_BYTES:
            raise place.over(len(data), MAX_PLAN_BYTES)
        try:
            root = node(tomllib.loads(data.decode()), place)
        except (ValueError, RecursionError) as error:
            raise InputError("rollout-malformed", f"no TOML: {str(error)[:128]}", place="top level") from error
        _only(root, _TERMS | {"name", "release", "cohorts", "waves"})
        cohorts = tuple(_cohort(each) for each in root.nodes("cohorts", MAX_COHORTS))
        names = {cohort.name for cohort in cohorts}
        if not cohorts or len(names) != len(cohorts):
            raise (place / "cohorts").malformed("at least one cohort, each of its own name")
        waves = tuple(_wave(each, names) for each in root.nodes("waves", MAX_WAVES))
        if not waves:
            raise (place / "waves").malformed("at least one wave")
        release = root.text("release", MAX_TARGET_NAME)
        return cls(_name(root), release, _terms(root), cohorts, waves)


def _only(given: Node, names: set[str]) -> None:
    if unknown := sorted(set(given.value) - names):
        raise given.place.malformed(f"some of {', '.join(sorted(names))} instead of {unknown[0][:64]!r}")


def check_name(name: str, place: Place) -> str:
    """A name that a file may have: small letters, digits, dots and dashes."""
    if not _NAME.fullmatch(name):
        raise place.malformed("1 to 32 small letters, digits, dots and dashes")
    return name


def _name(given: Node) -> str:
    return check_name(given.text("name", MAX_TEXT), given.place / "name")


def _terms(root: Node) -> Terms:
    rate = root.text("max_failure_rate", MAX_TEXT)
    return Terms(
        until=_moment(root.value.get("until"), root.place / "until"),
        silent_s=_number(root, "silent_hours", MAX_HOURS, DEFAULT_SILENT_HOURS) * _HOUR,
        soak_s=_number(root, "soak_hours", MAX_HOURS, DEFAULT_SOAK_HOURS) * _HOUR,
        defer_s=_number(root, "defer_days", MAX_DAYS, 0) * _DAY,
        max_failures=_percent(rate, root.place / "max_failure_rate"),
        min_reports=_number(root, "min_reports", MAX_DEVICES, None) or 1,
    )


def _number(root: Node, name: str, limit: int, default: int | None) -> int:
    return Uint(limit).load(root.value.get(name, default), root.place / name)


def _moment(value: Any, place: Place) -> int:
    """The beginning of a day (UTC), or a time with its zone."""
    if type(value) is date:
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime) or value.tzinfo is None or value.year < 1971:
        raise place.malformed("a date like 2027-03-01, or a time with its zone")
    return int(value.timestamp())


def _percent(value: str, place: Place) -> int:
    found = _PERCENT.fullmatch(value)
    part = int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0")) if found else WHOLE + 1
    if part > WHOLE:
        raise place.malformed("a part from 0% to 100%")
    return part


def _cohort(given: Node) -> CohortPlan:
    _only(given, {"name", "ueids", "models", "labels"})
    texts = given.texts("ueids", MAX_DEVICES, 2 * UEID_BYTES)
    return CohortPlan(
        _name(given),
        frozenset(parse_ueid(each, given.place / "ueids" / number) for number, each in enumerate(texts)),
        frozenset(given.texts("models", MAX_COHORTS, MAX_TEXT)),
        frozenset(given.texts("labels", MAX_COHORTS, MAX_TEXT)),
    )


def _wave(given: Node, cohorts: set[str]) -> Mapping[str, Share]:
    _only(given, cohorts)
    return {name: _share(value, given.place / name) for name, value in given.value.items()}


def _share(value: Any, place: Place) -> Share:
    if isinstance(value, int):
        return Share(Uint(MAX_DEVICES).load(value, place), None)
    return Share(None, _percent(text(value, MAX_TEXT, place), place))
