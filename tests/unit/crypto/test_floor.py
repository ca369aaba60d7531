"""Approvals of the security epoch in plain software; the TPM's own view of them is in the integration tests."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from medvouch.crypto import refusals
from medvouch.crypto.floor import (
    approve,
    approved_policy,
    epoch,
    policy_command_code,
    policy_nv_equal,
    policy_nv_written,
    verify_approval,
)
from medvouch.crypto.keys import PublicKey, SoftwareSigner
from medvouch.errors import InputError
from medvouch.formats.floor import FloorApproval
from support.authorities import key
from support.refusing import assert_refused

SIGNER = SoftwareSigner(key("floor"))
NAME, UEID = b"\x00\x0b" + b"n" * 32, b"\x01" + b"u" * 32
P384 = ec.generate_private_key(ec.SECP384R1())


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def test_the_policies_are_those_of_the_library() -> None:
    assert policy_nv_written(bytes(32), False).hex() == sha(bytes(32), b"\0\0\1\x8f", b"\0").hex()
    assert policy_nv_written(bytes(32), True) == sha(bytes(32), b"\0\0\1\x8f", b"\1")
    assert policy_command_code(b"d" * 32, 0x134) == sha(b"d" * 32, b"\0\0\1\x6c", b"\0\0\1\x34")
    value = (7).to_bytes(8, "big")
    assert policy_nv_equal(bytes(32), NAME, value) == sha(bytes(32), b"\0\0\1\x49", sha(value, bytes(4)), NAME)


def test_what_is_approved() -> None:
    first = policy_command_code(policy_nv_written(bytes(32), False), 0x134)
    assert approved_policy(NAME, None) == approved_policy(b"", None) == first
    later = policy_command_code(policy_nv_equal(bytes(32), NAME, (7).to_bytes(8, "big")), 0x134)
    assert approved_policy(NAME, 7) == later


@pytest.mark.parametrize("counter", [None, 0, 7])
def test_approvals_verify(counter: int | None) -> None:
    approval = approve(SIGNER, NAME, counter, UEID)
    assert FloorApproval.parse(approval.encode()) == approval
    verify_approval(approval, SIGNER.public_key, NAME, UEID)


@pytest.mark.parametrize(
    ("authority", "name", "ueid", "counter"),
    [
        (key("stranger").public_key(), NAME, UEID, 7),
        (P384.public_key(), NAME, UEID, 7),
        (ed25519.Ed25519PrivateKey.generate().public_key(), NAME, UEID, 7),
        (SIGNER.public_key, NAME[::-1], UEID, 7),
        (SIGNER.public_key, NAME, UEID[::-1], 7),
        (SIGNER.public_key, NAME, UEID, 8),
        (SIGNER.public_key, NAME, UEID, None),
    ],
    ids=["stranger", "P-384", "Ed25519", "index", "device", "counter", "first"],
)
def test_approvals_of_something_else(authority: PublicKey, name: bytes, ueid: bytes, counter: int | None) -> None:
    approval = replace(approve(SIGNER, NAME, 7, UEID), counter=counter)
    assert_refused(refusals.FLOOR_APPROVAL_INVALID, verify_approval, approval, authority, name, ueid)


def test_only_what_tpms_check_is_signed() -> None:
    with pytest.raises(InputError, match="key-malformed"):
        approve(SoftwareSigner(P384), NAME, 7, UEID)


def test_the_epoch_counts_from_the_base() -> None:
    assert epoch(3, 17, 17) == 3
    assert epoch(3, 17, 19) == 5
