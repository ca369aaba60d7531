from __future__ import annotations

import hashlib

import pytest

from medvouch.daemon.recording import Circumstances, Pen
from medvouch.daemon.standing import Change
from medvouch.formats.ledger import MAX_ATTACHMENT_BYTES, Entry, Transition
from medvouch.ledger.statements import verify_entries
from medvouch.ports import Timestamp
from support.ledgers import AUTHOR, LDEVID


class Noon:
    def now(self) -> Timestamp:
        return Timestamp(1_800_000_000_000, True)

    def uptime_s(self) -> int:
        return 1


@pytest.mark.parametrize("more", [0, 1])
def test_what_is_too_large_for_an_entry_is_named_and_not_kept(more: int) -> None:
    """Evidence with a long log may be 32 MiB: an entry that held it could not be read again."""
    evidence = bytes(MAX_ATTACHMENT_BYTES + more)
    change = Change(Transition("update", "booted", "failed", "fail"), {})
    around = Circumstances("agent", attachments={"evidence": evidence, "note": b"n"})
    row = Pen(LDEVID, AUTHOR, Noon(), "1.0").entry(0, change, around)
    (entry,) = verify_entries([Entry.parse(row.entry)], LDEVID.public_key, AUTHOR)
    assert sorted(entry.attachments) == (["note"] if more else ["evidence", "note"])
    assert entry.statement.digests["evidence"] == hashlib.sha256(evidence).digest()
