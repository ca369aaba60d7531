"""Conceptual message wrappers (RFC 9999): typed records of attestation messages, alone or collected under labels."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medvouch.errors import InputError
from medvouch.formats import cbor

MAX_RECORDS = 64
"""Records in one collection."""
MAX_TYPE_CHARACTERS = 255
MAX_CONTENT_FORMAT = 65535
"""CoAP Content-Formats are 16 bits (RFC 7252, 12.3)."""

_TYPE_LABEL = "__cmwc_t"
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}( ?;[ -~]+)?")
_FIRST_TAG = 1668546817
"""The CBOR tag of Content-Format 0 (RFC 9277, 4.3); 255 formats, then a tag left out, and so on."""


class Indicator(enum.IntFlag):
    """What a record holds; bits of cm-type (RFC 9999, section 3.1)."""

    REFERENCE_VALUES = 1
    ENDORSEMENTS = 2
    EVIDENCE = 4
    ATTESTATION_RESULTS = 8
    APPRAISAL_POLICY = 16


_ALL_INDICATORS = sum(Indicator)


@dataclass(frozen=True)
class Record:
    """One message: `[type, value, ? indicator]`, or the bare value under a tag that says its type (`tagged`).

    `media_type` is a media type, or the number of a CoAP Content-Format, as it was written. `indicator` 0 is absent.
    """

    media_type: str | int
    value: bytes
    indicator: int = 0
    tagged: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Record:
        """From CBOR; InputError `cmw-*` or `cbor-*`."""
        return cls.of(cbor.decode(data))

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        return cbor.encode(self.value_of())

    @classmethod
    def of(cls, value: object) -> Record:
        """From the decoded array or tag."""
        if isinstance(value, cbor.Tag):
            return cls(_content_format(value.tag), _octets(value.value), tagged=True)
        if not isinstance(value, list) or len(value) not in (2, 3):
            raise _malformed("a record is an array of two or three")
        indicator = _indicator(value[2]) if len(value) == 3 else 0
        return cls(_type(value[0]), _octets(value[1]), indicator)

    def value_of(self) -> Any:
        """The array or tag that is encoded; ValueError where a tag cannot say what this record says."""
        if not self.tagged:
            return [self.media_type, self.value, *([self.indicator] if self.indicator else [])]
        if not isinstance(self.media_type, int) or self.indicator:
            raise ValueError("a tag says a Content-Format and nothing else")
        return cbor.Tag(_FIRST_TAG + self.media_type + self.media_type // 255, self.value)


@dataclass(frozen=True)
class Collection:
    """Records, and collections of them, by label; `type` is a URI or OID that says how to read them."""

    type: str | None
    records: Mapping[str | int, Record | Collection]

    @classmethod
    def parse(cls, data: bytes) -> Collection:
        """From CBOR; InputError `cmw-*` or `cbor-*`."""
        return cls.of(cbor.decode(data))

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        return cbor.encode(self.value_of())

    @classmethod
    def of(cls, value: object) -> Collection:
        """From the decoded map."""
        if not isinstance(value, dict):
            raise _malformed("a collection is a map")
        kind = _collection_type(value.pop(_TYPE_LABEL)) if _TYPE_LABEL in value else None
        if not value:
            raise _malformed("a collection of nothing")
        if len(value) > MAX_RECORDS:
            raise InputError("cmw-limit", f"{len(value)} records where at most {MAX_RECORDS} are allowed")
        if any(isinstance(label, bytes) for label in value):
            raise _malformed("a label is a number or text")
        return cls(kind, {label: _item(item) for label, item in value.items()})

    def value_of(self) -> dict[str | int, Any]:
        """The map that is encoded."""
        typed: dict[str | int, Any] = {} if self.type is None else {_TYPE_LABEL: self.type}
        return typed | {label: item.value_of() for label, item in self.records.items()}


def _item(value: object) -> Record | Collection:
    return Collection.of(value) if isinstance(value, dict) else Record.of(value)


def _type(value: object) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= MAX_CONTENT_FORMAT:
            raise _malformed(f"{value} is no Content-Format")
        return value
    if not isinstance(value, str) or len(value) > MAX_TYPE_CHARACTERS or not _MEDIA_TYPE.fullmatch(value):
        raise _malformed("a record begins with a media type or a Content-Format")
    return value


def _content_format(tag: int) -> int:
    block, place = divmod(tag - _FIRST_TAG, 256)
    number = 255 * block + place
    if place == 255 or not 0 <= number <= MAX_CONTENT_FORMAT:
        raise _malformed(f"tag {tag} stands for no Content-Format")
    return number


def _indicator(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _ALL_INDICATORS:
        raise _malformed("an indicator is at least one of the bits 0 to 4")
    return value


def _collection_type(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TYPE_CHARACTERS:
        raise _malformed("the type of a collection is a URI or an OID")
    return value


def _octets(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise _malformed("the value of a record is a byte string")
    return value


def _malformed(detail: str) -> InputError:
    return InputError("cmw-malformed", detail)
