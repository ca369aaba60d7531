"""Claims sets: frozen dataclasses that are CBOR maps from integer labels (CWT, RFC 8392; EAT, RFC 9711).

    @dataclass(frozen=True)
    class Verifier(Claims):
        FORMAT = "ear"
        developer: Annotated[str, Claim(0, Text(256))]

A field whose default is None is optional, and absent where it is None. `parse` refuses absent, unknown and mistyped
claims with InputError `FORMAT-malformed|limit`, and what is not deterministic CBOR with `cbor-*`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, Self, get_args, get_origin, get_type_hints

from medvouch.formats import cbor
from medvouch.formats.record import Codec, Octets, Place, Uint

SHA256 = Octets(32, exact=True)


class Claim(NamedTuple):
    """How a field is claimed: under which label, in which form."""

    label: int
    codec: Codec


class Claims:
    """Base of the dataclasses whose fields are annotated with a Claim."""

    FORMAT: ClassVar[str]
    _claims: ClassVar[Mapping[str, Claim]]

    def __init_subclass__(cls) -> None:
        hints = get_type_hints(cls, include_extras=True)
        cls._claims = {name: get_args(hint)[1] for name, hint in hints.items() if get_origin(hint) is Annotated}

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        return cbor.encode(self.to_map())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The inverse of `encode`. Raises InputError."""
        return cls.from_map(cbor.decode(data), Place(cls.FORMAT))

    def to_map(self) -> dict[int, Any]:
        """The map that is encoded."""
        values = ((claim, getattr(self, name)) for name, claim in self._claims.items())
        return {claim.label: claim.codec.dump(value) for claim, value in values if value is not None}

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """The inverse of `to_map`."""
        if not isinstance(value, dict):
            raise place.malformed("a map of claims")
        fields, required = _labels(cls)  # type: ignore[arg-type]  # python/mypy#11469
        if unknown := value.keys() - fields.keys():
            raise place.malformed(f"no claims {sorted(map(str, unknown))}")
        if missing := required - value.keys():
            raise place.malformed(f"claims {sorted(missing)}")
        values = {}
        for label, item in value.items():
            name, codec = fields[label]
            values[name] = codec.load(item, place / label)
        return cls(**values)


@functools.cache
def _labels(form: type[Claims]) -> tuple[Mapping[int, tuple[str, Codec]], frozenset[int]]:
    """Field and codec by label, and the labels that must be there."""
    fields = {claim.label: (name, claim.codec) for name, claim in form._claims.items()}
    required = (label for label, (name, _) in fields.items() if getattr(form, name, ...) is not None)
    return fields, frozenset(required)


@dataclass(frozen=True)
class Inner:
    """A claims set within a claims set."""

    form: type[Claims]

    def dump(self, value: Claims) -> dict[int, Any]:
        """Its map."""
        return value.to_map()

    def load(self, value: Any, place: Place) -> Claims:
        """Checked by the inner one."""
        return self.form.from_map(value, place)


@dataclass(frozen=True)
class Between:
    """A byte string of `low` to `high` bytes."""

    low: int
    high: int

    def dump(self, value: bytes) -> bytes:
        """As it is."""
        return value

    def load(self, value: Any, place: Place) -> bytes:
        """Checked for type and length."""
        if not isinstance(value, bytes) or not self.low <= len(value) <= self.high:
            raise place.malformed(f"{self.low} to {self.high} bytes")
        return value


@dataclass(frozen=True)
class Exactly:
    """A text that can only be this one."""

    text: str

    def dump(self, value: str) -> str:
        """As it is."""
        return value

    def load(self, value: Any, place: Place) -> str:
        """Compared."""
        if value != self.text:
            raise place.malformed(self.text)
        return self.text


@dataclass(frozen=True)
class LedgerHead:
    """The head of the device's ledger: entries, Merkle root (SHA-256), and the NV counter at its last checkpoint."""

    size: int
    root: bytes
    counter: int


class LedgerHeadForm:
    """[size, root, counter]; under our private label in EAT and EAR alike."""

    LABEL = -75002

    def dump(self, value: LedgerHead) -> list[Any]:
        """An array of three."""
        return [value.size, value.root, value.counter]

    def load(self, value: Any, place: Place) -> LedgerHead:
        """Checked for type, then each part."""
        if not isinstance(value, list) or len(value) != 3:
            raise place.malformed("an array of three")
        size, root, counter = value
        return LedgerHead(Uint().load(size, place / 0), SHA256.load(root, place / 1), Uint().load(counter, place / 2))
