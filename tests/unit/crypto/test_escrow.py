"""Sealing to an owner, and everything that must not open."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from medvouch.crypto import escrow, refusals
from medvouch.crypto.keys import cose_key
from medvouch.errors import InputError, Refusal
from medvouch.formats import cbor
from support.truncation import assert_every_truncation_refused

OWNER = ec.derive_private_key(9, ec.SECP256R1())
OTHER = ec.derive_private_key(10, ec.SECP256R1())
OWNER_384 = ec.derive_private_key(9, ec.SECP384R1())
SECRET = b"owner and lockout authorisation"


def stream(seed: str) -> Callable[[int], bytes]:
    """Repeatable bytes that differ from call to call."""
    calls = iter(range(1000))
    return lambda size: hashlib.shake_256(f"{seed} {next(calls)}".encode()).digest(size)


SEALED = escrow.seal(SECRET, OWNER.public_key(), stream("a"), context=b"device")


@pytest.mark.parametrize("owner", [OWNER, OWNER_384])
def test_round_trip(owner: ec.EllipticCurvePrivateKey) -> None:
    sealed = escrow.seal(SECRET, owner.public_key(), stream("a"))
    assert SECRET not in sealed
    assert escrow.open_sealed(sealed, owner) == SECRET
    assert sealed != escrow.seal(SECRET, owner.public_key(), stream("b"))


def test_every_truncation_is_refused() -> None:
    assert_every_truncation_refused(lambda data: escrow.open_sealed(data, OWNER, context=b"device"), SEALED)


@pytest.mark.parametrize(
    ("key", "context"), [(OTHER, b"device"), (OWNER_384, b"device"), (OWNER, b"another"), (OWNER, b"")]
)
def test_for_another_key_or_of_another_device(key: ec.EllipticCurvePrivateKey, context: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        escrow.open_sealed(SEALED, key, context=context)
    assert caught.value.kind is refusals.ESCROW_UNOPENED


def changed(change: Callable[[list[Any]], object]) -> bytes:
    message = cbor.decode(SEALED)
    change(message.value)
    return cbor.encode(cbor.Tag(message.tag, message.value))


def item(*path: int, value: object) -> Callable[[list[Any]], object]:
    def change(body: list[Any]) -> None:
        *steps, last = path
        place: Any = body
        for step in steps:
            place = place[step]
        place[last] = value

    return change


@pytest.mark.parametrize("altered", [item(1, 5, value=bytes(12)), item(2, value=bytes(40)), item(2, value=b"")])
def test_altered(altered: Callable[[list[Any]], object]) -> None:
    with pytest.raises(Refusal) as caught:
        escrow.open_sealed(changed(altered), OWNER, context=b"device")
    assert caught.value.kind is refusals.ESCROW_UNOPENED


@pytest.mark.parametrize(
    "altered",
    [
        item(0, value=b""),
        item(0, value=cbor.encode({1: 1})),
        item(1, value={}),
        item(1, value=None),
        item(1, 5, value=bytes(13)),
        item(1, 4, value=b"kid"),
        item(3, value=[]),
        item(3, value=None),
        item(3, 0, 0, value=cbor.encode({1: -26})),
        item(3, 0, 1, value={}),
        item(3, 0, 1, value=[]),
        item(3, 0, 1, 4, value=b"kid"),
        item(3, 0, 2, value=b"wrapped"),
        item(3, 0, 1, -1, value=cose_key(ed25519.Ed25519PrivateKey.generate().public_key())),
        lambda body: body[3].append(body[3][0]),
        lambda body: body.pop(),
    ],
)
def test_another_form(altered: Callable[[list[Any]], object]) -> None:
    with pytest.raises(InputError) as caught:
        escrow.open_sealed(changed(altered), OWNER, context=b"device")
    assert caught.value.code in ("escrow-malformed", "cose-malformed")


def test_a_point_off_the_curve_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        escrow.open_sealed(changed(item(3, 0, 1, -1, -3, value=bytes(32))), OWNER, context=b"device")
    assert caught.value.code == "key-malformed"


def test_limits() -> None:
    most = bytes(escrow.MAX_PLAINTEXT_BYTES)
    assert escrow.open_sealed(escrow.seal(most, OWNER.public_key(), stream("a")), OWNER) == most
    with pytest.raises(ValueError, match="at most"):
        escrow.seal(most + b"\x00", OWNER.public_key(), stream("a"))
    with pytest.raises(InputError) as caught:
        escrow.open_sealed(changed(item(2, value=bytes(len(most) + 17))), OWNER)
    assert caught.value.code == "escrow-limit"


def test_no_escrow_to_other_curves() -> None:
    with pytest.raises(InputError, match="secp256k1"):
        escrow.seal(SECRET, ec.derive_private_key(9, ec.SECP256K1()).public_key(), stream("a"))
