"""Signed commands: a COSE_Sign1 by the role `commander`, for one device, for a short time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey, Signer
from medvouch.errors import InputError, Refusal
from medvouch.formats import cbor
from medvouch.messages import refusals

CONTENT_TYPE = "application/vnd.medvouch.command+cbor"
MAX_COMMAND_BYTES = 64 * 1024
_FIELDS = ("args", "device", "expires_at", "id", "issued_at", "name")


@dataclass(frozen=True)
class VerifiedCommand:
    """A command that holds; times in milliseconds since 1970. Whether it ran before is the device's to know.

    `data` is the signed whole, for whoever has to show later who said so.
    """

    name: str
    id: str
    device: str
    issued_at: int
    expires_at: int
    args: Mapping[str, Any]
    data: bytes


def issue_command(
    signer: Signer,
    name: str,
    identifier: str,
    device: str,
    args: Mapping[str, Any],
    *,
    issued_at: int,
    expires_at: int,
) -> bytes:
    """A signed command."""
    payload = {
        "name": name,
        "id": identifier,
        "device": device,
        "issued_at": issued_at,
        "expires_at": expires_at,
        "args": dict(args),
    }
    return cose.sign1(cbor.encode(payload), signer, content_type=CONTENT_TYPE)


def verify_command(data: bytes, commanders: Sequence[PublicKey], device: str, now_ms: int) -> VerifiedCommand:
    """Check a command for this device at this time.

    Raises InputError where it is malformed; Refusal `command-forged`, `command-misdirected`, `command-expired`.
    """
    if len(data) > MAX_COMMAND_BYTES:
        raise InputError("command-limit", f"{len(data)} bytes where at most {MAX_COMMAND_BYTES} are allowed")
    payload = cose.verify1_by_any(data, commanders, content_type=CONTENT_TYPE, otherwise=refusals.COMMAND_FORGED)
    command = _parse(payload, data)
    if command.device != device:
        raise Refusal(refusals.COMMAND_MISDIRECTED, f"it is for {command.device}")
    if now_ms > command.expires_at:
        raise Refusal(refusals.COMMAND_EXPIRED, f"it expired {now_ms - command.expires_at} ms ago")
    return command


def _parse(payload: bytes, data: bytes) -> VerifiedCommand:
    fields = cbor.decode(payload)
    if not isinstance(fields, dict) or sorted(map(str, fields)) != list(_FIELDS):
        raise InputError("command-malformed", f"not a map of {', '.join(_FIELDS)}")
    texts = all(isinstance(fields[name], str) for name in ("name", "id", "device"))
    times = all(type(fields[name]) is int and fields[name] >= 0 for name in ("issued_at", "expires_at"))
    if not texts or not times or not isinstance(fields["args"], dict):
        raise InputError("command-malformed", "a field is of the wrong type")
    return VerifiedCommand(**fields, data=data)
