"""CoRIM: reference values in the form of the RATS working group (draft-ietf-rats-corim), the part of it that we speak.

    501({ 0: id, 1: [ 506(<< CoMID >>), ... ], ? 3: 32(profile), ? 5: entities })
    CoMID  { 1: { 0: id, ? 1: version }, ? 2: entities, 4: { 0: [ [ environment, [ measurement, ... ] ], ... ] } }

Of the triples only reference-triples (0) are read, of an environment only its class, of a measurement version, svn,
digests, raw value without a mask, and name; anything else is refused, never skipped. What is not ours may have its maps
in any order. Codes are `corim-truncated`, `-trailing`, `-limit`, `-malformed` and `cbor-*`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.claims import Claim, Claims, Inner
from medvouch.formats.record import Many, Octets, Place, Text, Uint

CONTENT_TYPE = "application/rim+cbor"
FORMAT = "corim"
MAX_CORIM_BYTES = 4 << 20
MAX_TAGS = 64
MAX_TRIPLES = 256
MAX_MEASUREMENTS = 8192
MAX_DIGESTS = 8
MAX_TEXT = 4096
"""Characters."""
MAX_RAW_BYTES = 4 * MAX_TEXT

TAG_CORIM, TAG_COMID, TAG_SVN, TAG_BYTES, TAG_URI, TAG_UUID, TAG_OID = 501, 506, 552, 560, 32, 37, 111
DIGEST_ALGORITHMS = {
    1: "sha256", 7: "sha384", 8: "sha512", 10: "sha3_256", 11: "sha3_384", 12: "sha3_512",
}  # fmt: skip
"""IANA Named Information Hash Algorithm Registry; neither SHA-1 nor SM3 has a number there."""
_ALGORITHM_NUMBERS = {label: number for number, label in DIGEST_ALGORITHMS.items()}


@dataclass(frozen=True)
class _Tagged:
    """A value under one tag."""

    tag: int
    item: Any

    def dump(self, value: Any) -> cbor.Tag:
        return cbor.Tag(self.tag, self.item.dump(value))

    def load(self, value: Any, place: Place) -> Any:
        if not isinstance(value, cbor.Tag) or value.tag != self.tag:
            raise place.malformed(f"tag {self.tag}")
        return self.item.load(value.value, place)


class _Identifier:
    """Text, or the 16 bytes of a UUID."""

    def dump(self, value: str | bytes) -> str | bytes:
        return value

    def load(self, value: Any, place: Place) -> str | bytes:
        if isinstance(value, bytes):
            identifier: bytes = Octets(16, exact=True).load(value, place)
            return identifier
        text: str = Text(MAX_TEXT).load(value, place)
        return text


class _Key:
    """An element's name or number."""

    def dump(self, value: str | int) -> str | int:
        return value

    def load(self, value: Any, place: Place) -> str | int:
        key: str | int = Text(MAX_TEXT).load(value, place) if isinstance(value, str) else Uint().load(value, place)
        return key


class _ClassId:
    """A UUID, OID or bytes, under its tag."""

    def dump(self, value: cbor.Tag) -> cbor.Tag:
        return value

    def load(self, value: Any, place: Place) -> cbor.Tag:
        if not isinstance(value, cbor.Tag) or value.tag not in (TAG_UUID, TAG_OID, TAG_BYTES):
            raise place.malformed("a UUID, an OID or bytes")
        return cbor.Tag(value.tag, Octets(MAX_TEXT).load(value.value, place))


class _Digest:
    """One digest as (label of its algorithm, digest); [number, bytes]."""

    def dump(self, value: tuple[str, bytes]) -> list[Any]:
        label, digest = value
        return [_ALGORITHM_NUMBERS[label], digest]

    def load(self, value: Any, place: Place) -> tuple[str, bytes]:
        if not isinstance(value, list) or len(value) != 2:
            raise place.malformed("[algorithm, digest]")
        number = Uint().load(value[0], place / 0)
        if number not in DIGEST_ALGORITHMS:
            raise (place / 0).malformed(f"an algorithm of {', '.join(DIGEST_ALGORITHMS.values())}")
        return DIGEST_ALGORITHMS[number], Octets(64).load(value[1], place / 1)


class _Digests:
    """At least one, by the label of its algorithm."""

    def dump(self, value: Mapping[str, bytes]) -> list[Any]:
        return Many(_Digest(), MAX_DIGESTS).dump(list(value.items()))

    def load(self, value: Any, place: Place) -> dict[str, bytes]:
        pairs = Many(_Digest(), MAX_DIGESTS).load(value, place)
        digests = dict(pairs)
        if not pairs or len(digests) != len(pairs):
            raise place.malformed("a digest, and one of each algorithm")
        return digests


@dataclass(frozen=True)
class Version(Claims):
    """version-map; the scheme is a number of CoSWID's registry."""

    FORMAT = FORMAT

    text: Annotated[str, Claim(0, Text(MAX_TEXT))]
    scheme: Annotated[int | None, Claim(1, Uint())] = None


@dataclass(frozen=True)
class Values(Claims):
    """measurement-values-map; `svn` is the exact one (552)."""

    FORMAT = FORMAT

    version: Annotated[Version | None, Claim(0, Inner(Version))] = None
    svn: Annotated[int | None, Claim(1, _Tagged(TAG_SVN, Uint()))] = None
    digests: Annotated[Mapping[str, bytes] | None, Claim(2, _Digests())] = None
    raw: Annotated[bytes | None, Claim(4, _Tagged(TAG_BYTES, Octets(MAX_RAW_BYTES)))] = None
    name: Annotated[str | None, Claim(11, Text(MAX_TEXT))] = None


@dataclass(frozen=True)
class Measurement(Claims):
    """measurement-map."""

    FORMAT = FORMAT

    values: Annotated[Values, Claim(1, Inner(Values))]
    key: Annotated[str | int | None, Claim(0, _Key())] = None


@dataclass(frozen=True)
class Class(Claims):
    """class-map: what kind of thing is measured."""

    FORMAT = FORMAT

    id: Annotated[cbor.Tag | None, Claim(0, _ClassId())] = None
    vendor: Annotated[str | None, Claim(1, Text(MAX_TEXT))] = None
    model: Annotated[str | None, Claim(2, Text(MAX_TEXT))] = None
    layer: Annotated[int | None, Claim(3, Uint())] = None
    index: Annotated[int | None, Claim(4, Uint())] = None


@dataclass(frozen=True)
class _Environment(Claims):
    FORMAT = FORMAT

    kind: Annotated[Class, Claim(0, Inner(Class))]


@dataclass(frozen=True)
class ReferenceTriple:
    """reference-triple-record: things of this class measure this."""

    kind: Class
    measurements: tuple[Measurement, ...]


class _TripleForm:
    def dump(self, value: ReferenceTriple) -> list[Any]:
        return [_Environment(value.kind).to_map(), _MEASUREMENTS.dump(value.measurements)]

    def load(self, value: Any, place: Place) -> ReferenceTriple:
        if not isinstance(value, list) or len(value) != 2:
            raise place.malformed("[environment, measurements]")
        environment = _Environment.from_map(value[0], place / 0)
        return ReferenceTriple(environment.kind, _MEASUREMENTS.load(value[1], place / 1))


@dataclass(frozen=True)
class _Some:
    """An array of at least one."""

    many: Many

    def dump(self, value: Any) -> list[Any]:
        return self.many.dump(value)

    def load(self, value: Any, place: Place) -> tuple[Any, ...]:
        items = self.many.load(value, place)
        if not items:
            raise place.malformed("at least one")
        return items


_MEASUREMENTS = _Some(Many(Inner(Measurement), MAX_MEASUREMENTS))


@dataclass(frozen=True)
class Entity(Claims):
    """entity-map: who has to do with it."""

    FORMAT = FORMAT

    name: Annotated[str, Claim(0, Text(MAX_TEXT))]
    roles: Annotated[tuple[int, ...], Claim(2, _Some(Many(Uint(), 16)))]
    uri: Annotated[str | None, Claim(1, _Tagged(TAG_URI, Text(MAX_TEXT)))] = None


_ENTITIES = _Some(Many(Inner(Entity), 16))


@dataclass(frozen=True)
class _Identity(Claims):
    FORMAT = FORMAT

    id: Annotated[str | bytes, Claim(0, _Identifier())]
    version: Annotated[int | None, Claim(1, Uint())] = None


@dataclass(frozen=True)
class _Triples(Claims):
    FORMAT = FORMAT

    reference: Annotated[tuple[ReferenceTriple, ...], Claim(0, _Some(Many(_TripleForm(), MAX_TRIPLES)))]


@dataclass(frozen=True)
class _ComidMap(Claims):
    FORMAT = FORMAT

    identity: Annotated[_Identity, Claim(1, Inner(_Identity))]
    triples: Annotated[_Triples, Claim(4, Inner(_Triples))]
    entities: Annotated[tuple[Entity, ...] | None, Claim(2, _ENTITIES)] = None


@dataclass(frozen=True)
class Comid:
    """concise-mid-tag with nothing but reference triples."""

    id: str | bytes
    triples: tuple[ReferenceTriple, ...]
    version: int | None = None
    entities: tuple[Entity, ...] | None = None

    @classmethod
    def parse(cls, data: bytes) -> Comid:
        """From CBOR."""
        found = _ComidMap.from_map(cbor.decode(data, deterministic=False), Place(FORMAT))
        return cls(found.identity.id, found.triples.reference, found.identity.version, found.entities)

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        return _ComidMap(_Identity(self.id, self.version), _Triples(self.triples), self.entities).encode()


class _ComidForm:
    """A CoMID as a byte string that holds its encoding."""

    def dump(self, value: Comid) -> bytes:
        return value.encode()

    def load(self, value: Any, place: Place) -> Comid:
        data = Octets(MAX_CORIM_BYTES).load(value, place)
        try:
            return Comid.parse(data)
        except InputError as error:
            raise InputError(error.code, f"{error.place}: {error.detail}", place=place.path) from error


@dataclass(frozen=True)
class _CorimMap(Claims):
    FORMAT = FORMAT

    id: Annotated[str | bytes, Claim(0, _Identifier())]
    tags: Annotated[tuple[Comid, ...], Claim(1, _Some(Many(_Tagged(TAG_COMID, _ComidForm()), MAX_TAGS)))]
    profile: Annotated[str | None, Claim(3, _Tagged(TAG_URI, Text(MAX_TEXT)))] = None
    entities: Annotated[tuple[Entity, ...] | None, Claim(5, _ENTITIES)] = None


@dataclass(frozen=True)
class Corim:
    """corim-map whose tags are CoMIDs; what it is signed in is COSE_Sign1 of `encode`."""

    id: str | bytes
    tags: tuple[Comid, ...]
    profile: str | None = None
    entities: tuple[Entity, ...] | None = None

    @classmethod
    def parse(cls, data: bytes) -> Corim:
        """From CBOR, under tag 501."""
        if len(data) > MAX_CORIM_BYTES:
            raise Place(FORMAT).over(len(data), MAX_CORIM_BYTES)
        tagged = cbor.decode(data, deterministic=False)
        if not isinstance(tagged, cbor.Tag) or tagged.tag != TAG_CORIM:
            raise Place(FORMAT).malformed(f"tag {TAG_CORIM}")
        found = _CorimMap.from_map(tagged.value, Place(FORMAT))
        return cls(found.id, found.tags, found.profile, found.entities)

    def encode(self) -> bytes:
        """Deterministic CBOR, under tag 501."""
        return cbor.encode(cbor.Tag(TAG_CORIM, _CorimMap(self.id, self.tags, self.profile, self.entities).to_map()))
