"""Versions, and what is none."""

from __future__ import annotations

import pytest

from medvouch.errors import InputError
from medvouch.formats.version import parse_version


@pytest.mark.parametrize(("text", "numbers"), [("1", (1,)), ("1.10.0", (1, 10, 0)), ("999999999.0", (999999999, 0))])
def test_versions(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_version(text) == numbers


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.", ".1", "1..2", "01", "1.02", "v1", "1.0-rc.1", "-1", "1 ", "1\n", "\u0661",
     "1" * 10, "1" + ".1" * 8],
)  # fmt: skip
def test_no_versions(text: str) -> None:
    with pytest.raises(InputError, match="version-malformed"):
        parse_version(text)
