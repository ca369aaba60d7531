"""SUIT command sequences (draft-ietf-suit-manifest, 8.4): what a recipient checks and does, in this order.

A sequence is one CBOR array of code, argument, code, argument... All of it is deterministic CBOR, which the draft asks
for and its examples are, so `encode` gives back the bytes that were parsed.

Known are the commands and parameters of the manifest draft, of draft-ietf-suit-trust-domains and of
draft-ietf-suit-update-management; `suit_codes` says which of them are run.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from medvouch.formats import cbor
from medvouch.formats.record import Codec, Flag, Octets, Place, Text, Uint

SHA256 = -16
"""The one hash algorithm that the draft requires (RFC 9054); the optional ones are malformed here."""
MAX_COMMANDS = 256
"""Of one sequence."""
MAX_NESTING = 4
"""Sequences within sequences (try-each, run-sequence)."""
MAX_ALTERNATIVES = 16
"""Of one try-each."""
MAX_COMPONENTS = 16
MAX_URI = 2048
"""Characters."""
MAX_ARGUMENT_BYTES = 1 << 16
"""Of content, arguments and private values inside the manifest."""
MAX_VERSION_PARTS = 8
_MAX_VERSION_NUMBER = 2**31 - 1
MAX_POLICY = 15
"""SUIT_Rep_Policy has four bits."""
PLACE = Place("suit")


class Code(enum.IntEnum):
    """Conditions and directives (12.3 of the draft)."""

    VENDOR_IDENTIFIER = 1
    CLASS_IDENTIFIER = 2
    IMAGE_MATCH = 3
    USE_BEFORE = 4
    COMPONENT_SLOT = 5
    CHECK_CONTENT = 6
    DEPENDENCY_INTEGRITY = 7
    IS_DEPENDENCY = 8
    PROCESS_DEPENDENCY = 11
    SET_COMPONENT_INDEX = 12
    ABORT = 14
    TRY_EACH = 15
    WRITE = 18
    SET_PARAMETERS = 19
    OVERRIDE_PARAMETERS = 20
    FETCH = 21
    COPY = 22
    INVOKE = 23
    DEVICE_IDENTIFIER = 24
    IMAGE_NOT_MATCH = 25
    MINIMUM_BATTERY = 26
    UPDATE_AUTHORIZED = 27
    VERSION = 28
    WAIT = 29
    SWAP = 31
    RUN_SEQUENCE = 32
    UNLINK = 33
    OVERRIDE_MULTIPLE = 34
    COPY_PARAMS = 35


Private = int | bool | str | bytes
Foreign = Mapping[int, Any]
"""What is carried by its code and not run: decoded, and otherwise as it came."""


class Comparison(enum.IntEnum):
    """How a version is compared with the one wanted (draft-ietf-suit-update-management)."""

    GREATER = 1
    GREATER_EQUAL = 2
    EQUAL = 3
    LESSER_EQUAL = 4
    LESSER = 5


class VersionMatch(NamedTuple):
    """suit-parameter-version: what a component's version must be, compared with these numbers."""

    comparison: Comparison
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Sha256Digest:
    """A SUIT_Digest: [-16, 32 bytes]; the 32 bytes in Python."""

    def dump(self, value: bytes) -> list[Any]:
        """An array of two."""
        return [SHA256, value]

    def load(self, value: Any, place: Place) -> bytes:
        """Checked for algorithm and size."""
        if not isinstance(value, list) or len(value) != 2 or value[0] != SHA256:
            raise place.malformed("a SUIT_Digest with SHA-256")
        return Octets(32, exact=True).load(value[1], place)


@dataclass(frozen=True)
class Wrapped:
    """CBOR inside a byte string."""

    item: Codec

    def dump(self, value: Any) -> bytes:
        """Encoded by itself."""
        return cbor.encode(self.item.dump(value))

    def load(self, value: Any, place: Place) -> Any:
        """Decoded, then checked by the item."""
        return self.item.load(cbor.decode(byte_string(value, place)), place)


class _VersionMatch:
    """[comparison, [+ int]] inside a byte string."""

    def dump(self, value: VersionMatch) -> bytes:
        return cbor.encode([value.comparison, list(value.numbers)])

    def load(self, value: Any, place: Place) -> VersionMatch:
        items = cbor.decode(byte_string(value, place))
        if (
            not isinstance(items, list)
            or len(items) != 2
            or type(items[0]) is not int
            or items[0] not in set(Comparison)
        ):
            raise place.malformed("a comparison and a version")
        return VersionMatch(Comparison(items[0]), load_version(items[1], place))


@dataclass(frozen=True)
class Parameters:
    """What one override sets (8.4.8 of the draft), None where it does not; `private` by negative label.

    `foreign`, by label, are those that are known and not acted upon.

    `image_digest` is a SHA-256, `image_size` in bytes; the three identifiers are UUIDs of 16 bytes.
    """

    vendor_id: bytes | None = None
    class_id: bytes | None = None
    image_digest: bytes | None = None
    component_slot: int | None = None
    strict_order: bool | None = None
    soft_failure: bool | None = None
    image_size: int | None = None
    content: bytes | None = None
    uri: str | None = None
    source_component: int | None = None
    invoke_args: bytes | None = None
    device_id: bytes | None = None
    fetch_arguments: bytes | None = None
    version: VersionMatch | None = None
    foreign: Foreign = field(default_factory=dict)
    private: Mapping[int, Private] = field(default_factory=dict)

    def overridden(self, by: Parameters) -> Parameters:
        """These, where `by` does not say otherwise."""
        changes = {each.name: getattr(by, each.name) for each in fields(by) if each.name not in {"private", "foreign"}}
        set_ones = {name: value for name, value in changes.items() if value is not None}
        private, foreign = {**self.private, **by.private}, {**self.foreign, **by.foreign}
        return replace(self, **set_ones, private=private, foreign=foreign)


_UUID = Octets(16, exact=True)
_PARAMETERS: Mapping[int, tuple[str, Codec]] = {
    1: ("vendor_id", _UUID),
    2: ("class_id", _UUID),
    3: ("image_digest", Wrapped(Sha256Digest())),
    5: ("component_slot", Uint()),
    12: ("strict_order", Flag()),
    13: ("soft_failure", Flag()),
    14: ("image_size", Uint()),
    18: ("content", Octets(MAX_ARGUMENT_BYTES)),
    21: ("uri", Text(MAX_URI, empty=True)),
    22: ("source_component", Uint(MAX_COMPONENTS)),
    23: ("invoke_args", Octets(MAX_ARGUMENT_BYTES)),
    24: ("device_id", _UUID),
    25: ("fetch_arguments", Octets(MAX_ARGUMENT_BYTES)),
    28: ("version", _VersionMatch()),
}
"""Label to field and codec (12.4 of the draft). A vendor given as a private enterprise number is malformed here."""
FOREIGN_PARAMETERS = frozenset({4, 26, 27, 29, 30})
"""use-before, minimum-battery, update-priority, wait-info and component-metadata of the update-management draft."""

CommandSequence = tuple["Command", ...]
Argument = (
    Private | None | tuple[int, ...] | Parameters | CommandSequence | tuple[CommandSequence | None, ...] | Foreign
)
"""By code: a reporting policy, a component index (a number, True for all, several), parameters, a sequence,
alternatives (the last may be None: to do nothing), a map that is carried only, or what a private command takes.
"""


@dataclass(frozen=True)
class Command:
    """One condition or directive; a negative `code` is private."""

    code: int
    argument: Argument


def dump_sequence(sequence: CommandSequence) -> bytes:
    """The byte string that a member of the manifest holds."""
    return cbor.encode([item for command in sequence for item in (command.code, dump_arguments(command))])


def load_sequence(value: Any, place: Place, depth: int = 0) -> CommandSequence:
    """The inverse of `dump_sequence`. Raises InputError `suit-*`, `cbor-*`."""
    if depth > MAX_NESTING:
        raise place.over(depth, MAX_NESTING)
    items = cbor.decode(byte_string(value, place))
    if not isinstance(items, list) or not items or len(items) % 2:
        raise place.malformed("commands and their arguments")
    if len(items) > 2 * MAX_COMMANDS:
        raise place.over(len(items) // 2, MAX_COMMANDS)
    pairs = zip(items[::2], items[1::2], strict=True)
    return tuple(_load(code, argument, place / index, depth) for index, (code, argument) in enumerate(pairs))


def byte_string(value: Any, place: Place) -> bytes:
    """A byte string of whatever length the input had."""
    if not isinstance(value, bytes):
        raise place.malformed("a byte string")
    return value


def _load(code: Any, argument: Any, place: Place, depth: int) -> Command:
    if isinstance(code, bool) or not isinstance(code, int) or (code >= 0 and code not in set(Code)):
        raise place.malformed("a command that we know")
    if code < 0:
        return Command(code, None if argument is None else _private(argument, place))
    match code:
        case Code.RUN_SEQUENCE:
            return Command(code, load_sequence(argument, place, depth + 1))
        case Code.TRY_EACH:
            return Command(code, _load_alternatives(argument, place, depth + 1))
    load = _ARGUMENTS.get(code, Uint(MAX_POLICY).load)
    return Command(code, load(argument, place))


def dump_arguments(command: Command) -> Any:
    """What follows a command's code."""
    match command.code, command.argument:
        case ((Code.OVERRIDE_PARAMETERS | Code.SET_PARAMETERS), Parameters() as parameters):
            return dump_parameters(parameters)
        case Code.RUN_SEQUENCE, tuple() as sequence:
            return dump_sequence(sequence)
        case Code.TRY_EACH, tuple() as alternatives:
            return [None if each is None else dump_sequence(each) for each in alternatives]
    return command.argument


def _load_index(value: Any, place: Place) -> int | bool | tuple[int, ...]:
    if value is True:
        return True
    index = Uint(MAX_COMPONENTS - 1)
    if not isinstance(value, list):
        return index.load(value, place)
    if not 0 < len(value) <= MAX_COMPONENTS:
        raise place.over(len(value), MAX_COMPONENTS) if value else place.malformed("components")
    return tuple(index.load(each, place) for each in value)


def _load_foreign(value: Any, place: Place) -> Foreign:
    if not isinstance(value, dict) or not value:
        raise place.malformed("a map by component")
    return value


def load_version(value: Any, place: Place) -> tuple[int, ...]:
    """The numbers of a version; negative ones mark pre-releases. Raises InputError."""
    if not isinstance(value, list) or not value:
        raise place.malformed("numbers of a version")
    if len(value) > MAX_VERSION_PARTS:
        raise place.over(len(value), MAX_VERSION_PARTS)
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in value):
        raise place.malformed("numbers of a version")
    if (largest := max(map(abs, value))) > _MAX_VERSION_NUMBER:
        raise place.over(largest, _MAX_VERSION_NUMBER)
    return tuple(value)


def _load_alternatives(value: Any, place: Place, depth: int) -> tuple[CommandSequence | None, ...]:
    if not isinstance(value, list) or len([each for each in value if each is not None]) < 2:
        raise place.malformed("two alternatives or more")
    if len(value) > MAX_ALTERNATIVES:
        raise place.over(len(value), MAX_ALTERNATIVES)
    if None in value[:-1]:
        raise place.malformed("nil as the last alternative only")
    return tuple(None if each is None else load_sequence(each, place, depth) for each in value)


def dump_parameters(parameters: Parameters) -> dict[int, Any]:
    """The map that an override takes."""
    rows = ((label, codec, getattr(parameters, name)) for label, (name, codec) in _PARAMETERS.items())
    public = {label: codec.dump(value) for label, codec, value in rows if value is not None}
    return public | dict(parameters.foreign) | dict(parameters.private)


def load_parameters(value: Any, place: Place) -> Parameters:
    """The inverse of `dump_parameters`. Raises InputError."""
    if not isinstance(value, dict) or not value:
        raise place.malformed("parameters")
    public: dict[str, Any] = {}
    private: dict[int, Private] = {}
    foreign: dict[int, Any] = {}
    for label, each in value.items():
        if isinstance(label, int) and label < 0:
            private[label] = _private(each, place / label)
        elif label in FOREIGN_PARAMETERS:
            foreign[label] = each
        elif label in _PARAMETERS:
            name, codec = _PARAMETERS[label]
            public[name] = codec.load(each, place / name)
        else:
            raise (place / label).malformed("a parameter that we know")
    return Parameters(**public, private=private, foreign=foreign)


_ARGUMENTS: Mapping[int, Callable[[Any, Place], Argument]] = {
    Code.SET_COMPONENT_INDEX: _load_index,
    Code.OVERRIDE_PARAMETERS: load_parameters,
    Code.SET_PARAMETERS: load_parameters,
    Code.OVERRIDE_MULTIPLE: _load_foreign,
    Code.COPY_PARAMS: _load_foreign,
}
"""What commands take that is neither a sequence nor a reporting policy."""


def _private(value: Any, place: Place) -> Private:
    if not isinstance(value, int | str | bytes):
        raise place.malformed("a number, text, bytes, true or false")
    if isinstance(value, str | bytes) and len(value) > MAX_ARGUMENT_BYTES:
        raise place.over(len(value), MAX_ARGUMENT_BYTES)
    return value
