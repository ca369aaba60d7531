"""A device's life leads from its making to its commissioning, and no other way."""

from __future__ import annotations

from itertools import product

import pytest

from medvouch.lifecycle import refusals
from medvouch.lifecycle.life import TRANSITIONS, Cause, Life, advance
from support.refusing import assert_refused


def test_from_manufacture_to_commissioning() -> None:
    state = Life.MANUFACTURED
    for cause in (Cause.ENROL, Cause.COMMISSION):
        state = advance(state, cause)
    assert state is Life.COMMISSIONED


@pytest.mark.parametrize(("state", "cause"), sorted(set(product(Life, Cause)) - TRANSITIONS.keys()))
def test_no_other_way(state: Life, cause: Cause) -> None:
    error = assert_refused(refusals.TRANSITION_NOT_ALLOWED, advance, state, cause)
    assert error.detail == f"no transition {cause.value!r} from {state.value!r}"
    assert refusals.TABLE[error.code] is error.kind


def test_nothing_leads_back() -> None:
    order = list(Life)
    assert all(order.index(after) > order.index(before) for (before, _), after in TRANSITIONS.items())
