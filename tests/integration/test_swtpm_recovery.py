"""The Tpm port when the TPM puts commands off, goes away and comes back, is used by others, and is asked very often."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.adapters.tss_context import PAUSES_S
from medvouch.attestation.provisioning import EK_TEMPLATE, LAK_TEMPLATE, LDEVID_TEMPLATE, PARENT_TEMPLATE
from medvouch.crypto.tpm import make_credential, name, public_key, verify_attest
from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection
from medvouch.formats.tpm_public import NvAttribute, NvPublic, Public
from medvouch.ports import CreatedKey, KeyHandle
from medvouch_sim.swtpm import SwTpm, command
from support.tpms import OsEntropy
from support.unsteady import UnsteadyTcti

QUOTES = int(os.environ.get("MEDVOUCH_QUOTES", "300"))
"""`make soak` sets 10,000."""
ONE = PcrSelection.of({HashAlg.SHA256: [16]})
PARENT, LAK = 0x81016D00, 0x81016D01
COUNTER = 0x01800001
AUTH = b"auth"
QUOTE, READ_CLOCK, NV_INCREMENT = (code.to_bytes(4, "big") for code in (0x158, 0x181, 0x134))


def handles(chip: SwTpm, first: int) -> int:
    answer = chip.raw(command(0x17A, parameters=b"".join(n.to_bytes(4, "big") for n in (1, first, 64))))
    return int.from_bytes(answer[15:19], "big")


def loaded(chip: SwTpm) -> tuple[int, int, int]:
    """Transient objects, loaded and saved sessions."""
    return handles(chip, 0x80000000), handles(chip, 0x02000000), handles(chip, 0x03000000)


def provisioned(tpm: TssTpm) -> tuple[KeyHandle, KeyHandle, CreatedKey]:
    """A LAK that is persistent, and a key below the same parent that is loaded; the parent was let go of."""
    parent = tpm.persist(tpm.create_primary(PARENT_TEMPLATE), PARENT)
    lak = tpm.persist(tpm.load(parent, tpm.create(parent, LAK_TEMPLATE)), LAK)
    created = tpm.create(parent, LDEVID_TEMPLATE)
    ldevid = tpm.load(parent, created)
    tpm.flush(parent)
    return lak, ldevid, created


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[SwTpm]:
    with SwTpm(tmp_path / "tpm") as made:
        yield made


def works(tpm: TssTpm, lak: KeyHandle, ldevid: KeyHandle) -> None:
    signed = tpm.quote(lak, b"nonce", ONE)
    verify_attest(signed, public_key(Public.parse(tpm.read_public(lak))))
    assert len(tpm.sign(ldevid, bytes(32))) == 64


@pytest.mark.parametrize("code", [0x908, 0x909, 0x90A, 0x920, 0x922, 0x923], ids=hex)
def test_what_the_tpm_puts_off_is_asked_again(chip: SwTpm, code: int) -> None:
    pauses: list[float] = []
    tcti = UnsteadyTcti(chip)
    with TssTpm(tcti, pause=pauses.append) as tpm:
        lak, ldevid, _ = provisioned(tpm)
        tcti.answers = {QUOTE: [code] * 6}
        works(tpm, lak, ldevid)
        assert pauses
        assert pauses == list(PAUSES_S[: len(pauses)])


def test_but_not_for_ever(chip: SwTpm) -> None:
    pauses: list[float] = []
    tcti = UnsteadyTcti(chip)
    with TssTpm(tcti, pause=pauses.append) as tpm:
        tcti.answers = {READ_CLOCK: [0x922] * 1000}
        with pytest.raises(TpmFault, match="0x922") as caught:
            tpm.read_clock()
        assert caught.value.code == "tpm-refused"
        assert pauses == list(PAUSES_S)
        assert sum(pauses) < 6
        tcti.answers.clear()
        tpm.read_clock()


@pytest.mark.parametrize("code", [0x101, 0x902, 0x921, 0x14B], ids=hex)
def test_a_refusal_is_no_delay(chip: SwTpm, code: int) -> None:
    pauses: list[float] = []
    tcti = UnsteadyTcti(chip)
    with TssTpm(tcti, pause=pauses.append) as tpm:
        tcti.answers = {READ_CLOCK: [code]}
        with pytest.raises(TpmFault, match="tpm-refused"):
            tpm.read_clock()
        assert pauses == []
        tpm.read_clock()


def test_a_tpm_that_comes_back_is_used_on(chip: SwTpm) -> None:
    tcti = UnsteadyTcti(chip)
    with TssTpm(tcti) as tpm:
        lak, ldevid, _ = provisioned(tpm)
        ek = tpm.create_primary(EK_TEMPLATE)
        before = loaded(chip)
        for _ in range(5):
            tcti.cut = True
            for _ in range(2):
                with pytest.raises(TpmFault, match="tpm-unreachable"):
                    tpm.quote(lak, b"", ONE)
            tcti.cut = False
            works(tpm, lak, ldevid)
            public = tpm.read_public(lak)
            blob, secret = make_credential(Public.parse(tpm.read_public(ek)), name(public), b"s", OsEntropy().bytes)
            assert tpm.activate_credential(lak, ek, blob, secret) == b"s", "also in policy sessions"
            assert loaded(chip) == before, "what the broken context had loaded is not left there"
    assert loaded(chip) == (0, 0, 0)


def test_keys_that_were_let_go_of_meanwhile(chip: SwTpm) -> None:
    tcti = UnsteadyTcti(chip)
    with TssTpm(tcti) as tpm:
        lak, ldevid, _ = provisioned(tpm)
        tcti.cut = True
        with pytest.raises(TpmFault, match="tpm-unreachable"):
            tpm.read_clock()
        tpm.flush(ldevid)
        tcti.cut = False
        tpm.quote(lak, b"", ONE)
        assert loaded(chip) == (0, 0, 0)
        with pytest.raises(TpmFault, match="let go of"):
            tpm.sign(ldevid, bytes(32))


def test_after_a_reset_keys_are_loaded_again(chip: SwTpm) -> None:
    tcti = UnsteadyTcti(chip)
    with TssTpm(tcti) as tpm:
        lak, ldevid, _ = provisioned(tpm)
        resets = tpm.read_clock().reset_count
        chip.kill()
        with pytest.raises(TpmFault, match="tpm-unreachable"):
            tpm.read_clock()
        chip.start()
        works(tpm, lak, ldevid)
        assert tpm.read_clock().reset_count == resets + 1
        assert loaded(chip) == (1, 0, 0)


def test_another_tpm_in_its_place(chip: SwTpm, tmp_path: Path) -> None:
    """A key of the same handle is not taken for the one that was there."""
    with SwTpm(tmp_path / "other") as other, TssTpm(other.tcti()) as tpm:
        provisioned(tpm)
    tcti = UnsteadyTcti(chip)
    with TssTpm(tcti) as tpm:
        lak, ldevid, _ = provisioned(tpm)
        chip.kill()
        with pytest.raises(TpmFault, match="tpm-unreachable"):
            tpm.read_clock()
        with SwTpm(tmp_path / "other") as other:
            tcti._tpm = other
            with pytest.raises(TpmFault, match="tpm-changed"):
                tpm.quote(lak, b"", ONE)
            with pytest.raises(TpmFault, match="tpm-refused"):
                tpm.sign(ldevid, bytes(32))
            assert loaded(other) == (0, 0, 0)


def test_a_command_whose_answer_was_lost_is_not_given_again(chip: SwTpm) -> None:
    """The counter has counted: once more would leave a gap."""
    tcti = UnsteadyTcti(chip)
    attributes = NvAttribute.AUTHREAD | NvAttribute.AUTHWRITE | NvAttribute.NO_DA | NvAttribute.COUNTER
    with TssTpm(tcti) as tpm:
        tpm.nv_define(NvPublic(COUNTER, HashAlg.SHA256, attributes, b"", 8).encode(), AUTH)
        tpm.nv_increment(COUNTER, AUTH)
        before = int.from_bytes(tpm.nv_read(COUNTER, AUTH), "big")
        tcti.swallow = NV_INCREMENT
        with pytest.raises(TpmFault, match="tpm-unreachable"):
            tpm.nv_increment(COUNTER, AUTH)
        tcti.cut, tcti.swallow = False, b""
        assert int.from_bytes(tpm.nv_read(COUNTER, AUTH), "big") == before + 1


def test_others_use_the_tpm_too(chip: SwTpm) -> None:
    """Two stacks take turns without a resource manager: neither's keys or sessions get in the other's way."""
    with TssTpm(chip.tcti()) as ours, TssTpm(chip.tcti()) as theirs:
        lak, ldevid, created = provisioned(ours)
        parent = theirs.persistent(PARENT)
        assert parent is not None
        their_key = theirs.load(parent, created)
        for _ in range(20):
            works(ours, lak, ldevid)
            theirs.flush(theirs.create_primary(EK_TEMPLATE))
            assert len(theirs.sign(their_key, bytes(32))) == 64
        assert loaded(chip) == (2, 0, 0)
    assert loaded(chip) == (0, 0, 0)


def test_quotes_leave_nothing_behind(chip: SwTpm) -> None:
    with TssTpm(chip.tcti()) as tpm:
        lak, ldevid, _ = provisioned(tpm)
        before, held = loaded(chip), len(tpm._held)
        for number in range(QUOTES):
            tpm.quote(lak, number.to_bytes(8, "big"), ONE)
            tpm.sign(ldevid, bytes(32))
        assert (loaded(chip), len(tpm._held)) == (before, held)
    assert loaded(chip) == (0, 0, 0)
