from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.messages import payloads
from medvouch.messages.payloads import Payload, Stamp
from medvouch.ports import Timestamp
from support.truncation import assert_every_truncation_refused

STAMP = Stamp("0123456789abcdef0123456789abcdef", "b" * 32, 7, Timestamp(1_793_000_000_000, True))
SCALARS = st.one_of(st.text(max_size=50), st.booleans(), st.integers())
FIELDS = st.dictionaries(st.text(max_size=20).filter(lambda name: name not in payloads._RESERVED), SCALARS, max_size=20)
STAMPS = st.builds(
    Stamp,
    st.text(max_size=32),
    st.text(max_size=32),
    st.integers(0, 2**63),
    st.builds(Timestamp, st.integers(0, 2**60), st.booleans()),
)


@given(STAMPS, FIELDS)
def test_round_trip(stamp: Stamp, fields: dict[str, payloads.Scalar]) -> None:
    assert payloads.parse(payloads.encode("event/boot", stamp, fields)) == Payload("event/boot", stamp, fields)


def test_the_json_is_flat_and_stamped() -> None:
    document = json.loads(payloads.encode("state/health", STAMP, {"tpm": "ok", "none": None}))
    assert document == {
        "schema": "medvouch/state/health/1",
        "device": STAMP.device,
        "boot_id": STAMP.boot_id,
        "seq": 7,
        "ts_ms": 1_793_000_000_000,
        "clock_ok": True,
        "tpm": "ok",
    }


def test_bytes_that_are_no_text_survive_as_surrogates() -> None:
    name = b"sda\xff".decode("utf-8", "surrogateescape")
    assert payloads.parse(payloads.encode("event/x", STAMP, {"disk": name})).fields == {"disk": name}


def test_a_field_cannot_pose_as_the_stamp() -> None:
    with pytest.raises(ValueError, match="device, seq"):
        payloads.encode("event/x", STAMP, {"device": "other", "seq": 1})


def test_every_truncation() -> None:
    assert_every_truncation_refused(payloads.parse, payloads.encode("event/x", STAMP, {"a": 1, "b": "c"}))


GOOD = json.loads(payloads.encode("event/x", STAMP, {}))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"schema": "event/x/1"}, "schema"),
        ({"schema": "medvouch/event/x/2"}, "schema"),
        ({"schema": "medvouch//1"}, "schema"),
        ({"schema": 1}, "schema"),
        ({"device": None}, "device"),
        ({"boot_id": 5}, "boot_id"),
        ({"seq": -1}, "seq"),
        ({"seq": True}, "seq"),
        ({"ts_ms": "now"}, "ts_ms"),
        ({"clock_ok": 1}, "clock_ok"),
        ({"x": []}, "x"),
        ({"x": {}}, "x"),
        ({"x": 1.5}, "x"),
        ({str(n): n for n in range(payloads.MAX_FIELDS)}, ""),
    ],
)
def test_a_wrong_field(change: dict[str, object], place: str) -> None:
    with pytest.raises(InputError) as caught:
        payloads.parse(json.dumps({**GOOD, **change}).encode())
    assert caught.value.code == "message-malformed"
    assert caught.value.place == place


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"\xff", b"[" * 16000, b'{"seq":' + b"9" * 5000 + b"}"])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(InputError, match="message-malformed"):
        payloads.parse(data)


def test_the_limit() -> None:
    with pytest.raises(InputError, match="message-limit"):
        payloads.parse(b" " * (payloads.MAX_JSON_BYTES + 1))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(InputError):
        payloads.parse(data)
