r"""systemd's userspace measurement log, `/run/log/systemd/tpm2-measure.log` (systemd 252 and later).

An RFC 7464 sequence of CEL-JSON records without `recnum`, each 0x1E, one JSON object, 0x0A:

    {"pcr":11,"digests":[{"hashAlg":"sha256","digest":"..."}],"content_type":"systemd",
     "content":{"string":"enter-initrd","bootId":"...","timestamp":1234,"eventType":"phase"}}

A record has `nv_index` in place of `pcr` where systemd extended an NV index.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Fault
from medvouch.formats.eventlog import PCR_COUNT
from medvouch.formats.json_object import unique
from medvouch.formats.text import printable

FORMAT = "systemd"
MAX_LOG_BYTES = 4 << 20
MAX_RECORDS = 65536
MAX_RECORD_BYTES = 64 << 10
PHASE = "phase"

_START, _END = b"\x1e", b"\n"


@dataclass(frozen=True)
class Record:
    """One measurement: into `pcr`, or into `nv_index`. `content` is what systemd says of it, as JSON values."""

    index: int
    digests: Mapping[HashAlg, bytes]
    pcr: int | None = None
    nv_index: int | None = None
    content_type: str = "systemd"
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def string(self) -> str:
        """What was measured, in words; for phases and identities the digest is the hash of this text."""
        value = self.content.get("string", "")
        return value if isinstance(value, str) else ""

    @property
    def event_type(self) -> str:
        """`phase`, `filesystem`, `volume-key`, `machine-id`, ...; empty where unknown."""
        value = self.content.get("eventType", "")
        return value if isinstance(value, str) else ""

    def describe(self) -> str:
        """One printable line, for messages."""
        return printable(f"record {self.index} {self.event_type or 'measurement'} {self.string}".rstrip())

    def encode(self) -> bytes:
        """The record as systemd writes it."""
        target = {"pcr": self.pcr} if self.nv_index is None else {"nv_index": self.nv_index}
        digests = [{"hashAlg": bank.label, "digest": digest.hex()} for bank, digest in self.digests.items()]
        record = target | {"digests": digests, "content_type": self.content_type, "content": dict(self.content)}
        return _START + _ENCODER.encode(record).encode() + _END


def encode(records: Iterable[Record]) -> bytes:
    """The log."""
    return b"".join(record.encode() for record in records)


def parse(data: bytes) -> tuple[Record, ...]:
    """A whole log; raises InputError `systemd-truncated`, `-limit` or `-malformed`. No record is a log, too.

    A log cut between two records is a well-formed shorter log; only the replay tells.
    """
    if len(data) > MAX_LOG_BYTES:
        _fail("limit", f"{len(data)} bytes where at most {MAX_LOG_BYTES} are allowed", 0)
    if not data:
        return ()
    if not data.startswith(_START):
        _fail("malformed", "the log does not begin with a record separator", 0)
    if not data.endswith(_END):
        _fail("truncated", "the log ends within a record", data.count(_START) - 1)
    texts = data[1:].split(_START)
    if len(texts) > MAX_RECORDS:
        _fail("limit", f"more than {MAX_RECORDS} records", MAX_RECORDS)
    return tuple(_record(index, text) for index, text in enumerate(texts))


def _record(index: int, text: bytes) -> Record:
    if len(text) > MAX_RECORD_BYTES:
        _fail("limit", f"{len(text)} bytes where at most {MAX_RECORD_BYTES} are allowed", index)
    if not text.endswith(_END):
        _fail("truncated", "the record does not end with a line feed", index)
    try:
        value = _DECODER.decode(text.decode())
        if b"\\u" in text:
            _ENCODER.encode(value).encode()  # ValueError for lone surrogates
        return _from_json(index, value)
    except RecursionError:
        _fail("limit", "nested too deeply", index)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{FORMAT}-malformed", f"no measurement: {error!r}"[:200], place=f"record {index}") from error


def _from_json(index: int, value: Any) -> Record:
    """ValueError, KeyError or TypeError for whatever is no record."""
    targets = value.keys() & {"pcr", "nv_index"} if isinstance(value, dict) else set()
    content_type, content = value["content_type"], value["content"]
    known = {"digests", "content_type", "content"} | targets
    if len(targets) != 1 or value.keys() != known or not isinstance(content_type, str) or not isinstance(content, dict):
        raise ValueError("unexpected members")
    digests = dict(_digest(item) for item in value["digests"])
    if not digests or len(digests) != len(value["digests"]):
        raise ValueError("digests")
    pcr = _number(value["pcr"], PCR_COUNT) if "pcr" in targets else None
    nv_index = _number(value["nv_index"], 1 << 32) if "nv_index" in targets else None
    return Record(index, digests, pcr, nv_index, content_type, content)


_BANKS = {bank.label: bank for bank in HashAlg}


def _digest(item: Mapping[str, str]) -> tuple[HashAlg, bytes]:
    label, text = item["hashAlg"], item["digest"]
    bank, digest = _BANKS[label], bytes.fromhex(text)
    if len(item) != 2 or len(digest) != bank.size or digest.hex() != text:
        raise ValueError(f"no {bank.label} digest")
    return bank, digest


def _number(value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError("no number in range")
    return value


def _refused(number: str) -> NoReturn:
    raise ValueError(number)


_DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_float=_refused, parse_constant=_refused)
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def _fail(fault: Fault, detail: str, index: int) -> NoReturn:
    raise InputError(f"{FORMAT}-{fault}", detail, place=f"record {index}")
