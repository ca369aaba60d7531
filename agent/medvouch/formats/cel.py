"""TCG Canonical Event Log 1.1: CEL-CBOR for events of our own, and CEL-TLV as others write it.

    CEL-CBOR  [ +{0: number, 1: PCR / 2: NV index, 3: [ +{0: algorithm, 1: digest} ], 9: content type, 10: content} ]
    CEL-TLV   per record: 0 number | 1 PCR, or 2 NV index | 3 digests | content, each  type u8 | size u32 | value
              digests: each  algorithm u8 | size u32 | digest;  all integers big endian

CEL-CBOR is deterministic CBOR. `formats.systemd` reads the third encoding, CEL-JSON.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor
from medvouch.formats.eventlog import PCR_COUNT

FORMAT = "cel"
MAX_LOG_BYTES = 4 << 20
MAX_RECORDS = 8192
MAX_CONTENT_BYTES = 1 << 20
MAX_NUMBER = 2**64 - 1
_MAX_NV_INDEX = 2**32 - 1

_NUMBER, _PCR, _NV_INDEX, _DIGESTS, _CONTENT_TYPE, _CONTENT = 0, 1, 2, 3, 9, 10
_ALGORITHM, _DIGEST = 0, 1
_FIRST, _SECOND = 0, 1


class ContentType(enum.IntEnum):
    """What `content` is; in CEL-TLV the type of the last field."""

    CEL = 4
    """Management of the log itself."""
    PC_CLIENT = 5
    """{0: event type, 1: event data} of a firmware event."""
    IMA_TEMPLATE = 7
    """{0: template name, 1: template data}."""
    IMA_TLV = 8
    SYSTEMD = 9
    """JSON text."""


@dataclass(frozen=True)
class CelRecord:
    """One measurement: into `pcr`, or into `nv_index`. `content` is CBOR data; of CEL-TLV bytes where it is unknown."""

    number: int
    digests: Mapping[HashAlg, bytes]
    content_type: int
    content: Any = field(default=b"")
    pcr: int | None = None
    nv_index: int | None = None


def encode(records: Sequence[CelRecord]) -> bytes:
    """CEL-CBOR."""
    return cbor.encode([_as_map(record) for record in records])


def _as_map(record: CelRecord) -> dict[int, Any]:
    place = {_PCR: record.pcr} if record.nv_index is None else {_NV_INDEX: record.nv_index}
    digests = [{_ALGORITHM: int(bank), _DIGEST: digest} for bank, digest in record.digests.items()]
    head = {_NUMBER: record.number, **place, _DIGESTS: digests}
    return {**head, _CONTENT_TYPE: int(record.content_type), _CONTENT: record.content}


def parse(data: bytes) -> tuple[CelRecord, ...]:
    """CEL-CBOR; raises InputError `cel-limit`, `cel-malformed` or `cbor-*`. Numbers ascend one by one."""
    _limit(len(data), MAX_LOG_BYTES, "bytes")
    items = cbor.decode(data)
    if not isinstance(items, list) or not items:
        _malformed("no records", 0)
    _limit(len(items), MAX_RECORDS, "records")
    return _ascending(_from_map(item, index) for index, item in enumerate(items))


def _from_map(item: Any, index: int) -> CelRecord:
    places = item.keys() & {_PCR, _NV_INDEX} if isinstance(item, dict) else set()
    if len(places) != 1 or item.keys() != {_NUMBER, _DIGESTS, _CONTENT_TYPE, _CONTENT} | places:
        _malformed("unexpected fields", index)
    digests = item[_DIGESTS]
    if not isinstance(digests, list) or not all(isinstance(each, dict) for each in digests):
        _malformed("digests expected", index)
    return CelRecord(
        number=_uint(item[_NUMBER], MAX_NUMBER, index),
        digests=_digests([(each.get(_ALGORITHM), each.get(_DIGEST), len(each)) for each in digests], index),
        content_type=_uint(item[_CONTENT_TYPE], 255, index),
        content=item[_CONTENT],
        pcr=_uint(item[_PCR], PCR_COUNT - 1, index) if _PCR in places else None,
        nv_index=_uint(item[_NV_INDEX], _MAX_NV_INDEX, index) if _NV_INDEX in places else None,
    )


def _digests(parts: Iterable[tuple[Any, Any, int]], index: int) -> dict[HashAlg, bytes]:
    """Of (algorithm, digest, number of members)."""
    digests: dict[HashAlg, bytes] = {}
    for identifier, digest, members in parts:
        known = type(identifier) is int and identifier in set(HashAlg) and isinstance(digest, bytes)
        if not known or members != 2 or HashAlg(identifier).size != len(digest) or identifier in digests:
            _malformed("a digest of each bank once expected", index)
        digests[HashAlg(identifier)] = digest
    if not digests:
        _malformed("a digest expected", index)
    return digests


def parse_tlv(data: bytes) -> tuple[CelRecord, ...]:
    """CEL-TLV; raises InputError `cel-truncated`, `-limit` or `-malformed`. A log cut between records is a log, too."""
    _limit(len(data), MAX_LOG_BYTES, "bytes")
    cursor = Cursor(data, FORMAT)
    records: list[CelRecord] = []
    while cursor.remaining:
        _limit(len(records) + 1, MAX_RECORDS, "records")
        records.append(_from_tlv(cursor, len(records)))
    return _ascending(records)


def _from_tlv(cursor: Cursor, index: int) -> CelRecord:
    number = _integer(_field(cursor, _NUMBER), index, MAX_NUMBER)
    place, value = _tlv(cursor)
    limits = {_PCR: PCR_COUNT - 1, _NV_INDEX: _MAX_NV_INDEX}
    if place not in limits:
        cursor.fail("malformed", f"field {place} where a PCR or an NV index belongs")
    where = _integer(value, index, limits[place])
    inner = Cursor(_field(cursor, _DIGESTS), FORMAT)
    parts = []
    while inner.remaining:
        parts.append((*_tlv(inner), 2))
    kind, content = _tlv(cursor)
    pcr, nv_index = (where, None) if place == _PCR else (None, where)
    return CelRecord(number, _digests(parts, index), kind, _contents(kind, content), pcr, nv_index)


def _tlv(cursor: Cursor) -> tuple[int, bytes]:
    return cursor.u8(), cursor.sized(4, MAX_CONTENT_BYTES)


def _field(cursor: Cursor, wanted: int) -> bytes:
    kind, value = _tlv(cursor)
    if kind != wanted:
        cursor.fail("malformed", f"field {kind} where {wanted} belongs")
    return value


def _integer(value: bytes, index: int, limit: int) -> int:
    if not 0 < len(value) <= 8:
        _malformed(f"a number of {len(value)} bytes", index)
    return _uint(int.from_bytes(value, "big"), limit, index)


def _contents(kind: int, content: bytes) -> Any:
    return _CONTENTS[kind](content) if kind in _CONTENTS else content


def _pair(read: Callable[[bytes, Cursor], Any]) -> Callable[[bytes], dict[int, Any]]:
    """Two fields, 0 and 1, of which `read` has the first."""

    def contents(content: bytes) -> dict[int, Any]:
        cursor = Cursor(content, FORMAT)
        first, second = _field(cursor, _FIRST), _field(cursor, _SECOND)
        cursor.done()
        return {_FIRST: read(first, cursor), _SECOND: second}

    return contents


def _event_type(value: bytes, cursor: Cursor) -> int:
    if len(value) != 4:
        cursor.fail("malformed", f"an event type of {len(value)} bytes")
    return int.from_bytes(value, "big")


def _utf8(value: bytes, cursor: Cursor) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        cursor.fail("malformed", "a text that is no UTF-8")


_CONTENTS: Mapping[int, Callable[[bytes], Any]] = {
    ContentType.PC_CLIENT: _pair(_event_type),
    ContentType.IMA_TEMPLATE: _pair(_utf8),
    ContentType.SYSTEMD: lambda content: _utf8(content, Cursor(content, FORMAT)),
}


def _ascending(records: Iterable[CelRecord]) -> tuple[CelRecord, ...]:
    found: list[CelRecord] = []
    for record in records:
        if found and record.number != found[-1].number + 1:
            _malformed(f"number {record.number} follows {found[-1].number}", len(found))
        found.append(record)
    return tuple(found)


def _uint(value: Any, limit: int, index: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        _malformed(f"a number from 0 to {limit} expected", index)
    return value


def _limit(number: int, limit: int, what: str) -> None:
    if number > limit:
        raise InputError(f"{FORMAT}-limit", f"{number} {what} where at most {limit} are allowed")


def _malformed(detail: str, index: int) -> NoReturn:
    raise InputError(f"{FORMAT}-malformed", detail, place=f"record {index}")
