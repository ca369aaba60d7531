"""Ranges of versions: what is in them for everybody who reads them, and what says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.formats.version_range import MAX_CONSTRAINTS, VersionRange, read_range
from support.refusing import assert_input_refused


def has(text: str, version: str) -> bool:
    found = read_range(text)
    assert found is not None
    return found.has(version)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("vers:all/*", "0 1.0 9.9.9", ""),
        ("vers:generic/1.0.0|1.0.2", "1.0.0 1.0.2", "0.9 1.0.1 1.0.3 1.0.2.1"),
        ("vers:intdot/=1.0.0", "1.0.0", "1.0.1"),
        ("vers:generic/>=1.0.0|<1.1.0", "1.0.0 1.0.9 1.0.10.7", "0.9.9 1.1.0 1.1.1 2.0"),
        ("vers:generic/>1.0.0|<=1.1.0", "1.0.1 1.1.0", "1.0.0 1.1.0.1"),
        ("vers:semver/<1.10.0", "1.9.0 0.0.1", "1.10.0 1.10.1"),
        ("vers:generic/>=2.0.0", "2.0.0 10.0", "1.9"),
        ("vers:generic/<1.0.2|>=2.0.0|<2.0.5|>3.0.0", "1.0.1 2.0.0 2.0.4 3.0.1", "1.0.2 1.9 2.0.5 2.9 3.0.0"),
        ("vers:generic/>=1.0.0|!=1.0.5|<2.0.0", "1.0.4 1.0.6", "1.0.5 2.0.0"),
        ("vers:generic/0.1.0|>=1.0.0|1.5.0|<2.0.0|3.0.0", "0.1.0 1.0.0 1.5.0 1.6 3.0.0", "0.5 2.0.0 2.5 3.1"),
    ],
)
def test_what_is_in_it(text: str, inside: str, outside: str) -> None:
    assert [version for version in inside.split() if not has(text, version)] == []
    assert [version for version in outside.split() if has(text, version)] == []


@pytest.mark.parametrize(
    ("text", "version"),
    [("vers:generic/<=1.1", "1.1.0"), ("vers:generic/>=1.1.0", "1.1"), ("vers:generic/1.1.0.0", "1.1")],
)
def test_what_readers_do_not_agree_on_is_in_none(text: str, version: str) -> None:
    assert not has(text, version)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vers:generic",
        "vers:generic/",
        "vers:generic/*",
        "vers:generic/*|1.0",
        "vers:all/1.0",
        "vers:all/",
        "vers:npm/<1.0.0",
        "vers:deb/<1.0",
        "VERS:generic/<1.0",
        "vers:generic/<1.0.0-rc1",
        "vers:generic/<v1.0",
        "vers:generic/< 1.0",
        "vers:generic/<1.0 ",
        "vers:generic/<1%2e0",
        "vers:generic/<1.0|",
        "vers:generic/|<1.0",
        "vers:generic/<01.0",
        "vers:generic/<1..0",
        "vers:generic/<1.1|>=1.0",
        "vers:generic/1.0|1.0",
        "vers:generic/1.0|1.0.0",
        "vers:generic/>=1.0|<1.0.0",
        "vers:generic/>1.0|>2.0",
        "vers:generic/<1.0|<2.0",
        "vers:generic/<1.0|!=1.5|<=2.0",
        "vers:generic/!=1.0.5",
        "<1.1.0",
        "1.0.x",
        "vers:generic/" + "|".join(f"{number}" for number in range(MAX_CONSTRAINTS + 1)),
    ],
)
def test_what_says_nothing(text: str) -> None:
    assert read_range(text) is None


def test_as_many_constraints_as_may_be() -> None:
    found = read_range("vers:generic/" + "|".join(f"{number}" for number in range(MAX_CONSTRAINTS)))
    assert found is not None
    assert len(found.constraints) == MAX_CONSTRAINTS


def test_what_is_no_version_is_in_none() -> None:
    assert_input_refused("version-malformed", VersionRange(()).has, "")


_VERSIONS = st.lists(st.integers(0, 5), min_size=3, max_size=3).map(tuple)


@given(st.sets(_VERSIONS, min_size=1, max_size=6), st.booleans(), _VERSIONS)
def test_bounds_in_turn_are_intervals(bounds: set[tuple[int, ...]], opens: bool, version: tuple[int, ...]) -> None:
    """Each bound that is passed changes whether a version is inside."""
    signs = (">=", "<") if opens else ("<", ">=")
    ordered = sorted(bounds)
    parts = [f"{signs[number % 2]}{'.'.join(map(str, bound))}" for number, bound in enumerate(ordered)]
    passed = sum(bound <= version for bound in ordered)
    assert has(f"vers:intdot/{'|'.join(parts)}", ".".join(map(str, version))) == ((passed % 2 == 1) is opens)
