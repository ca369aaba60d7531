"""TPM 2.0 structures (TPM 2.0 Library, Part 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medvouch.formats.algorithms import HashAlg


@dataclass(frozen=True)
class SignedAttest:
    """What a TPM signed: `attest` is a TPMS_ATTEST (Part 2, 10.12.8), `signature` a TPMT_SIGNATURE (11.3.4)."""

    attest: bytes
    signature: bytes


@dataclass(frozen=True)
class PcrSelection:
    """TPML_PCR_SELECTION (Part 2, 10.9.7) in its order: (bank, ascending PCR numbers)."""

    banks: tuple[tuple[HashAlg, tuple[int, ...]], ...]

    @classmethod
    def of(cls, banks: Mapping[HashAlg, Iterable[int]]) -> PcrSelection:
        """From a mapping, PCRs sorted."""
        return cls(tuple((bank, tuple(sorted(pcrs))) for bank, pcrs in banks.items()))
