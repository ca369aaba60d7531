from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from medvouch.crypto import cose
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import InputError, Refusal
from medvouch.formats import cbor
from medvouch.messages import commands, refusals
from medvouch.messages.commands import CONTENT_TYPE, VerifiedCommand, issue_command, verify_command
from support.truncation import assert_every_truncation_refused

COMMANDER, OTHER, STRANGER = (SoftwareSigner(ec.generate_private_key(ec.SECP256R1())) for _ in range(3))
KEYS = (OTHER.public_key, COMMANDER.public_key)
DEVICE = "0123456789abcdef0123456789abcdef"
ARGS = {"nonce": bytes(16), "appraiser": "collector"}
COMMAND = issue_command(COMMANDER, "attest", "1", DEVICE, ARGS, issued_at=1000, expires_at=2000)


def refused(kind: Any, data: bytes, *, device: str = DEVICE, now: int = 1500) -> None:
    with pytest.raises(Refusal) as caught:
        verify_command(data, KEYS, device, now)
    assert caught.value.kind is kind


def signed(payload: Any, content_type: str = CONTENT_TYPE) -> bytes:
    return cose.sign1(cbor.encode(payload), COMMANDER, content_type=content_type)


def test_any_of_the_commanders_may_command() -> None:
    expected = VerifiedCommand("attest", "1", DEVICE, 1000, 2000, ARGS, COMMAND)
    assert verify_command(COMMAND, KEYS, DEVICE, 1500) == expected
    assert verify_command(COMMAND, KEYS[::-1], DEVICE, 2000).id == "1"


def test_a_stranger_may_not() -> None:
    forged = issue_command(STRANGER, "attest", "1", DEVICE, ARGS, issued_at=1000, expires_at=2000)
    refused(refusals.COMMAND_FORGED, forged)
    with pytest.raises(Refusal, match="command-forged"):
        verify_command(COMMAND, (), DEVICE, 1500)


def test_an_altered_command() -> None:
    refused(refusals.COMMAND_FORGED, COMMAND.replace(b"attest", b"attesu"))


def test_a_signature_for_another_purpose() -> None:
    fields = {"name": "a", "id": "1", "device": DEVICE, "issued_at": 1, "expires_at": 9999, "args": {}}
    refused(refusals.COMMAND_FORGED, signed(fields, "application/cbor"))
    assert verify_command(signed(fields), KEYS, DEVICE, 1500).args == {}


def test_another_device() -> None:
    refused(refusals.COMMAND_MISDIRECTED, COMMAND, device="f" * 32)


def test_expiry() -> None:
    refused(refusals.COMMAND_EXPIRED, COMMAND, now=2001)


@pytest.mark.parametrize(
    "change",
    [{"name": 1}, {"id": b"1"}, {"device": None}, {"issued_at": -1}, {"expires_at": True}, {"args": []}, {"more": 1}],
)
def test_a_signed_payload_that_is_no_command(change: dict[str, Any]) -> None:
    fields = {"name": "a", "id": "1", "device": DEVICE, "issued_at": 1, "expires_at": 9999, "args": {}}
    with pytest.raises(InputError, match="command-malformed"):
        verify_command(signed({**fields, **change}), KEYS, DEVICE, 1500)


@pytest.mark.parametrize("payload", [[], 1, {}, {"name": "a"}, {1: 2}])
def test_a_signed_payload_of_another_shape(payload: Any) -> None:
    with pytest.raises(InputError, match="command-malformed"):
        verify_command(signed(payload), KEYS, DEVICE, 1500)


def test_every_truncation() -> None:
    assert_every_truncation_refused(lambda data: verify_command(data, KEYS, DEVICE, 1500), COMMAND)


def test_the_limit() -> None:
    with pytest.raises(InputError, match="command-limit"):
        verify_command(bytes(commands.MAX_COMMAND_BYTES + 1), KEYS, DEVICE, 1500)


@given(st.integers(0, len(COMMAND) - 1), st.integers(1, 255))
def test_every_mutation_is_refused_or_without_effect(place: int, flip: int) -> None:
    mutated = bytearray(COMMAND)
    mutated[place] ^= flip
    with pytest.raises((InputError, Refusal)):
        verify_command(bytes(mutated), KEYS, DEVICE, 1500)


def test_the_table() -> None:
    assert set(refusals.TABLE) == {"command-forged", "command-misdirected", "command-expired"}
