"""Whether a plan may be carried out here and now: newer than what is installed, not below the floor, from where.

Only a directive that says `rollback` leads back, and never out of the security epoch (ADR 46).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from medvouch.errors import InputError, Refusal
from medvouch.formats.directive import ROLLBACK, UPDATE
from medvouch.update import refusals
from medvouch.update.processor import InstallPlan

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*)"
)
"""An http(s) URL (RFC 3986) without what makes two readers see two places: user information, percent-encoding, query,
fragment, capitals in scheme and host, IP literals in brackets.
"""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535
MAX_URL = 2048
"""Characters."""


@dataclass(frozen=True)
class Installed:
    """Sequence number and security epoch of what is installed, and the epoch below which nothing may be."""

    sequence: int
    security_epoch: int
    floor: int


def admit(plan: InstallPlan, installed: Installed, purpose: str = UPDATE) -> None:
    """Refuse what is not newer, `sequence-not-higher`, or too old to be safe, `epoch-below-floor`.

    With the purpose ROLLBACK, what is not older, `sequence-not-lower`, and what is of another security epoch than the
    installed, `rollback-other-epoch`: between two epochs lies a hole that was closed.
    """
    if purpose == ROLLBACK:
        _check_back(plan, installed)
    elif plan.sequence <= installed.sequence:
        detail = f"sequence {plan.sequence} where {installed.sequence} is installed"
        raise Refusal(refusals.SEQUENCE_NOT_HIGHER, detail)
    check_floor(plan.version, plan.security_epoch, installed.floor)


def _check_back(plan: InstallPlan, installed: Installed) -> None:
    if plan.sequence >= installed.sequence:
        detail = f"sequence {plan.sequence} where {installed.sequence} is installed"
        raise Refusal(refusals.SEQUENCE_NOT_LOWER, detail)
    if plan.security_epoch != installed.security_epoch:
        detail = f"security epoch {plan.security_epoch} of {plan.version} where {installed.security_epoch} is installed"
        raise Refusal(refusals.ROLLBACK_OTHER_EPOCH, detail)


def check_floor(version: str, security_epoch: int, floor: int) -> None:
    """Refuse what is too old to be safe, `epoch-below-floor`; when it is chosen, and when it is about to be started."""
    if security_epoch < floor:
        detail = f"security epoch {security_epoch} of {version} where the floor is {floor}"
        raise Refusal(refusals.EPOCH_BELOW_FLOOR, detail)


@dataclass(frozen=True)
class Url:
    """Where something is fetched from; `path` in segments, the last one empty where it ends with a slash."""

    scheme: str
    host: str
    port: int
    path: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Url:
        """Only of the one form that nobody can read differently; InputError `url-malformed` for all else."""
        found = _URL.fullmatch(text) if len(text) <= MAX_URL else None
        if found is None:
            raise InputError("url-malformed", "a plain http(s) URL expected", place=text[:80])
        segments = tuple(found["path"].split("/")[1:])
        if {".", ".."} & set(segments) or "" in segments[:-1] or ".." in found["host"]:
            raise InputError("url-malformed", "a URL without dot or empty segments expected", place=text[:80])
        port = int(found["port"] or _DEFAULT_PORTS[found["scheme"]])
        if port > _MAX_PORT:
            raise InputError("url-malformed", f"port {port}", place=text[:80])
        return cls(found["scheme"], found["host"], port, segments)

    def allows(self, other: Url) -> bool:
        """Whether `other` is this very place, or below it."""
        prefix = self.path[:-1] if self.path and not self.path[-1] else self.path
        same_server = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same_server and other.path[: len(prefix)] == prefix


def check_url(uri: str, allowed: Sequence[str]) -> Url:
    """The place that `uri` names, if it is one of `allowed` or below one; else Refusal `url-not-allowed`.

    Compared are scheme, host, port and whole path segments. Raises InputError `url-malformed` for an `allowed` that is
    no URL: it is configuration.
    """
    places = [Url.parse(each) for each in allowed]
    try:
        wanted = Url.parse(uri)
    except InputError as error:
        raise Refusal(refusals.URL_NOT_ALLOWED, error.detail, place=error.place) from error
    if not any(place.allows(wanted) for place in places):
        raise Refusal(refusals.URL_NOT_ALLOWED, "no allowed place leads there", place=uri[:80])
    return wanted
