"""Checkpoints in a real TPM, and the power going between any two of its commands."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from medvouch.attestation.provisioning import (
    LAK_TEMPLATE,
    LEDGER_COUNTER,
    LEDGER_HEAD,
    PARENT_TEMPLATE,
    nv_layout,
)
from medvouch.crypto.checkpoints import COUNTER, HEAD, verify_checkpoint
from medvouch.crypto.keys import PublicKey
from medvouch.crypto.tpm import nv_name, public_key
from medvouch.errors import TpmFault
from medvouch.formats.ledger import UNWRITTEN_HEAD, CertifiedCheckpoint, extended
from medvouch.formats.tpm_public import NvAttribute, Public
from medvouch.ledger import refusals
from medvouch.ledger.anchoring import Anchor, Intent, Reading
from medvouch.ports import Tpm
from support.authorities import key
from support.evidence import DEVICE
from support.refusing import assert_refused
from support.swtpms import powered

LAYOUT = nv_layout(key("floor").public_key(), b"")
INDEXES = {COUNTER: LEDGER_COUNTER, HEAD: LEDGER_HEAD}
AUTHS = {COUNTER: b"c" * 32, HEAD: b"h" * 32}
NAMES = {
    name: nv_name(replace(LAYOUT[name], attributes=LAYOUT[name].attributes | NvAttribute.WRITTEN).encode())
    for name in INDEXES
}
ROOTS = [hashlib.sha256(bytes([number])).digest() for number in range(4)]
TOUCHING = ("nv_read_public", "nv_read", "nv_extend", "nv_increment", "nv_certify")


class PowerCut(Exception):
    """Not one of ours: nothing may catch it."""


class Interrupted:
    """A Tpm whose power goes right after its `after`-th command that touches an index."""

    def __init__(self, tpm: Tpm, after: int) -> None:
        self._tpm = tpm
        self._left = after

    def __getattr__(self, name: str) -> Any:
        command = getattr(self._tpm, name)
        return self._cut(command) if name in TOUCHING else command

    def _cut(self, command: Callable[..., Any]) -> Callable[..., Any]:
        def carried_out(*arguments: Any) -> Any:
            done = command(*arguments)
            self._left -= 1
            if self._left == 0:
                raise PowerCut
            return done

        return carried_out


@dataclass(frozen=True)
class Ledger:
    """The two indexes, defined and never written, and the key that certifies them."""

    tpm: Tpm
    anchor: Anchor
    lak: PublicKey

    def interrupted(self, after: int) -> Anchor:
        return replace(self.anchor, tpm=cast(Tpm, Interrupted(self.tpm, after)))

    def checkpoint(self, size: int, last: CertifiedCheckpoint | None) -> CertifiedCheckpoint:
        intent = self.anchor.intend(size, ROOTS[size], last.checkpoint if last else None)
        return self.confirmed(self.anchor.carry_out(intent, DEVICE), intent)

    def confirmed(self, certified: CertifiedCheckpoint, intent: Intent) -> CertifiedCheckpoint:
        """That the TPM certified it, and that it was carried out once."""
        found = verify_checkpoint(certified, self.lak, NAMES).checkpoint
        assert (found.device, found.size, found.root) == (DEVICE, intent.size, intent.root)
        assert found.head == extended(intent.head_before, intent.root)
        assert intent.counter_before in (0, found.counter - 1)
        assert self.anchor.reading() == Reading(found.counter, found.head)
        return certified


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with powered(tmp_path / "tpm") as (_, tpm):
        for name in INDEXES:
            tpm.nv_define(LAYOUT[name].encode(), AUTHS[name])
        parent = tpm.create_primary(PARENT_TEMPLATE)
        made = tpm.create(parent, LAK_TEMPLATE)
        lak = tpm.load(parent, made)
        yield Ledger(tpm, Anchor(tpm, lak, INDEXES, AUTHS), public_key(Public.parse(made.public)))


def test_from_nothing_to_the_third(ledger: Ledger) -> None:
    assert ledger.anchor.reading() == Reading(0, UNWRITTEN_HEAD)
    first = ledger.checkpoint(1, None)
    second = ledger.checkpoint(2, first)
    third = ledger.checkpoint(3, second)
    counters = [each.checkpoint.counter for each in (first, second, third)]
    assert counters == list(range(counters[0], counters[0] + 3))
    assert counters[0] > 0


@pytest.mark.parametrize("written", [False, True], ids=["the first", "a later one"])
def test_power_goes_between_any_two_commands(ledger: Ledger, written: bool) -> None:
    """After each of them in turn, and once more in the run that makes up for it, until nothing is left to cut."""
    last = ledger.checkpoint(1, None) if written else None
    for after in range(1, 20):
        intent = Intent.parse(ledger.anchor.intend(2, ROOTS[2], last.checkpoint if last else None).encode())
        try:
            ledger.interrupted(after).carry_out(intent, DEVICE)
        except PowerCut:
            cut = True
        else:
            cut = False
        with pytest.raises(PowerCut):
            ledger.interrupted(1).carry_out(intent, DEVICE)
        last = ledger.confirmed(ledger.anchor.carry_out(intent, DEVICE), intent)
        if not cut:
            assert after > 8, "reading twice, extending, incrementing, certifying twice"
            return
    raise AssertionError("it never came through")


def test_carrying_out_again_changes_nothing(ledger: Ledger) -> None:
    last = ledger.checkpoint(1, None)
    intent = ledger.anchor.intend(2, ROOTS[2], last.checkpoint)
    once, twice = (ledger.anchor.carry_out(intent, DEVICE) for _ in range(2))
    assert once.checkpoint == twice.checkpoint
    assert once.counter != twice.counter, "certified anew"


def test_a_disk_that_was_put_back(ledger: Ledger) -> None:
    first = ledger.checkpoint(1, None)
    ledger.checkpoint(2, first)
    kind = refusals.BEHIND_TPM
    assert_refused(kind, ledger.anchor.intend, 2, ROOTS[2], first.checkpoint)
    assert_refused(kind, ledger.anchor.intend, 1, ROOTS[1], None)
    old = Intent(2, ROOTS[3], first.checkpoint.counter, first.checkpoint.head)
    assert_refused(kind, ledger.anchor.carry_out, old, DEVICE)


def test_a_tpm_that_was_put_back(ledger: Ledger) -> None:
    first = ledger.checkpoint(1, None)
    ahead = replace(first.checkpoint, counter=first.checkpoint.counter + 1)
    assert_refused(refusals.TPM_BEHIND, ledger.anchor.intend, 2, ROOTS[2], ahead)


def test_another_head_at_the_same_count(ledger: Ledger) -> None:
    first = ledger.checkpoint(1, None)
    assert_refused(refusals.BEHIND_TPM, ledger.anchor.intend, 2, ROOTS[2], replace(first.checkpoint, head=ROOTS[0]))


@pytest.mark.parametrize("name", [COUNTER, HEAD])
def test_somebody_else_wrote(ledger: Ledger, name: str) -> None:
    """Between the intent and its carrying out, and with nothing intended."""
    last = ledger.checkpoint(1, None)
    intent = ledger.anchor.intend(2, ROOTS[2], last.checkpoint)
    for _ in range(2):
        if name == COUNTER:
            ledger.tpm.nv_increment(LEDGER_COUNTER, AUTHS[COUNTER])
        else:
            ledger.tpm.nv_extend(LEDGER_HEAD, AUTHS[HEAD], b"something else")
    assert_refused(refusals.BEHIND_TPM, ledger.anchor.carry_out, intent, DEVICE)
    assert_refused(refusals.BEHIND_TPM, ledger.anchor.intend, 2, ROOTS[2], last.checkpoint)


def test_indexes_that_are_not_there(ledger: Ledger) -> None:
    for index in (LEDGER_HEAD, LEDGER_COUNTER):
        ledger.tpm.nv_undefine(index)
        with pytest.raises(TpmFault, match="tpm-not-provisioned"):
            ledger.anchor.reading()


def test_an_intent_is_kept_as_bytes(ledger: Ledger) -> None:
    intent = ledger.anchor.intend(1, ROOTS[1], None)
    assert intent == Intent(1, ROOTS[1], 0, UNWRITTEN_HEAD) == Intent.parse(intent.encode())
