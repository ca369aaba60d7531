"""What the policies demand."""

from __future__ import annotations

from medvouch.attestation.policy import RELEASE_POLICY, STATIC_PCRS
from medvouch.formats.tpm import PcrSelection


def test_the_static_pcrs() -> None:
    """One bank, SHA-256, PCRs 0 to 15 (Part 2, 10.9.7)."""
    assert STATIC_PCRS.encode() == bytes.fromhex("00000001 000b 03 ffff00")
    assert PcrSelection.parse(STATIC_PCRS.encode()) == STATIC_PCRS


def test_the_policy_of_releases() -> None:
    assert RELEASE_POLICY.selection == STATIC_PCRS
    assert RELEASE_POLICY.require_secure_boot
