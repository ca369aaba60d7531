"""Reference values as bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.reference import (
    MAX_EVENTS,
    MAX_PCRS,
    Mode,
    PcrReference,
    ReferenceEvent,
    ReferenceValues,
)
from support.truncation import assert_every_truncation_refused

EVENT = ReferenceEvent("the kernel", {"sha256": bytes(32), "sha384": bytes(48)})
VALUES = ReferenceValues(
    model="gateway-1",
    release="1.0.0",
    security_epoch=7,
    command_lines=("console=ttyS0", "quiet"),
    pcrs=(
        PcrReference(4, Mode.EXACT, (EVENT, replace(EVENT, description="another"))),
        PcrReference(10, Mode.ALLOWED, ()),
        PcrReference(11, Mode.PREFIX, (EVENT,)),
    ),
)


def test_there_and_back() -> None:
    assert ReferenceValues.parse(VALUES.encode()) == VALUES
    assert_every_truncation_refused(ReferenceValues.parse, VALUES.encode())


def test_as_written() -> None:
    assert cbor.decode(replace(VALUES, pcrs=VALUES.pcrs[:1]).encode()) == {
        "model": "gateway-1",
        "release": "1.0.0",
        "security_epoch": 7,
        "command_lines": ["console=ttyS0", "quiet"],
        "pcrs": [
            {
                "pcr": 4,
                "mode": "exact",
                "events": [
                    {"description": "the kernel", "digests": {"sha256": bytes(32), "sha384": bytes(48)}},
                    {"description": "another", "digests": {"sha256": bytes(32), "sha384": bytes(48)}},
                ],
            }
        ],
    }


@pytest.mark.parametrize("numbers", [(4, 4), (10, 4), (1, 2, 2), (1, 3, 2)])
def test_each_pcr_once_and_in_order(numbers: tuple[int, ...]) -> None:
    pcrs = tuple(PcrReference(number, Mode.EXACT, ()) for number in numbers)
    with pytest.raises(InputError, match="reference-malformed") as caught:
        ReferenceValues.parse(replace(VALUES, pcrs=pcrs).encode())
    assert caught.value.place == "/pcrs"


def test_every_pcr() -> None:
    pcrs = tuple(PcrReference(number, Mode.EXACT, ()) for number in range(MAX_PCRS))
    assert ReferenceValues.parse(replace(VALUES, pcrs=pcrs).encode()).pcrs == pcrs


@pytest.mark.parametrize(
    ("changes", "code", "place"),
    [
        ({"mode": "sequence"}, "reference-malformed", "/pcrs/0/mode"),
        ({"mode": "EXACT"}, "reference-malformed", "/pcrs/0/mode"),
        ({"mode": 0}, "reference-malformed", "/pcrs/0/mode"),
        ({"mode": ["exact"]}, "reference-malformed", "/pcrs/0/mode"),
        ({"pcr": 24}, "reference-limit", "/pcrs/0/pcr"),
        ({"pcr": -1}, "reference-malformed", "/pcrs/0/pcr"),
        ({"events": None}, "reference-malformed", "/pcrs/0/events"),
        ({"events": [0] * (MAX_EVENTS + 1)}, "reference-limit", "/pcrs/0/events"),
        ({"events": [{"description": "", "digests": {}}]}, "reference-malformed", "/pcrs/0/events/0/description"),
        (
            {"events": [{"description": "x", "digests": {"sha256": bytes(65)}}]},
            "reference-limit",
            "/pcrs/0/events/0/digests/sha256",
        ),
        ({"more": 1}, "reference-malformed", "/pcrs/0"),
    ],
    ids=str,
)
def test_malformed_pcrs(changes: dict[str, Any], code: str, place: str) -> None:
    fields = cbor.decode(VALUES.encode())
    fields["pcrs"][0].update(changes)
    with pytest.raises(InputError) as caught:
        ReferenceValues.parse(cbor.encode(fields))
    assert (caught.value.code, caught.value.place) == (code, place)
