"""Refusals of signed commands."""

from __future__ import annotations

from medvouch.errors import RefusalKind, refusal_table

COMMAND_FORGED = RefusalKind(
    "command-forged",
    "A command was not signed by anybody who may command this device.",
    "find out who publishes to the device's command topics",
)
COMMAND_MISDIRECTED = RefusalKind(
    "command-misdirected",
    "A signed command is for another device.",
    "find out who moves commands between devices",
)
COMMAND_EXPIRED = RefusalKind(
    "command-expired",
    "A signed command came after its time.",
    "check the clocks of device and commander, and issue a new command",
)

TABLE = refusal_table(globals())
