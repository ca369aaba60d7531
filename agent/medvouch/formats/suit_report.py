"""SUIT reports (draft-ietf-suit-report): what a manifest's run came to, command by command where it was asked for.

    SUIT_Report = { 99: [reference URI, SUIT_Digest], ? 2: nonce, 3: [* record / claims],
                    4: true / {5: code, 6: record, 7: reason} }
    record = [[* dependency index], section, offset in it, component index, {* parameter}]
    claims = {0: component id, + parameter}

A section is the key of the manifest's member, 3 for the shared sequence; a command within a sequence within one has the
offset of the outermost. The code is that of the exit (errors.py), since SUIT leaves it to who reports.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from medvouch.formats import cbor
from medvouch.formats.record import Octets, Place, Text, Uint
from medvouch.formats.suit_commands import (
    MAX_COMPONENTS,
    MAX_URI,
    Parameters,
    Sha256Digest,
    dump_parameters,
    load_parameters,
)
from medvouch.formats.suit_manifest import MAX_MANIFEST_BYTES, ComponentId, load_component

MAX_REPORT_BYTES = 1 << 16
MAX_RECORDS = 256
MAX_DEPENDENCY_DEPTH = 3
MAX_NONCE_BYTES = 64
_PLACE = Place("suit-report")
_NONCE, _RECORDS, _RESULT, _CODE, _RECORD, _REASON, _REFERENCE = 2, 3, 4, 5, 6, 7, 99
_MAX_CODE = 255
_ARRAY_HEAD = 3
"""Bytes of the head of an array of up to 65,535 items."""


class Reason(enum.IntEnum):
    """Why a run ended (suit-report-reason-*)."""

    OK = 0
    CBOR_PARSE = 1
    COSE_UNSUPPORTED = 2
    ALG_UNSUPPORTED = 3
    UNAUTHORISED = 4
    COMMAND_UNSUPPORTED = 5
    COMPONENT_UNSUPPORTED = 6
    COMPONENT_UNAUTHORISED = 7
    PARAMETER_UNSUPPORTED = 8
    SEVERING_UNSUPPORTED = 9
    CONDITION_FAILED = 10
    OPERATION_FAILED = 11
    INVOKE_PENDING = 12


@dataclass(frozen=True)
class CommandRecord:
    """One command for one component: in which manifest (dependency indexes from the top), section and place of it."""

    manifest: tuple[int, ...]
    section: int
    offset: int
    component: int
    properties: Parameters = field(default_factory=Parameters)


@dataclass(frozen=True)
class SystemClaims:
    """What a component was found to be."""

    component: ComponentId
    properties: Parameters


@dataclass(frozen=True)
class Failure:
    """Where a run ended, and why."""

    code: int
    record: CommandRecord
    reason: Reason


@dataclass(frozen=True)
class SuitReport:
    """The report of one run of the manifest with this `digest`; `failure` None where all of it was done."""

    uri: str
    digest: bytes
    records: tuple[CommandRecord | SystemClaims, ...] = ()
    failure: Failure | None = None
    nonce: bytes | None = None

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        members: dict[int, Any] = {
            _REFERENCE: [self.uri, Sha256Digest().dump(self.digest)],
            _RECORDS: [_dump_record(each) for each in self.records],
            _RESULT: True if self.failure is None else _dump_failure(self.failure),
        }
        return cbor.encode(members if self.nonce is None else members | {_NONCE: self.nonce})

    def bounded(self) -> SuitReport:
        """As much of it as a report may have with a nonce: without the last records, and parameters that are large."""
        failure = self.failure
        if failure and len(cbor.encode(_dump_failure(failure))) > MAX_REPORT_BYTES // 2:
            failure = replace(failure, record=replace(failure.record, properties=Parameters()))
        bare = replace(self, records=(), failure=failure, nonce=bytes(MAX_NONCE_BYTES))
        room = MAX_REPORT_BYTES - len(bare.encode()) - _ARRAY_HEAD
        sizes = accumulate(len(cbor.encode(_dump_record(each))) for each in self.records[:MAX_RECORDS])
        kept = sum(size <= room for size in sizes)
        return replace(self, records=self.records[:kept], failure=failure)

    @classmethod
    def parse(cls, data: bytes) -> SuitReport:
        """The inverse of `encode`. Raises InputError `suit-report-*`, `suit-*`, `cbor-*`."""
        if len(data) > MAX_REPORT_BYTES:
            raise _PLACE.over(len(data), MAX_REPORT_BYTES)
        members = cbor.decode(data)
        if not isinstance(members, dict) or set(members) - {_NONCE} != {_REFERENCE, _RECORDS, _RESULT}:
            raise _PLACE.malformed("a report")
        uri, digest = _array(members[_REFERENCE], 2, _PLACE / "reference")
        records = members[_RECORDS]
        if not isinstance(records, list):
            raise (_PLACE / "records").malformed("an array")
        if len(records) > MAX_RECORDS:
            raise (_PLACE / "records").over(len(records), MAX_RECORDS)
        return cls(
            Text(MAX_URI, empty=True).load(uri, _PLACE / "reference"),
            Sha256Digest().load(digest, _PLACE / "reference"),
            tuple(_load_record(each, _PLACE / "records" / index) for index, each in enumerate(records)),
            None if members[_RESULT] is True else _load_failure(members[_RESULT]),
            Octets(MAX_NONCE_BYTES).load(members[_NONCE], _PLACE / "nonce") if _NONCE in members else None,
        )


def _dump_record(record: CommandRecord | SystemClaims) -> Any:
    properties = dump_parameters(record.properties)
    if isinstance(record, SystemClaims):
        return {0: list(record.component), **properties}
    return [list(record.manifest), record.section, record.offset, record.component, properties]


def _load_record(value: Any, place: Place) -> CommandRecord | SystemClaims:
    if isinstance(value, dict):
        claims = dict(value)
        return SystemClaims(load_component(claims.pop(0, None), place), load_parameters(claims, place))
    return _load_command(value, place)


def _load_command(value: Any, place: Place) -> CommandRecord:
    manifest, section, offset, component, properties = _array(value, 5, place)
    if not isinstance(manifest, list) or len(manifest) > MAX_DEPENDENCY_DEPTH:
        raise place.malformed("the indexes of a dependency")
    index = Uint(MAX_COMPONENTS - 1)
    return CommandRecord(
        tuple(index.load(each, place / "manifest") for each in manifest),
        Uint(_MAX_CODE).load(section, place / "section"),
        Uint(MAX_MANIFEST_BYTES).load(offset, place / "offset"),
        index.load(component, place / "component"),
        Parameters() if properties == {} else load_parameters(properties, place / "properties"),
    )


def _dump_failure(failure: Failure) -> dict[int, Any]:
    return {_CODE: failure.code, _RECORD: _dump_record(failure.record), _REASON: int(failure.reason)}


def _load_failure(value: Any) -> Failure:
    place = _PLACE / "result"
    if not isinstance(value, dict) or set(value) != {_CODE, _RECORD, _REASON}:
        raise place.malformed("true, or a code, a record and a reason")
    reason = Uint(max(Reason)).load(value[_REASON], place / "reason")
    code = Uint(_MAX_CODE).load(value[_CODE], place / "code")
    return Failure(code, _load_command(value[_RECORD], place / "record"), Reason(reason))


def _array(value: Any, size: int, place: Place) -> list[Any]:
    if not isinstance(value, list) or len(value) != size:
        raise place.malformed(f"an array of {size}")
    return value
