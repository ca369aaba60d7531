"""Refusals of the collector."""

from __future__ import annotations

from medvouch.errors import RefusalKind, refusal_table

SANITISATION_UNASKED = RefusalKind(
    "sanitisation-unasked",
    "A device says that it is sanitised, and nobody asked it to be.",
    "find out who replays an old message, or who cleared the device's TPM",
)

TABLE = refusal_table(globals())
