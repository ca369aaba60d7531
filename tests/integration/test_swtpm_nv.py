"""NV indexes, sealed data and TPM2_Clear on a real (software) TPM."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.provisioning import (
    EK_TEMPLATE,
    LAK_HANDLE,
    LAK_TEMPLATE,
    PARENT_HANDLE,
    PARENT_TEMPLATE,
    HierarchyAuths,
    attestation_key,
    nv_layout,
    provision,
    take_ownership,
)
from medvouch.crypto.tpm import nv_name, public_key, verify_attest
from medvouch.errors import TpmFault
from medvouch.formats.tpm import NvInfo
from medvouch.formats.tpm_public import NvAttribute, NvPublic, Public
from medvouch.formats.tuf_versions import Versions
from medvouch_sim.swtpm import SwTpm, SwTpmTcti
from support.authorities import key
from support.swtpms import powered
from support.tpms import OsEntropy

LEDGER = nv_layout(key("floor").public_key(), b"")
COUNTER, HEAD, VERSIONS = LEDGER["ledger-counter"], LEDGER["ledger-head"], LEDGER["tuf-versions"]
AUTH = b"a" * 32
CLEAR = 0x126
TRANSIENT_SLOTS = 3
"""Objects that swtpm can hold loaded."""


def test_a_counter_counts_from_wherever_the_tpm_begins(tmp_path: Path) -> None:
    with powered(tmp_path / "tpm") as (_, tpm):
        tpm.nv_define(COUNTER.encode(), AUTH)
        with pytest.raises(TpmFault, match="never written"):
            tpm.nv_read(COUNTER.index, AUTH)
        for use in (tpm.nv_increment, tpm.nv_read):
            with pytest.raises(TpmFault, match="an authorisation value is wrong"):
                use(COUNTER.index, b"another")
        tpm.nv_increment(COUNTER.index, AUTH)
        first = int.from_bytes(tpm.nv_read(COUNTER.index, AUTH), "big")
        tpm.nv_increment(COUNTER.index, AUTH)
        assert tpm.nv_read(COUNTER.index, AUTH) == (first + 1).to_bytes(8, "big")
        public = tpm.nv_read_public(COUNTER.index)
        assert public is not None
        assert NvPublic.parse(public).attributes == COUNTER.attributes | NvAttribute.WRITTEN


def test_versions_are_there_from_the_first_write_on_and_gone_with_the_index(tmp_path: Path) -> None:
    with powered(tmp_path / "tpm") as (_, tpm):
        with pytest.raises(TpmFault, match="not defined"):
            tpm.nv_read(VERSIONS.index, AUTH)
        tpm.nv_define(VERSIONS.encode(), AUTH)
        with pytest.raises(TpmFault, match="never written"):
            tpm.nv_read(VERSIONS.index, AUTH)
        with pytest.raises(TpmFault, match="an authorisation value is wrong"):
            tpm.nv_write(VERSIONS.index, b"another", bytes(24))
        for versions in (Versions(1, 2, 3), Versions(2**64 - 1, 0, 7)):
            tpm.nv_write(VERSIONS.index, AUTH, versions.encode())
            assert Versions.parse(tpm.nv_read(VERSIONS.index, AUTH)) == versions
        with pytest.raises(TpmFault, match=r"tpm-refused.*TPM2_NV_Write"):
            tpm.nv_write(VERSIONS.index, AUTH, bytes(25))


def test_an_extend_index_holds_the_hash_of_all_that_it_was_given(tmp_path: Path) -> None:
    with powered(tmp_path / "tpm") as (_, tpm):
        tpm.nv_define(HEAD.encode(), AUTH)
        with pytest.raises(TpmFault, match="an authorisation value is wrong"):
            tpm.nv_extend(HEAD.index, b"", b"root")
        held = bytes(32)
        for root in (b"r" * 32, b"s" * 32):
            tpm.nv_extend(HEAD.index, AUTH, root)
            held = hashlib.sha256(held + root).digest()
            assert tpm.nv_read(HEAD.index, AUTH) == held


def test_what_an_index_holds_is_certified_with_its_name(tmp_path: Path) -> None:
    with powered(tmp_path / "tpm") as (_, tpm):
        tpm.nv_define(COUNTER.encode(), AUTH)
        parent = tpm.create_primary(PARENT_TEMPLATE)
        lak = tpm.load(parent, tpm.create(parent, LAK_TEMPLATE))
        with pytest.raises(TpmFault, match="never written"):
            tpm.nv_certify(COUNTER.index, AUTH, lak, b"q")
        tpm.nv_increment(COUNTER.index, AUTH)
        signed = tpm.nv_certify(COUNTER.index, AUTH, lak, b"q")
        attest = verify_attest(signed, public_key(Public.parse(tpm.read_public(lak)))).attest
        public = tpm.nv_read_public(COUNTER.index)
        assert public is not None
        assert attest.attested == NvInfo(nv_name(public), 0, tpm.nv_read(COUNTER.index, AUTH))
        assert attest.extra_data == b"q"
        with pytest.raises(TpmFault, match="an authorisation value is wrong"):
            tpm.nv_certify(COUNTER.index, b"", lak, b"q")
        with pytest.raises(TpmFault, match="not defined"):
            tpm.nv_certify(HEAD.index, AUTH, lak, b"q")


def test_sealed_data_opens_below_its_parent_alone(tmp_path: Path) -> None:
    with powered(tmp_path / "tpm") as (_, tpm):
        parent = tpm.create_primary(PARENT_TEMPLATE)
        sealed = tpm.seal(parent, b"secret")
        assert b"secret" not in sealed.public + sealed.private
        opened = tpm.load(parent, sealed)
        assert tpm.unseal(opened) == b"secret"
        tpm.flush(opened)
        longest = tpm.load(parent, tpm.seal(parent, bytes(128)))
        assert tpm.unseal(longest) == bytes(128)
        tpm.flush(longest)
        with pytest.raises(TpmFault, match="TPM2_Create"):
            tpm.seal(parent, bytes(129))
        with pytest.raises(TpmFault, match="TPM2_Unseal"):
            tpm.unseal(parent)
        other = tpm.create_primary(replace(Public.parse(PARENT_TEMPLATE), unique=(b"other", b"")).encode())
        with pytest.raises(TpmFault, match="TPM2_Load"):
            tpm.load(other, sealed)


class ListeningTcti(SwTpmTcti):
    """Hears all that goes to the TPM."""

    def __init__(self, chip: SwTpm) -> None:
        super().__init__(chip)
        self.heard: list[bytes] = []

    def do_transmit(self, command: bytes) -> None:
        self.heard.append(bytes(command))
        super().do_transmit(command)


def test_clear_takes_the_lockout_auth_alone(tmp_path: Path) -> None:
    auths = HierarchyAuths.draw(OsEntropy())
    with SwTpm(tmp_path / "tpm") as chip, TssTpm(chip.tcti()) as tpm:
        provision(tpm, OsEntropy(), key("floor").public_key())
        take_ownership(tpm, auths)
        held = tpm.create_primary(PARENT_TEMPLATE)
        for _ in range(TRANSIENT_SLOTS):
            with pytest.raises(TpmFault, match="TPM2_Clear"):
                tpm.clear(auths.owner)
        assert tpm.ownership_taken()
        tpm.flush(held)
        tpm.flush(attestation_key(tpm))


def test_clear_does_not_show_the_auth_and_afterwards_all_is_forgotten(tmp_path: Path) -> None:
    auths = HierarchyAuths.draw(OsEntropy())
    with SwTpm(tmp_path / "tpm") as chip:
        listening = ListeningTcti(chip)
        with TssTpm(listening) as tpm:
            provision(tpm, OsEntropy(), key("floor").public_key())
            take_ownership(tpm, auths)
            ek = tpm.create_primary(EK_TEMPLATE)
            before = tpm.read_public(ek)
            lak, parent = attestation_key(tpm), tpm.persistent(PARENT_HANDLE)
            assert parent is not None
            sealed = tpm.seal(parent, b"data key")
            listening.heard.clear()

            tpm.clear(auths.lockout)

            assert CLEAR in {int.from_bytes(heard[6:10], "big") for heard in listening.heard}
            assert not [heard for heard in listening.heard if auths.lockout in heard]
            assert not tpm.ownership_taken()
            assert tpm.persistent(LAK_HANDLE) is None
            assert tpm.persistent(PARENT_HANDLE) is None
            assert tpm.nv_read_public(COUNTER.index) is None
            for gone in (ek, lak, parent):
                with pytest.raises(TpmFault):
                    tpm.read_public(gone)
                tpm.flush(gone)
            assert tpm.read_clock().reset_count == 0
            again = tpm.create_primary(EK_TEMPLATE)
            assert tpm.read_public(again) == before
            new = tpm.create_primary(PARENT_TEMPLATE)
            with pytest.raises(TpmFault, match="TPM2_Load"):
                tpm.load(new, sealed)
            tpm.flush(new)
            provision(tpm, OsEntropy(), key("floor").public_key())
            tpm.flush(attestation_key(tpm))
            tpm.clear(b"")
