"""Records: frozen dataclasses that are deterministic CBOR maps, each field bounded where it is declared.

    @dataclass(frozen=True)
    class Entry(Record):
        FORMAT = "entry"
        serial: Annotated[str, Text(64)]

`Entry.parse` refuses absent, unknown, mistyped and oversized fields with InputError `entry-malformed|limit`, and what
is not deterministic CBOR with `cbor-*`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, Self, get_args, get_origin, get_type_hints

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.tpm import SignedAttest

MAX_TPM_STRUCTURE = 4096
"""Bytes; TPM 2.0 implementations bound their commands and responses by it."""


class Place:
    """Where in which format a value stands, to name it in an InputError; put into words only for one."""

    __slots__ = ("_parent", "_step", "format")

    def __init__(self, format: str, step: object = "", parent: Place | None = None) -> None:
        self.format = format
        self._step = step
        self._parent = parent

    def __truediv__(self, step: object) -> Place:
        return Place(self.format, step, self)

    @property
    def path(self) -> str:
        """All steps from the top, each after a slash."""
        return str(self._step) if self._parent is None else f"{self._parent.path}/{self._step}"

    def malformed(self, wanted: str) -> InputError:
        """The value is not `wanted`."""
        return InputError(f"{self.format}-malformed", f"{wanted} expected", place=self.path or "top level")

    def over(self, size: int, limit: int) -> InputError:
        """The value is larger than allowed."""
        return InputError(f"{self.format}-limit", f"{size} where at most {limit} is allowed", place=self.path)


class Codec(Protocol):
    """How a field's value becomes CBOR and comes back."""

    def dump(self, value: Any) -> Any:
        """The value as CBOR has it."""
        ...

    def load(self, value: Any, place: Place) -> Any:
        """The inverse, checked."""
        ...


@dataclass(frozen=True)
class Text:
    """A text string of 1 to `limit` characters; `empty` allows none."""

    limit: int
    empty: bool = False

    def dump(self, value: str) -> str:
        """As it is."""
        return value

    def load(self, value: Any, place: Place) -> str:
        """Checked for type and length."""
        if not isinstance(value, str) or not (value or self.empty):
            raise place.malformed("text")
        if len(value) > self.limit:
            raise place.over(len(value), self.limit)
        return value


@dataclass(frozen=True)
class Octets:
    """A byte string of at most `limit` bytes; `exact`: of just so many."""

    limit: int
    exact: bool = False

    def dump(self, value: bytes) -> bytes:
        """As it is."""
        return value

    def load(self, value: Any, place: Place) -> bytes:
        """Checked for type and length."""
        if not isinstance(value, bytes) or (self.exact and len(value) != self.limit):
            raise place.malformed(f"{self.limit} bytes" if self.exact else "bytes")
        if len(value) > self.limit:
            raise place.over(len(value), self.limit)
        return value


@dataclass(frozen=True)
class OneOf:
    """One of a few texts."""

    values: tuple[str, ...]

    def dump(self, value: str) -> str:
        """As it is."""
        return value

    def load(self, value: Any, place: Place) -> str:
        """Checked to be one of them."""
        if not isinstance(value, str) or value not in self.values:
            raise place.malformed(" or ".join(self.values))
        return value


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    def dump(self, value: bool) -> bool:
        """As it is."""
        return value

    def load(self, value: Any, place: Place) -> bool:
        """Checked for type."""
        if not isinstance(value, bool):
            raise place.malformed("yes or no")
        return value


@dataclass(frozen=True)
class Uint:
    """An unsigned integer up to `limit`."""

    limit: int = 2**63 - 1

    def dump(self, value: int) -> int:
        """As it is."""
        return value

    def load(self, value: Any, place: Place) -> int:
        """Checked for type, sign and size."""
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise place.malformed("an unsigned integer")
        if value > self.limit:
            raise place.over(value, self.limit)
        return value


@dataclass(frozen=True)
class Maybe:
    """A value of another kind, or None."""

    item: Codec

    def dump(self, value: Any) -> Any:
        """Null, or as its kind does."""
        return None if value is None else self.item.dump(value)

    def load(self, value: Any, place: Place) -> Any:
        """Checked by its kind where it is there."""
        return None if value is None else self.item.load(value, place)


@dataclass(frozen=True)
class Many:
    """An array of at most `limit` values of one kind; a tuple in Python."""

    item: Codec
    limit: int

    def dump(self, value: Sequence[Any]) -> list[Any]:
        """An array."""
        return [self.item.dump(each) for each in value]

    def load(self, value: Any, place: Place) -> tuple[Any, ...]:
        """Checked for type and number, then each item."""
        if not isinstance(value, (list, tuple)):
            raise place.malformed("an array")
        if len(value) > self.limit:
            raise place.over(len(value), self.limit)
        return tuple(self.item.load(each, place / index) for index, each in enumerate(value))


@dataclass(frozen=True)
class Named:
    """A map of at most `limit` values of one kind by names of up to 32 characters."""

    item: Codec
    limit: int

    def dump(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """A map."""
        return {name: self.item.dump(each) for name, each in value.items()}

    def load(self, value: Any, place: Place) -> dict[str, Any]:
        """Checked for type and number, then each name and item."""
        if not isinstance(value, Mapping):
            raise place.malformed("a map")
        if len(value) > self.limit:
            raise place.over(len(value), self.limit)
        return {_NAME.load(name, place): self.item.load(each, place / name) for name, each in value.items()}


@dataclass(frozen=True)
class Attested:
    """A SignedAttest as [TPMS_ATTEST, TPMT_SIGNATURE]."""

    def dump(self, value: SignedAttest) -> list[bytes]:
        """An array of two."""
        return [value.attest, value.signature]

    def load(self, value: Any, place: Place) -> SignedAttest:
        """Checked for type and sizes."""
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise place.malformed("an array of two")
        structure = Octets(MAX_TPM_STRUCTURE)
        return SignedAttest(*(structure.load(each, place / index) for index, each in enumerate(value)))


class Record:
    """Base of the dataclasses that are CBOR maps from field name to value; `KIND`, where set, is their `type` entry."""

    FORMAT: ClassVar[str]
    KIND: ClassVar[str] = ""

    def to_map(self) -> dict[str, Any]:
        """The map that is encoded."""
        codecs = _codecs(type(self))  # type: ignore[arg-type]  # python/mypy#11469
        values = {name: codec.dump(getattr(self, name)) for name, codec in codecs.items()}
        return {"type": self.KIND, **values} if self.KIND else values

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        return cbor.encode(self.to_map())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The inverse of `encode`. Raises InputError."""
        return cls.from_map(cbor.decode(data), Place(cls.FORMAT))

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """The inverse of `to_map`, of exactly these fields."""
        codecs = _codecs(cls)  # type: ignore[arg-type]  # likewise
        wanted = {*codecs, "type"} if cls.KIND else set(codecs)
        if not isinstance(value, Mapping) or set(value) != wanted or (cls.KIND and value["type"] != cls.KIND):
            raise place.malformed(f"a map of {', '.join(sorted(wanted))}" + (f" ({cls.KIND})" if cls.KIND else ""))
        return cls(**{name: codec.load(value[name], place / name) for name, codec in codecs.items()})


@dataclass(frozen=True)
class Nested:
    """A record within a record."""

    record: type[Record]

    def dump(self, value: Record) -> dict[str, Any]:
        """Its map."""
        return value.to_map()

    def load(self, value: Any, place: Place) -> Record:
        """Checked by the record."""
        return self.record.from_map(value, place)


@dataclass(frozen=True)
class Embedded:
    """A record as a byte string that holds its encoding: counted and bounded by itself, whatever it is part of."""

    record: type[Record]

    def dump(self, value: Record) -> bytes:
        """Its encoding."""
        return value.encode()

    def load(self, value: Any, place: Place) -> Record:
        """Checked by the record; errors name the place here, not the one inside."""
        if not isinstance(value, bytes):
            raise place.malformed("bytes")
        try:
            return self.record.parse(value)
        except InputError as error:
            inside = f"{error.place}: " if error.place else ""
            raise InputError(error.code, f"{inside}{error.detail}", place=place.path) from error


_NAME = Text(32)


@functools.cache
def _codecs(record: type[Record]) -> dict[str, Codec]:
    hints = get_type_hints(record, include_extras=True)
    return {name: get_args(hint)[1] for name, hint in hints.items() if get_origin(hint) is Annotated}
