"""The list of all devices, and what is none."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats.fleet import MAX_DEVICES, MAX_FLEET_BYTES, MAX_LABELS, Fleet, FleetDevice
from support.refusing import assert_input_refused
from support.truncation import assert_every_truncation_refused

UEID = b"\1" + bytes(range(32))
ENTRY: dict[str, Any] = {
    "ueid": UEID.hex(),
    "serial": "SN-1",
    "model": "MV-100",
    "version": "1.0.0",
    "labels": ["pilot", "lab"],
}
OTHER = {"ueid": "01" + "ff" * 32, "model": "MV-200", "version": "2"}


def encoded(*devices: object) -> bytes:
    return json.dumps({"devices": devices}).encode()


def test_what_it_says() -> None:
    fleet = Fleet.parse(encoded(ENTRY, {**OTHER, "owner": "nobody asks"}))
    assert fleet.devices == (
        FleetDevice(UEID, "SN-1", "MV-100", "1.0.0", frozenset({"pilot", "lab"})),
        FleetDevice(bytes.fromhex(OTHER["ueid"]), "", "MV-200", "2", frozenset()),
    )
    assert fleet.devices[0].device == UEID[:16].hex()


def test_cut_off_or_too_much() -> None:
    assert_every_truncation_refused(Fleet.parse, encoded(ENTRY))
    assert_input_refused("fleet-limit", Fleet.parse, b" " * (MAX_FLEET_BYTES + 1))
    assert_input_refused("fleet-limit", Fleet.parse, encoded(*[0] * (MAX_DEVICES + 1)))


@given(st.dictionaries(st.sampled_from(list(ENTRY)), st.none() | st.text() | st.integers() | st.lists(st.text())))
def test_any_device_is_parsed_or_refused(changes: dict[str, object]) -> None:
    with suppress(InputError):
        Fleet.parse(encoded({**ENTRY, **changes}))


@pytest.mark.parametrize(
    ("name", "wrong", "fault"),
    [
        ("ueid", "01", "malformed"),
        ("ueid", "x" * 66, "malformed"),
        ("ueid", UEID.hex().upper(), "malformed"),
        ("ueid", "01" * 34, "limit"),
        ("serial", "", "malformed"),
        ("model", None, "malformed"),
        ("model", "M" * 65, "limit"),
        ("version", "1.0-rc1", "malformed"),
        ("version", 1, "malformed"),
        ("labels", "pilot", "malformed"),
        ("labels", ["l"] * (MAX_LABELS + 1), "limit"),
    ],
)
def test_fields_that_are_wrong(name: str, wrong: object, fault: str) -> None:
    assert_input_refused(f"fleet-{fault}", Fleet.parse, encoded({**ENTRY, name: wrong}))


@pytest.mark.parametrize("devices", [(), (ENTRY, ENTRY), (ENTRY, {**OTHER, "ueid": UEID[:16].hex() + "ff" * 17})])
def test_nobody_or_somebody_twice(devices: tuple[object, ...]) -> None:
    assert_input_refused("fleet-malformed", Fleet.parse, encoded(*devices))
