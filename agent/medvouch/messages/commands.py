"""Signed commands: a COSE_Sign1 by the role `commander`, for one device, for a short time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey, Signer
from medvouch.errors import InputError, Refusal
from medvouch.formats.command import CONTENT_TYPE, MAX_COMMAND_BYTES, Command
from medvouch.messages import refusals


@dataclass(frozen=True)
class VerifiedCommand(Command):
    """A command that holds. Whether it ran before is the device's to know.

    `data` is the signed whole, for whoever has to show later who said so.
    """

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
    command = Command(name, identifier, device, issued_at, expires_at, dict(args))
    return cose.sign1(command.encode(), signer, content_type=CONTENT_TYPE)


def verify_command(data: bytes, commanders: Sequence[PublicKey], device: str, now_ms: int) -> VerifiedCommand:
    """Check a command for this device at this time.

    Raises InputError where it is malformed; Refusal `command-forged`, `command-misdirected`, `command-expired`.
    """
    if len(data) > MAX_COMMAND_BYTES:
        raise InputError("command-limit", f"{len(data)} bytes where at most {MAX_COMMAND_BYTES} are allowed")
    payload = cose.verify1_by_any(data, commanders, content_type=CONTENT_TYPE, otherwise=refusals.COMMAND_FORGED)
    command = VerifiedCommand(**vars(Command.parse(payload)), data=data)
    if command.device != device:
        raise Refusal(refusals.COMMAND_MISDIRECTED, f"it is for {command.device}")
    if now_ms > command.expires_at:
        raise Refusal(refusals.COMMAND_EXPIRED, f"it expired {now_ms - command.expires_at} ms ago")
    return command
