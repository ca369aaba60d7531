"""Commissioning a TPM, crashes and power cuts included."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.provisioning import (
    EK_TEMPLATE,
    IDEVID_TEMPLATE,
    LAK_HANDLE,
    LDEVID_TEMPLATE,
    HierarchyAuths,
    attestation_key,
    ek_hash,
    load_ldevid,
    nv_layout,
    provision,
    take_ownership,
)
from medvouch.crypto.tpm import make_credential, name, public_key, verify_attest
from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.enrolment import ueid
from medvouch.formats.tpm import PcrSelection
from medvouch.formats.tpm_public import NvAttribute, Public
from medvouch_sim.swtpm import SwTpm, command
from support.swtpms import powered
from support.tpms import OsEntropy

FLOOR_AUTHORITY = ec.generate_private_key(ec.SECP256R1()).public_key()
SELECTION = PcrSelection.of({HashAlg.SHA256: [0, 7]})
CUTS = 40


class Crash(Exception):
    """The process dies here."""


class DyingTpm:
    """A Tpm whose user dies before the n-th command that changes something."""

    CHANGES = frozenset({"evict", "persist", "nv_undefine", "nv_define", "create", "create_primary"})

    def __init__(self, tpm: TssTpm, lives: int) -> None:
        self._tpm = tpm
        self.lives = lives

    def __getattr__(self, command_name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._tpm, command_name)
        if command_name in self.CHANGES:
            if not self.lives:
                raise Crash
            self.lives -= 1
        return method


def test_what_is_made(tmp_path: Path) -> None:
    with powered(tmp_path / "tpm") as (_, tpm):
        made = provision(tpm, OsEntropy(), FLOOR_AUTHORITY)
        ek, idevid = tpm.create_primary(EK_TEMPLATE), tpm.create_primary(IDEVID_TEMPLATE)
        assert (tpm.read_public(ek), tpm.read_public(idevid)) == (made.ek_public, made.idevid_public)
        tpm.flush(idevid)
        lak = attestation_key(tpm)
        assert tpm.read_public(lak) == made.lak_public
        credential = make_credential(Public.parse(made.ek_public), name(made.lak_public), b"secret", os.urandom)
        assert tpm.activate_credential(lak, ek, *credential) == b"secret"
        tpm.flush(ek)
        ldevid = load_ldevid(tpm, made.ldevid)
        assert Public.parse(tpm.read_public(ldevid)).attributes == Public.parse(LDEVID_TEMPLATE).attributes
        verify_attest(tpm.certify(ldevid, lak, b""), public_key(Public.parse(made.lak_public)))
        for label, public in nv_layout(FLOOR_AUTHORITY, ueid(ek_hash(made.ek_public))).items():
            assert made.nv_publics[label] == public.encode()
            written = NvAttribute.WRITTEN if label == "tuf-versions" else NvAttribute(0)
            found = replace(public, attributes=public.attributes | written)
            assert tpm.nv_read_public(public.index) == found.encode()
        assert len({*made.nv_auths.values()}) == 4
        assert repr(made.nv_auths["floor"]) not in repr(made)


def test_a_crash_anywhere_is_made_good_by_the_next_run(tmp_path: Path) -> None:
    lives = 0
    with SwTpm(tmp_path / "tpm") as chip:
        while True:
            with TssTpm(chip.tcti()) as tpm:
                dying = DyingTpm(tpm, lives)
                try:
                    made = provision(dying, OsEntropy(), FLOOR_AUTHORITY)  # type: ignore[arg-type]
                except Crash:
                    lives += 1
                else:
                    break
            chip.power_cycle(orderly=False)
        with TssTpm(chip.tcti()) as tpm:
            assert tpm.read_public(attestation_key(tpm)) == made.lak_public
            load_ldevid(tpm, made.ldevid)
    assert lives > 12


def test_ownership_comes_last_and_is_resumed(tmp_path: Path) -> None:
    auths = HierarchyAuths.draw(OsEntropy())
    with SwTpm(tmp_path / "tpm") as chip:
        with TssTpm(chip.tcti()) as tpm:
            provision(tpm, OsEntropy(), FLOOR_AUTHORITY)
        half = b"\x00\x20" + auths.owner
        assert chip.raw(command(0x129, 0x40000001, parameters=half, password=b""))[6:10] == bytes(4)
        chip.power_cycle(orderly=False)
        with TssTpm(chip.tcti()) as tpm:
            assert not tpm.ownership_taken()
            take_ownership(tpm, auths)
            assert tpm.ownership_taken()
        for hierarchy, auth in ((0x40000001, auths.owner), (0x4000000A, auths.lockout)):
            same = command(0x129, hierarchy, parameters=b"\x00\x20" + auth, password=auth)
            assert chip.raw(same)[6:10] == bytes(4)
        with TssTpm(chip.tcti()) as tpm, pytest.raises(TpmFault, match="tpm-owned"):
            provision(tpm, OsEntropy(), FLOOR_AUTHORITY)


def test_in_service_nobody_needs_the_owner_and_power_cuts_do_not_lock(tmp_path: Path) -> None:
    with SwTpm(tmp_path / "tpm") as chip:
        with TssTpm(chip.tcti()) as tpm:
            made = provision(tpm, OsEntropy(), FLOOR_AUTHORITY)
            take_ownership(tpm, HierarchyAuths.draw(OsEntropy()))
        key = public_key(Public.parse(made.lak_public))
        resets = []
        for _ in range(CUTS):
            chip.power_cycle(orderly=False)
            with TssTpm(chip.tcti()) as tpm:
                tpm.sign(load_ldevid(tpm, made.ldevid), bytes(32))
                quote = verify_attest(tpm.quote(attestation_key(tpm), b"n", SELECTION), key)
                resets.append(quote.attest.clock_info.reset_count)
        assert resets == list(range(resets[0], resets[0] + CUTS))


def test_clear_ends_the_identity_in_service_but_not_the_makers(tmp_path: Path) -> None:
    with SwTpm(tmp_path / "tpm") as chip:
        with TssTpm(chip.tcti()) as tpm:
            made = provision(tpm, OsEntropy(), FLOOR_AUTHORITY)
            take_ownership(tpm, HierarchyAuths.draw(OsEntropy()))
        assert chip.raw(command(0x126, 0x4000000C, password=chip.platform_auth))[6:10] == bytes(4)
        with TssTpm(chip.tcti()) as tpm:
            assert tpm.read_clock().reset_count == 0
            assert tpm.persistent(LAK_HANDLE) is None
            for use in (lambda: attestation_key(tpm), lambda: load_ldevid(tpm, made.ldevid)):
                with pytest.raises(TpmFault, match="tpm-not-provisioned"):
                    use()
            again = provision(tpm, OsEntropy(), FLOOR_AUTHORITY)
            assert (again.ek_public, again.idevid_public) == (made.ek_public, made.idevid_public)
            assert again.lak_public != made.lak_public
            with pytest.raises(TpmFault, match="TPM2_Load"):
                load_ldevid(tpm, made.ldevid)
