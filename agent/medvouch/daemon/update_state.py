"""How an update stands, as it is told."""

from __future__ import annotations

from medvouch.formats.update import UpdateRecord
from medvouch.messages.payloads import Fields
from medvouch.update.transitions import OUTCOMES, Update


def summary(record: UpdateRecord | None) -> Fields:
    """As flat scalars."""
    if record is None:
        return {"state": Update.NONE.value}
    return {
        "state": record.state,
        "outcome": OUTCOMES.get(Update(record.state)),
        "version": record.version,
        "sequence": record.sequence,
        "security_epoch": record.security_epoch,
        "slot": record.slot,
        "tries": record.tries,
        "reason": record.code or None,
    }
