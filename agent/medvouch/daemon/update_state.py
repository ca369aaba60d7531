"""How an update stands, as it is told."""

from __future__ import annotations

from medvouch.formats.update import InstalledRelease, UpdateRecord
from medvouch.messages.payloads import Fields
from medvouch.update.transitions import OUTCOMES, Cause, Update


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


def progress(done: int, total: int) -> Fields:
    """How much of an image is there, in bytes and percent; nothing where `total` is 0."""
    return {"bytes": done, "total": total, "percent": 100 * done // total} if total else {}


def way_back(cause: Cause, installed: InstalledRelease, record: UpdateRecord) -> str:
    """What the ledger says of a rollback or a recovery besides."""
    if cause is Cause.NOTIFY:
        return ""
    before = f"{installed.version or 'as delivered'}, sequence {installed.sequence}"
    return f"{cause} from release {before}, to {record.version}, sequence {record.sequence}, slot {record.slot}"
