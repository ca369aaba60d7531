"""Strict deterministic CBOR."""

from __future__ import annotations

import enum

import cbor2
import pytest

from medvouch.errors import InputError
from medvouch.formats import cbor
from support.truncation import assert_every_truncation_refused

ACCEPTED = {
    "00": 0,
    "1818": 24,
    "1bffffffffffffffff": 2**64 - 1,
    "20": -1,
    "3bffffffffffffffff": -(2**64),
    "40": b"",
    "4401020304": b"\x01\x02\x03\x04",
    "62c3bc": "ü",
    "83010203": [1, 2, 3],
    "a201020304": {1: 2, 3: 4},
    "c24101": cbor.Tag(2, b"\x01"),
    "f4": False,
    "f5": True,
    "f6": None,
}

REFUSED = {
    "": "truncated",
    "18": "truncated",
    "4201": "truncated",
    "8201": "truncated",
    "a101": "truncated",
    "9bffffffffffffffff": "truncated",
    "5bffffffffffffffff": "truncated",
    "0000": "trailing",
    "1817": "malformed",
    "190018": "malformed",
    "1900ff": "malformed",
    "1a0000ffff": "malformed",
    "1b00000000ffffffff": "malformed",
    "5f4100ff": "malformed",
    "9fff": "malformed",
    "bfff": "malformed",
    "1c": "malformed",
    "ff": "malformed",
    "f7": "malformed",
    "e0": "malformed",
    "f820": "malformed",
    "f93c00": "malformed",
    "fb3ff0000000000000": "malformed",
    "62c328": "malformed",
    "a201020102": "malformed",
    "a203040102": "malformed",
    "a18001": "malformed",
    "a1f501": "malformed",
    "a1f601": "malformed",
    "a1c10001": "malformed",
}


@pytest.mark.parametrize(("text", "value"), ACCEPTED.items())
def test_accepts_the_profile(text: str, value: object) -> None:
    data = bytes.fromhex(text)
    assert cbor.decode(data) == value
    assert cbor.encode(value) == data


@pytest.mark.parametrize(("text", "fault"), REFUSED.items())
def test_refuses_all_else(text: str, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        cbor.decode(bytes.fromhex(text))
    assert caught.value.code == f"cbor-{fault}"


def test_keys_are_ordered_bytewise_and_not_by_length() -> None:
    """RFC 8949, 4.2.1: 10, 100, -1, "z", "aa" (4.2.3 would put -1 before 100)."""
    value = {"aa": 4, -1: 2, 100: 1, "z": 3, 10: 0}
    assert cbor.encode(value).hex() == "a50a001864012002617a0362616104"


def test_others_may_order_their_keys_as_they_like_but_not_repeat_them() -> None:
    assert cbor.decode(bytes.fromhex("a203040102"), deterministic=False) == {3: 4, 1: 2}
    with pytest.raises(InputError, match="twice"):
        cbor.decode(bytes.fromhex("a3030401020304"), deterministic=False)


def test_a_key_in_its_longer_form_is_no_second_key() -> None:
    with pytest.raises(InputError, match="shortest"):
        cbor.decode(bytes.fromhex("a20100180100"), deterministic=False)


@pytest.mark.parametrize("head", ["81", "a100", "c0"])
def test_depth_is_bounded(head: str) -> None:
    deepest = bytes.fromhex(head * cbor.MAX_DEPTH + "00")
    assert cbor.decode(deepest) is not None
    with pytest.raises(InputError) as caught:
        cbor.decode(bytes.fromhex(head) + deepest)
    assert caught.value.code == "cbor-limit"


def test_items_are_bounded() -> None:
    most = cbor.encode([0] * (cbor.MAX_ITEMS - 1))
    assert len(cbor.decode(most)) == cbor.MAX_ITEMS - 1
    with pytest.raises(InputError) as caught:
        cbor.decode(cbor.encode([0] * cbor.MAX_ITEMS))
    assert caught.value.code == "cbor-limit"


def test_tags_that_cbor2_would_interpret_stay_tags() -> None:
    for number in (0, 1, 2, 4, 28, 29, 35, 37, 258, 55799):
        decoded = cbor.decode(cbor.encode(cbor.Tag(number, 0)))
        assert isinstance(decoded, cbor2.CBORTag)
        assert decoded.tag == number


def test_enumerations_and_tuples_encode_as_what_they_are() -> None:
    class Colour(enum.IntEnum):
        RED = 5

    assert cbor.encode({Colour.RED: (Colour.RED,)}) == cbor.encode({5: [5]})


@pytest.mark.parametrize(
    "value", [1.5, object(), {1, 2}, 1 << 64, -(1 << 64) - 1, {1 << 64: 1}, {None: 1}, {True: 1}, {(1,): 1}]
)
def test_encodes_nothing_beyond_the_profile(value: object) -> None:
    with pytest.raises(TypeError):
        cbor.encode(value)


def test_every_truncation_is_refused() -> None:
    value = {1: [b"four", "text", -500], 2: cbor.Tag(18, [None, True]), "name": {1000000: 2**40}}
    assert_every_truncation_refused(cbor.decode, cbor.encode(value))
