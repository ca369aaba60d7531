"""The data key in a real (software) TPM."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.attestation.provisioning import provision
from medvouch.daemon import data_key
from medvouch.errors import StorageFault, TpmFault
from support.authorities import key
from support.swtpms import powered
from support.tpms import OsEntropy


def test_it_opens_in_its_own_tpm_until_that_is_cleared(tmp_path: Path) -> None:
    floor = key("floor").public_key()
    with powered(tmp_path / "one") as (_, tpm), powered(tmp_path / "other") as (_, other):
        with pytest.raises(TpmFault, match="tpm-not-provisioned"):
            data_key.make(tpm, OsEntropy())
        for each in (tpm, other):
            provision(each, OsEntropy(), floor)
        stored, another = data_key.make(tpm, OsEntropy()), data_key.make(tpm, OsEntropy())
        opened = data_key.unseal(tpm, stored)
        assert len(opened) == data_key.KEY_BYTES
        assert opened != data_key.unseal(tpm, another)
        assert opened not in stored
        with pytest.raises(TpmFault, match="TPM2_Load"):
            data_key.unseal(other, stored)
        tpm.clear(b"")
        with pytest.raises(TpmFault, match="tpm-not-provisioned"):
            data_key.unseal(tpm, stored)
        provision(tpm, OsEntropy(), floor)
        with pytest.raises(TpmFault, match="TPM2_Load"):
            data_key.unseal(tpm, stored)


def test_it_leaves_nothing_loaded(tmp_path: Path) -> None:
    with powered(tmp_path / "tpm") as (_, tpm):
        provision(tpm, OsEntropy(), key("floor").public_key())
        stored = data_key.make(tpm, OsEntropy())
        assert len({data_key.unseal(tpm, stored) for _ in range(10)}) == 1


def test_what_is_no_sealed_key(tmp_path: Path) -> None:
    with powered(tmp_path / "tpm") as (_, tpm), pytest.raises(StorageFault, match="state-corrupt"):
        data_key.unseal(tpm, b"\xa0")
