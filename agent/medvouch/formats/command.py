"""What a command says: the payload of a COSE_Sign1 by the role `commander`, for one device, for a short time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medvouch.errors import InputError
from medvouch.formats import cbor

CONTENT_TYPE = "application/vnd.medvouch.command+cbor"
MAX_COMMAND_BYTES = 64 * 1024
"""Of the whole COSE_Sign1."""
_FIELDS = ("args", "device", "expires_at", "id", "issued_at", "name")


@dataclass(frozen=True)
class Command:
    """A command as it is written; times in milliseconds since 1970."""

    name: str
    id: str
    device: str
    issued_at: int
    expires_at: int
    args: Mapping[str, Any]

    @classmethod
    def parse(cls, payload: bytes) -> Command:
        """From deterministic CBOR; InputError `command-malformed` or `cbor-*`."""
        fields = cbor.decode(payload)
        if not isinstance(fields, dict) or sorted(map(str, fields)) != list(_FIELDS):
            raise InputError("command-malformed", f"not a map of {', '.join(_FIELDS)}")
        texts = all(isinstance(fields[name], str) for name in ("name", "id", "device"))
        times = all(type(fields[name]) is int and fields[name] >= 0 for name in ("issued_at", "expires_at"))
        if not texts or not times or not isinstance(fields["args"], dict):
            raise InputError("command-malformed", "a field is of the wrong type")
        return cls(**fields)

    def encode(self) -> bytes:
        """Deterministic CBOR."""
        return cbor.encode(vars(self))
