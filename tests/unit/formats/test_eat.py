"""The EAT profile: exactly its claims, each in its form."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.eat import PROFILE, Eat, LedgerHead
from support.truncation import assert_every_truncation_refused

LEAST = Eat(
    nonce=bytes(range(32)),
    audience="appraiser.example",
    issued_at=1_700_000_000,
    client_key_thumbprint=b"\x01" * 32,
    ueid=b"\x01" + b"\x02" * 32,
    oem_id=b"\x03" * 3,
    hw_model=b"gateway-1",
    hw_version="1.2",
    uptime=86400,
    boot_count=7,
    sw_name="medvouch-gateway",
    sw_version="1.1.0",
    uefi_log_digest=b"\x04" * 32,
)
MOST = dataclasses.replace(
    LEAST,
    oem_id=64242,
    oem_boot=False,
    debug_status=3,
    ledger_head=LedgerHead(12, b"\x05" * 32, 4),
    update_state="closed",
    support_state="supported",
    inventory_digest=b"\x06" * 32,
)


@pytest.mark.parametrize("eat", [LEAST, MOST, dataclasses.replace(LEAST, oem_id=bytes(16))])
def test_round_trip_and_truncation(eat: Eat) -> None:
    assert Eat.parse(eat.encode()) == eat
    assert_every_truncation_refused(Eat.parse, eat.encode())


def test_claims_stand_under_their_labels() -> None:
    assert cbor.decode(MOST.encode()) == {
        3: "appraiser.example",
        6: 1_700_000_000,
        8: {5: b"\x01" * 32},
        10: bytes(range(32)),
        256: b"\x01" + b"\x02" * 32,
        258: 64242,
        259: b"gateway-1",
        260: ["1.2"],
        261: 86400,
        262: False,
        263: 3,
        265: PROFILE,
        267: 7,
        270: "medvouch-gateway",
        271: ["1.1.0"],
        -75001: b"\x04" * 32,
        -75002: [12, b"\x05" * 32, 4],
        -75003: "closed",
        -75004: "supported",
        -75005: b"\x06" * 32,
    }


def test_what_is_none_is_not_claimed() -> None:
    assert not set(cbor.decode(LEAST.encode())) & {262, 263, -75002, -75003, -75004, -75005}


@pytest.mark.parametrize("label", [3, 6, 8, 10, 256, 258, 259, 260, 261, 265, 267, 270, 271, -75001])
def test_required_claims(label: int) -> None:
    claims = cbor.decode(MOST.encode())
    del claims[label]
    with pytest.raises(InputError, match=str(label)) as caught:
        Eat.parse(cbor.encode(claims))
    assert caught.value.code == "eat-malformed"


WRONG: list[tuple[Any, Any]] = [
    (3, ""),
    (3, b"bytes"),
    (6, -1),
    (6, "now"),
    (6, cbor.Tag(1, 0)),
    (8, b"\x01" * 32),
    (8, {}),
    (8, {1: {}}),
    (8, {5: b"\x01" * 32, 3: b"kid"}),
    (8, {5: b"\x01" * 31}),
    (10, bytes(7)),
    (10, bytes(65)),
    (10, [bytes(8), bytes(8)]),
    (256, bytes(6)),
    (256, bytes(34)),
    (256, "0102030405060708"),
    (258, bytes(4)),
    (258, "oem"),
    (259, b""),
    (259, bytes(33)),
    (260, "1.2"),
    (260, ["1.2", 1]),
    (260, []),
    (260, [1]),
    (261, True),
    (262, 1),
    (262, None),
    (263, -1),
    (265, "urn:uuid:00000000-0000-0000-0000-000000000000"),
    (265, cbor.Tag(32, PROFILE)),
    (267, None),
    (270, ["name"]),
    (271, "1.1.0"),
    (-75001, bytes(31)),
    (-75002, [1, bytes(32)]),
    (-75002, [1, bytes(32), 2, 3]),
    (-75002, [-1, bytes(32), 2]),
    (-75002, [1, bytes(31), 2]),
    (-75002, {}),
    (-75003, ""),
    (-75004, 1),
    (-75005, b""),
    (1, "issuer"),
    (273, []),
    (-75006, 0),
    ("nonce", b""),
    (b"nonce", b""),
]


@pytest.mark.parametrize(("label", "value"), WRONG, ids=str)
def test_claims_in_another_form_and_unknown_claims(label: Any, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        Eat.parse(cbor.encode({**cbor.decode(MOST.encode()), label: value}))
    assert caught.value.code == "eat-malformed"


@pytest.mark.parametrize(
    ("label", "value"), [(3, "a" * 257), (263, 5), (267, 1 << 32), (260, ["v" * 257]), (-75003, "s" * 65)]
)
def test_limits(label: int, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        Eat.parse(cbor.encode({**cbor.decode(MOST.encode()), label: value}))
    assert caught.value.code == "eat-limit"


@pytest.mark.parametrize("value", [[], None, 1, b""])
def test_no_map(value: object) -> None:
    with pytest.raises(InputError) as caught:
        Eat.parse(cbor.encode(value))
    assert caught.value.code == "eat-malformed"
