"""Certificates as vendors leave them in a TPM: padded, and chains that run from index to index."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.endorsements import (
    EK_CHAIN_INDEXES,
    IDEVID_CERTIFICATE_INDEX,
    read_certificate,
    read_ek_chain,
)
from medvouch.errors import InputError
from medvouch_sim.swtpm import SwTpm
from support.authorities import issuing, root

FIRST, SECOND = (make("padded").certificate for make in (issuing, root))


def test_no_chain_and_padding(tmp_path: Path) -> None:
    with SwTpm(tmp_path / "tpm") as swtpm:
        swtpm.define_platform_nv(IDEVID_CERTIFICATE_INDEX, FIRST + b"\xff" * 100)
        with TssTpm(swtpm.tcti()) as tpm:
            assert read_certificate(tpm, IDEVID_CERTIFICATE_INDEX) == FIRST
            assert read_ek_chain(tpm) == ()


@pytest.mark.parametrize("beside", [0, -200, 200])
def test_a_chain_over_two_indexes(tmp_path: Path, beside: int) -> None:
    whole, cut = FIRST + SECOND + bytes(50), len(FIRST) + beside
    with SwTpm(tmp_path / "tpm") as swtpm:
        swtpm.define_platform_nv(EK_CHAIN_INDEXES[0], whole[:cut])
        swtpm.define_platform_nv(EK_CHAIN_INDEXES[1], whole[cut:])
        with TssTpm(swtpm.tcti()) as tpm:
            assert read_ek_chain(tpm) == (FIRST, SECOND)


def test_what_is_no_certificate(tmp_path: Path) -> None:
    with SwTpm(tmp_path / "tpm") as swtpm:
        swtpm.define_platform_nv(IDEVID_CERTIFICATE_INDEX, FIRST[:-1])
        with TssTpm(swtpm.tcti()) as tpm, pytest.raises(InputError, match="certificate-truncated"):
            read_certificate(tpm, IDEVID_CERTIFICATE_INDEX)
