"""A release as its author describes it (TOML), before anybody has looked whether it may go out.

    version = "1.1.0"               epoch = 2            kind = "security"       product_id = "MV-100-1.1.0"
    inseparable = "why"             only where kind = "mixed"
    [documents]                     envelope, sbom, vex, advisory, support: files beside this one
    [remediation]                   contact, cvd_policy
    [[fixes]]                       cve, euvd, ghsa, components = [bom-ref, ...], aware = 2026-10-20
    [[features]]                    summary, components = [bom-ref, ...]
    [duties.device-identity]        owner, deputy, review = 2027-06-01; likewise the other DUTIES

What is absent is for the gate to refuse; what is not as above is InputError `release-malformed`, `release-limit`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from medvouch.errors import InputError
from medvouch.formats.json_object import Node, node
from medvouch.formats.record import OneOf, Place, Uint
from medvouch.formats.reference import MAX_SECURITY_EPOCH
from medvouch.formats.release import DUTIES, KINDS, MAX_ADDRESS, MAX_FIXES, MAX_ID, MAX_PERSON, Fix

FORMAT = "release"
MAX_DRAFT_BYTES = 1 << 20
MAX_COMPONENTS = 256
MAX_TEXT = 1024
_TOP = {"version", "epoch", "kind", "product_id", "inseparable", "documents", "remediation", "fixes", "features"}
_CONTACTS = ("mailto:", "https://", "tel:")


@dataclass(frozen=True)
class Claimed:
    """A fix or a feature, and the components that it changes; `fix` is None for a feature."""

    words: str
    fix: Fix | None
    components: frozenset[str]


@dataclass(frozen=True)
class Person:
    """Who is named for a duty; empty or None where nobody or no day is. `review` in seconds since 1970."""

    owner: str = ""
    deputy: str = ""
    review: int | None = None


@dataclass(frozen=True)
class Draft:
    """A release that has not passed the gate; `documents` are names of files. Texts that are absent are empty."""

    version: str
    security_epoch: int
    kind: str
    product_id: str
    inseparable: str
    documents: Mapping[str, str]
    contact: str
    cvd_policy: str
    fixes: tuple[Claimed, ...]
    features: tuple[Claimed, ...]
    duties: Mapping[str, Person]

    @classmethod
    def parse(cls, data: bytes) -> Draft:
        """From TOML."""
        place = Place(FORMAT)
        if len(data) > MAX_DRAFT_BYTES:
            raise place.over(len(data), MAX_DRAFT_BYTES)
        try:
            root = node(tomllib.loads(data.decode()), place)
        except (ValueError, RecursionError) as error:
            raise InputError("release-malformed", f"no TOML: {str(error)[:128]}", place="top level") from error
        _only(root, _TOP | {"duties"})
        remediation = _table(root, "remediation", {"contact", "cvd_policy"})
        return cls(
            version=root.text("version", MAX_ID),
            security_epoch=Uint(MAX_SECURITY_EPOCH).load(root.value.get("epoch"), place / "epoch"),
            kind=OneOf(KINDS).load(root.value.get("kind"), place / "kind"),
            product_id=root.text("product_id", MAX_TEXT),
            inseparable=root.maybe_text("inseparable", MAX_TEXT).strip(),
            documents=_documents(root),
            contact=_address(remediation, "contact", _CONTACTS),
            cvd_policy=_address(remediation, "cvd_policy", ("https://",)),
            fixes=tuple(_fix(each) for each in root.nodes("fixes", MAX_FIXES)),
            features=tuple(_feature(each) for each in root.nodes("features", MAX_FIXES)),
            duties=_duties(_table(root, "duties", set(DUTIES))),
        )


def _only(given: Node, names: set[str]) -> None:
    if unknown := sorted(set(given.value) - names):
        raise given.place.malformed(f"some of {', '.join(sorted(names))} instead of {unknown[0][:64]!r}")


def _table(root: Node, name: str, names: set[str]) -> Node:
    """A table, empty where it is absent."""
    table = node(root.value.get(name, {}), root.place / name)
    _only(table, names)
    return table


def _documents(root: Node) -> dict[str, str]:
    """Names of files beside the draft, and of nothing elsewhere: they become names of targets."""
    table = _table(root, "documents", {"envelope", "sbom", "vex", "advisory", "support"})
    names = {name: table.text(name, MAX_ID) for name in table.value}
    for name, file in names.items():
        if set(file) & set("/\\") or file.startswith("."):
            raise (table.place / name).malformed("the name of a file beside this one")
    for name in ("envelope", "sbom", "vex"):
        table.text(name, MAX_ID)
    return names


def _address(table: Node, name: str, prefixes: tuple[str, ...]) -> str:
    address = table.maybe_text(name, MAX_ADDRESS)
    if address and not any(address.startswith(each) and address[len(each) :].strip() for each in prefixes):
        raise (table.place / name).malformed(f"an address that begins with {' or '.join(prefixes)}")
    return address


def _fix(given: Node) -> Claimed:
    _only(given, {"cve", "euvd", "ghsa", "components", "aware"})
    names = {name: given.value.get(name, "") for name in ("cve", "euvd", "ghsa")}
    fix = Fix.from_map({**names, "aware": _maybe_day(given, "aware")}, given.place)
    return Claimed(", ".join(sorted(fix.names)), fix, _components(given))


def _feature(given: Node) -> Claimed:
    _only(given, {"summary", "components"})
    return Claimed(given.text("summary", MAX_TEXT), None, _components(given))


def _components(given: Node) -> frozenset[str]:
    found = given.texts("components", MAX_COMPONENTS, MAX_TEXT)
    if not found:
        raise (given.place / "components").malformed("at least one component")
    return frozenset(found)


def _duties(table: Node) -> dict[str, Person]:
    return {name: _person(node(table.value.get(name, {}), table.place / name)) for name in DUTIES}


def _person(given: Node) -> Person:
    _only(given, {"owner", "deputy", "review"})
    owner, deputy = (given.maybe_text(name, MAX_PERSON).strip() for name in ("owner", "deputy"))
    return Person(owner, deputy, _maybe_day(given, "review"))


def _maybe_day(given: Node, name: str) -> int | None:
    value = given.value.get(name)
    return None if value is None else _day(value, given.place / name)


def _day(value: Any, place: Place) -> int:
    if type(value) is not date or value.year < 1970:
        raise place.malformed("a date like 2027-06-01")
    return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
