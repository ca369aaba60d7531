"""COSE: whatever the bytes, parsing raises InputError only, and no changed message verifies."""

from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from medvouch.crypto import cose
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import InputError, Refusal
from medvouch.formats.cose import Sign, Sign1

SIGNER = SoftwareSigner(ec.derive_private_key(3, ec.SECP256R1()))
SIGNED = cose.sign1(b"the payload", SIGNER, content_type="a/b")


@given(st.binary(max_size=128))
def test_noise(data: bytes) -> None:
    for parse in (Sign1.parse, Sign.parse):
        with contextlib.suppress(InputError):
            parse(data)


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_round_trip(payload: bytes, external: bytes) -> None:
    data = cose.sign1(payload, SIGNER, external_aad=external)
    assert cose.verify1(data, SIGNER.public_key, external_aad=external).payload == payload
    assert Sign1.parse(data).encode() == data


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_no_changed_message_verifies(place: int, change: int) -> None:
    mutated = bytearray(SIGNED)
    mutated[place] ^= change
    with pytest.raises((InputError, Refusal)):
        cose.verify1(bytes(mutated), SIGNER.public_key)
