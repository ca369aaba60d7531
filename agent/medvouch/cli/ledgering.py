"""A ledger for people: one line for each entry and checkpoint. What is shown here was not checked, only read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medvouch.cli.output import moment
from medvouch.errors import InputError
from medvouch.formats.cose import Sign1
from medvouch.formats.ear import Ear
from medvouch.formats.ledger import Bundle, CertifiedCheckpoint, Entry, Statement

WIDEST = 40
"""Characters of a cell that the lines show; the document has more."""

Row = dict[str, Any]
EAR = "ear"


def document(bundle: Bundle) -> Row:
    """All that a bundle says. Raises InputError where an entry says nothing that can be read, with its place."""
    return {
        "device": bundle.device,
        "entries": [_entry(number, entry) for number, entry in enumerate(bundle.entries)],
        "checkpoints": [_checkpoint(number, each) for number, each in enumerate(bundle.checkpoints)],
        "receipt": bool(bundle.receipt),
        "sanitisation": bool(bundle.sanitisation),
    }


def _entry(number: int, entry: Entry) -> Row:
    place = f"entry {number}"
    try:
        statement = Statement.parse(_payload(entry.statement))
        verdict = _verdict(entry.attachments.get(EAR))
    except InputError as error:
        raise InputError(error.code, error.detail, place=place) from error
    return {
        "entry": number,
        "index": statement.index,
        "time_ms": statement.time_ms,
        "time_source": statement.time_source,
        "boot": statement.boot,
        "machine": statement.machine,
        "before": statement.before,
        "after": statement.after,
        "cause": statement.cause,
        "actor": statement.actor,
        "owner": statement.owner,
        "detail": statement.detail,
        "digests": {name: value.hex() for name, value in sorted(statement.digests.items())},
        "attached": sorted(entry.attachments),
        "verdict": verdict,
    }


def _verdict(data: bytes | None) -> Row | None:
    if data is None:
        return None
    ear = Ear.parse(_payload(data))
    head = ear.ledger_head
    return {
        "status": ear.status.name.lower(),
        "issued_at": ear.issued_at,
        "policy": ear.policy_id,
        "reasons": [reason.code for reason in ear.reasons],
        "confirms_entries": head.size if head else None,
    }


def _checkpoint(number: int, certified: CertifiedCheckpoint) -> Row:
    found = certified.checkpoint
    return {
        "checkpoint": number,
        "entries": found.size,
        "counter": found.counter,
        "root": found.root.hex(),
        "head": found.head.hex(),
    }


def _payload(message: bytes) -> bytes:
    payload = Sign1.parse(message).payload
    if payload is None:
        raise InputError("cose-malformed", "the payload is detached")
    return payload


def lines(shown: Mapping[str, Any], broken: str = "") -> list[str]:
    """A document for people; the line of the place `broken` (`entry N`, `checkpoint N`) is marked with `!`."""
    entries, checkpoints = shown["entries"], shown["checkpoints"]
    result = [f"ledger of {shown['device']}: {len(entries)} entries, {len(checkpoints)} checkpoints", ""]
    result += _table(
        ("entry", "time", "machine", "before -> after", "cause", "actor", "attached"),
        [_entry_cells(row) for row in entries],
        [broken == f"entry {number}" for number in range(len(entries))],
    )
    if checkpoints:
        rows = [
            (f"{row['checkpoint']}", f"{row['entries']}", f"{row['counter']}", row["root"][:16]) for row in checkpoints
        ]
        marks = [broken == f"checkpoint {number}" for number in range(len(rows))]
        result += ["", *_table(("checkpoint", "entries", "counter", "root"), rows, marks)]
    verdicts = [(f"{row['entry']}", *_verdict_cells(row["verdict"])) for row in entries if row["verdict"]]
    if verdicts:
        heads = ("entry", "verdict", "issued", "policy", "confirms", "because")
        result += ["", *_table(heads, verdicts, [False] * len(verdicts))]
    if any(row["time_source"] != "clock" for row in entries):
        result += ["", "?: the device's clock was not synchronised"]
    return result


def _entry_cells(row: Row) -> tuple[str, ...]:
    when = moment(row["time_ms"] // 1000) + ("" if row["time_source"] == "clock" else "?")
    step = f"{row['before'] or '-'} -> {row['after']}"
    return (
        f"{row['entry']}", when, row["machine"], step, row["cause"], row["actor"], ", ".join(row["attached"])
    )  # fmt: skip


def _verdict_cells(verdict: Row) -> tuple[str, ...]:
    confirms = "" if verdict["confirms_entries"] is None else f"{verdict['confirms_entries']} entries"
    because = ", ".join(verdict["reasons"])
    return verdict["status"], moment(verdict["issued_at"]), verdict["policy"], confirms, because


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], marks: Sequence[bool]) -> list[str]:
    rows = [[_short(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    marked = zip([heads, *rows], [False, *marks], strict=True)
    return [
        ("! " if mark else "  ") + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row, mark in marked
    ]


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def inspect_ledger(data: bytes) -> tuple[Row, list[str]]:
    """A device's whole ledger."""
    shown = document(Bundle.parse(data))
    return shown, lines(shown)
