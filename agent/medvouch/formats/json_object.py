"""JSON documents of others' standards, of which we read some fields: strict about those, bounded in all of it.

    root = parse(data, "csaf", 1 << 20)
    root.node("document").text("category", 64)

What is no JSON, has a name twice or is not as the standard has it is InputError `FORMAT-malformed`; too much of
anything is `FORMAT-limit`. Fields that nobody asks for are left alone: the standards have many, and let more be added.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from medvouch.errors import InputError
from medvouch.formats.record import Place

MAX_DOCUMENT_BYTES = 8 << 20
"""Of an SBOM; that of a Debian image of 600 packages is 2 MiB."""


@dataclass(frozen=True)
class Node:
    """An object within a document, and where it stands."""

    value: dict[str, Any]
    place: Place

    def text(self, name: str, limit: int) -> str:
        """A text of 1 to `limit` characters that must be there."""
        return text(self.value.get(name), limit, self.place / name)

    def maybe_text(self, name: str, limit: int) -> str:
        """The same, or nothing where it is not there."""
        return self.text(name, limit) if name in self.value else ""

    def node(self, name: str) -> Node:
        """An object that must be there."""
        return node(self.value.get(name), self.place / name)

    def items(self, name: str, limit: int) -> Iterator[tuple[Any, Place]]:
        """Each item of an array of at most `limit`, and where it stands; none where there is no array."""
        found, place = self.value.get(name, []), self.place / name
        if not isinstance(found, list):
            raise place.malformed("an array")
        if len(found) > limit:
            raise place.over(len(found), limit)
        return ((each, place / index) for index, each in enumerate(found))

    def nodes(self, name: str, limit: int) -> Iterator[Node]:
        """The same of objects."""
        return (node(each, place) for each, place in self.items(name, limit))

    def texts(self, name: str, limit: int, longest: int) -> tuple[str, ...]:
        """The same of texts."""
        return tuple(text(each, longest, place) for each, place in self.items(name, limit))


def parse(data: bytes, format: str, limit: int = MAX_DOCUMENT_BYTES) -> Node:
    """The object that a document is."""
    place = Place(format)
    if len(data) > limit:
        raise place.over(len(data), limit)
    try:
        value = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{format}-malformed", f"no JSON: {str(error)[:128]}", place="top level") from error
    return node(value, place)


def node(value: Any, place: Place) -> Node:
    """`value`, checked to be an object."""
    if not isinstance(value, dict):
        raise place.malformed("an object")
    return Node(value, place)


def text(value: Any, limit: int, place: Place) -> str:
    """`value`, checked to be a text of 1 to `limit` characters."""
    if not isinstance(value, str) or not value:
        raise place.malformed("text")
    if len(value) > limit:
        raise place.over(len(value), limit)
    return value


def moment(value: str, place: Place) -> int:
    """A time of RFC 3339 as seconds since 1970."""
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is None or "T" not in value.upper():
            raise place.malformed("a date and a time with its zone")
        return int(found.astimezone(UTC).timestamp())
    except (ValueError, OverflowError) as error:
        raise place.malformed("a time like 2031-12-31T23:59:59Z") from error


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object_pairs_hook for `json`: ValueError where a name stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
