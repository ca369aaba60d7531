"""The JSON of states and events: one flat object of scalars, stamped with who, which boot, which number and when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from medvouch.errors import InputError
from medvouch.ports import Timestamp

VERSION = 1
MAX_JSON_BYTES = 16 * 1024
MAX_FIELDS = 64

Scalar = str | int | bool | None
Fields = Mapping[str, Scalar]
_RESERVED = frozenset({"schema", "device", "boot_id", "seq", "ts_ms", "clock_ok"})


@dataclass(frozen=True)
class Stamp:
    """Who says it, in which boot, under which number (never the same twice, also across restarts), and when."""

    device: str
    boot_id: str
    seq: int
    time: Timestamp


@dataclass(frozen=True)
class Payload:
    """A parsed message; `schema` is e.g. `event/attestation`, its version apart."""

    schema: str
    stamp: Stamp
    fields: Fields


def encode(schema: str, stamp: Stamp, fields: Fields) -> bytes:
    """One message; fields that are None are left out."""
    document = {
        "schema": f"medvouch/{schema}/{VERSION}",
        "device": stamp.device,
        "boot_id": stamp.boot_id,
        "seq": stamp.seq,
        "ts_ms": stamp.time.ms,
        "clock_ok": stamp.time.ok,
    }
    taken = _RESERVED & fields.keys()
    if taken:
        raise ValueError(f"fields of the stamp: {', '.join(sorted(taken))}")
    document |= {name: value for name, value in fields.items() if value is not None}
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")


def parse(data: bytes) -> Payload:
    """From JSON; InputError `message-malformed` or `message-limit`."""
    if len(data) > MAX_JSON_BYTES:
        raise InputError("message-limit", f"{len(data)} bytes where at most {MAX_JSON_BYTES} are allowed")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError("message-malformed", f"not JSON: {error}") from error
    if not isinstance(document, dict) or len(document) > MAX_FIELDS:
        raise InputError("message-malformed", f"not an object of at most {MAX_FIELDS} fields")
    for name, value in document.items():
        if value is not None and not isinstance(value, str | int | bool):
            raise InputError("message-malformed", "not a flat object of scalars", place=name)
    return Payload(_schema(document), _stamp(document), {k: v for k, v in document.items() if k not in _RESERVED})


def _schema(document: Mapping[str, Scalar]) -> str:
    prefix, _, rest = _text(document, "schema").partition("/")
    schema, _, version = rest.rpartition("/")
    if prefix != "medvouch" or version != str(VERSION) or not schema:
        raise InputError("message-malformed", "not a schema of ours", place="schema")
    return schema


def _stamp(document: Mapping[str, Scalar]) -> Stamp:
    clock_ok = document.get("clock_ok")
    if not isinstance(clock_ok, bool):
        raise InputError("message-malformed", "not true or false", place="clock_ok")
    time = Timestamp(_number(document, "ts_ms"), clock_ok)
    return Stamp(_text(document, "device"), _text(document, "boot_id"), _number(document, "seq"), time)


def _text(document: Mapping[str, Scalar], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise InputError("message-malformed", "not a text", place=name)
    return value


def _number(document: Mapping[str, Scalar], name: str) -> int:
    value = document.get(name)
    if type(value) is not int or value < 0:
        raise InputError("message-malformed", "not a number", place=name)
    return value
