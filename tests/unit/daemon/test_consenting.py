from __future__ import annotations

from typing import Any

import pytest

from medvouch.daemon.consenting import Order
from medvouch.update.consent import Cause
from support.refusing import assert_input_refused


@pytest.mark.parametrize("cause", ["opt-in", "opt-out", "install-now"])
def test_what_may_be_said(cause: str) -> None:
    assert Order.parse({"cause": cause}) == Order(Cause(cause))
    assert Order.parse({"cause": cause, "from": "/media/usb", "until": 0}) == Order(Cause(cause))


def test_a_postponement_needs_a_date() -> None:
    assert Order.parse({"cause": "postpone", "until": 5}) == Order(Cause.POSTPONE, 5)


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"until": 5},
        {"cause": "lapse"},
        {"cause": "sing"},
        {"cause": ["opt-in"]},
        {"cause": None},
        {"cause": "opt-in", "until": 5},
        {"cause": "postpone"},
        {"cause": "postpone", "until": 0},
        {"cause": "postpone", "until": "tomorrow"},
        {"cause": "postpone", "until": True},
        {"cause": "postpone", "until": 1.5},
        {"cause": "postpone", "until": -5},
        {"cause": "postpone", "until": 2**63},
    ],
)
def test_what_may_not(args: dict[str, Any]) -> None:
    assert_input_refused("call-malformed", Order.parse, args)
