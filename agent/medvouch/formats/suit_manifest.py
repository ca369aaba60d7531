"""The SUIT manifest (draft-ietf-suit-manifest, 8.4): which components there are and the commands for each occasion.

    SUIT_Manifest = {
      1: 1, 2: sequence number, 3: bstr(SUIT_Common), ? 4: reference URI, ? 5: component id, ? 6: bstr([+ int]),
      ? 7, 8, 9, 24: bstr(commands)                                  validate, load, invoke, uninstall
      ? 15, 16, 18, 20: bstr(commands) / SUIT_Digest                 those that may be severed, and
      ? 23: bstr(text) / SUIT_Digest                                 the text for people
      ? 14: bstr(CoSWID) / SUIT_Digest                               carried, and refused by who runs it
    }
    SUIT_Common = { ? 1: {+ component index: {? 1: prefix}}, ? 2: [+ [* bstr]], ? 4: bstr(shared sequence) }

Members 5, 15, 18 and 24, and dependencies (member 1 of common) are of draft-ietf-suit-trust-domains; 6 (the version of
what is installed) and 14 of draft-ietf-suit-update-management. A dependency's index continues those of the components,
or is one of theirs. The text stays bytes: its maps have arrays as keys, which our CBOR does not admit, and nothing
depends on it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medvouch.formats import cbor
from medvouch.formats.record import Octets, Place, Text, Uint
from medvouch.formats.suit_commands import (
    MAX_COMPONENTS,
    MAX_URI,
    PLACE,
    CommandSequence,
    Foreign,
    Sha256Digest,
    byte_string,
    dump_sequence,
    load_sequence,
    load_version,
)

MAX_MANIFEST_BYTES = 1 << 16
VERSION = 1
"""Of the manifest structure."""
MAX_ID_PARTS, MAX_ID_BYTES = 8, 64
COSWID = 14
"""The member that may hold a CoSWID tag; nothing here reads one."""


class Member(enum.IntEnum):
    """Members that hold commands, and the text (12.2 of the draft)."""

    VALIDATE = 7
    LOAD = 8
    INVOKE = 9
    DEPENDENCY_RESOLUTION = 15
    PAYLOAD_FETCH = 16
    CANDIDATE_VERIFICATION = 18
    INSTALL = 20
    TEXT = 23
    UNINSTALL = 24


SEVERABLE = frozenset(
    {
        Member.DEPENDENCY_RESOLUTION,
        Member.PAYLOAD_FETCH,
        Member.CANDIDATE_VERIFICATION,
        Member.INSTALL,
        Member.TEXT,
    }
)
"""May stand in the envelope, their digest in the manifest."""

ComponentId = tuple[bytes, ...]
_PLAIN = re.compile(rb"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Common:
    """What all sequences share; `shared` is empty where there is no such sequence.

    `dependencies`: manifests that this one depends on by component index, with the prefix of their components' ids
    (None where none is stated).
    """

    components: tuple[ComponentId, ...]
    shared: CommandSequence = ()
    dependencies: Mapping[int, ComponentId | None] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As the manifest holds it."""
        members: dict[int, Any] = {}
        if self.dependencies:
            members[1] = {
                index: {} if prefix is None else {1: list(prefix)} for index, prefix in self.dependencies.items()
            }
        if self.components:
            members[2] = [list(component) for component in self.components]
        if self.shared:
            members[4] = dump_sequence(self.shared)
        return cbor.encode(members)

    @classmethod
    def load(cls, value: Any, place: Place) -> Common:
        """The inverse of `encode`; a component that stands twice is refused."""
        members = cbor.decode(byte_string(value, place))
        if not isinstance(members, dict) or not set(members) <= {1, 2, 4}:
            raise place.malformed("dependencies, components and a shared sequence")
        components: tuple[ComponentId, ...] = ()
        if 2 in members:
            components = _load_components(members[2], place / "components")
        shared = load_sequence(members[4], place / "shared") if 4 in members else ()
        return cls(components, shared, _load_dependencies(members[1], place / "dependencies") if 1 in members else {})


@dataclass(frozen=True)
class Manifest:
    """A manifest. `severed`: SHA-256 of members that stand elsewhere, over their byte string with its CBOR head.

    `foreign`: members that are known and that nobody here acts upon, as they came.
    """

    sequence_number: int
    common: Common
    sequences: Mapping[Member, CommandSequence] = field(default_factory=dict)
    severed: Mapping[Member, bytes] = field(default_factory=dict)
    text: bytes | None = None
    reference_uri: str | None = None
    component_id: ComponentId | None = None
    version: tuple[int, ...] | None = None
    foreign: Foreign = field(default_factory=dict)

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        members: dict[int, Any] = {1: VERSION, 2: self.sequence_number, 3: self.common.encode()}
        if self.reference_uri is not None:
            members[4] = self.reference_uri
        if self.component_id is not None:
            members[5] = list(self.component_id)
        if self.version is not None:
            members[6] = cbor.encode(self.version)
        members |= {member: dump_sequence(sequence) for member, sequence in self.sequences.items()}
        if self.text is not None:
            members[Member.TEXT] = self.text
        members |= {member: Sha256Digest().dump(digest) for member, digest in self.severed.items()}
        return cbor.encode(members | dict(self.foreign))

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """The inverse of `encode`. Raises InputError `suit-*`, `cbor-*`."""
        members = cbor.decode(data)
        if not isinstance(members, dict) or not {1, 2, 3} <= set(members) <= {1, 2, 3, 4, 5, 6, COSWID, *Member}:
            raise PLACE.malformed("a manifest of members that we know")
        if members[1] != VERSION or members[1] is True:
            raise (PLACE / "version").malformed("manifest version 1")
        sequences, severed, text = _load_members(members)
        return cls(
            Uint().load(members[2], PLACE / "sequence number"),
            Common.load(members[3], PLACE / "common"),
            sequences,
            severed,
            text,
            reference_uri=Text(MAX_URI).load(members[4], PLACE / "reference uri") if 4 in members else None,
            component_id=load_component(members[5], PLACE / "component id") if 5 in members else None,
            version=_load_version(members[6], PLACE / "set version") if 6 in members else None,
            foreign={label: members[label] for label in (COSWID,) if label in members},
        )


def component_name(component: ComponentId) -> str:
    """Its parts joined by slashes, as text where they are plain, else as h'hex': no two components share a name."""
    return "/".join(part.decode() if _PLAIN.fullmatch(part) else f"h'{part.hex()}'" for part in component)


def member_name(member: Member) -> str:
    """As places of refusals have it."""
    return member.name.lower().replace("_", "-")


def load_member(member: Member, data: bytes) -> CommandSequence:
    """The commands of a member that stood in the envelope. Raises InputError."""
    return load_sequence(data, PLACE / member.name.lower())


def _load_members(
    members: Mapping[int, Any],
) -> tuple[dict[Member, CommandSequence], dict[Member, bytes], bytes | None]:
    sequences: dict[Member, CommandSequence] = {}
    severed: dict[Member, bytes] = {}
    text: bytes | None = None
    for member in Member:
        value, place = members.get(member), PLACE / member.name.lower()
        if member not in members:
            continue
        if member in SEVERABLE and isinstance(value, list):
            severed[member] = Sha256Digest().load(value, place)
        elif member is Member.TEXT:
            text = byte_string(value, place)
        else:
            sequences[member] = load_sequence(value, place)
    return sequences, severed, text


def _load_components(value: Any, place: Place) -> tuple[ComponentId, ...]:
    if not isinstance(value, list) or not value:
        raise place.malformed("components")
    if len(value) > MAX_COMPONENTS:
        raise place.over(len(value), MAX_COMPONENTS)
    components = tuple(load_component(each, place / index) for index, each in enumerate(value))
    if len(set(components)) != len(components):
        raise place.malformed("each component once")
    return components


def load_component(value: Any, place: Place) -> ComponentId:
    """A component identifier: an array of byte strings. Raises InputError."""
    if not isinstance(value, list):
        raise place.malformed("a component identifier")
    if len(value) > MAX_ID_PARTS:
        raise place.over(len(value), MAX_ID_PARTS)
    return tuple(Octets(MAX_ID_BYTES).load(part, place) for part in value)


def _load_version(value: Any, place: Place) -> tuple[int, ...]:
    return load_version(cbor.decode(byte_string(value, place)), place)


def _load_dependencies(value: Any, place: Place) -> dict[int, ComponentId | None]:
    if not isinstance(value, dict) or not value:
        raise place.malformed("dependencies by component index")
    dependencies: dict[int, ComponentId | None] = {}
    for index, metadata in value.items():
        Uint(MAX_COMPONENTS - 1).load(index, place)
        if not isinstance(metadata, dict) or not set(metadata) <= {1}:
            raise (place / index).malformed("a prefix or nothing")
        dependencies[index] = load_component(metadata[1], place / index) if metadata else None
    return dependencies
