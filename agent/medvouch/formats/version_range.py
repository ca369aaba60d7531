"""Ranges of versions as CSAF names them (3.1.2.2, product_version_range): `vers:` URIs, of numbers with dots.

    vers:generic/>=1.0.0|<1.1.0        vers:intdot/1.0.0|1.0.2        vers:generic/<1.0.2|!=0.9|>=2.0        vers:all/*

Read is only what has one meaning for everybody: constraints that ascend, each version once, bounds that open and close
in turn, something that is inside. All else, other schemes too, says nothing (None), as a document that is silent does.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from medvouch.errors import InputError
from medvouch.formats.version import parse_version

ALL = "vers:all/*"
SCHEMES = ("generic", "intdot", "semver")
"""Whose order of numbers with dots is ours."""
MAX_CONSTRAINTS = 64
_RANGE = re.compile(rf"vers:(?:{'|'.join(SCHEMES)})/(.+)")
_CONSTRAINT = re.compile(r"(>=|<=|!=|=|<|>)?([0-9.]+)")
_HOLDS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_UPPER, _LOWER = ("<", "<="), (">", ">=")

Numbers = tuple[int, ...]
Constraint = tuple[str, Numbers]
"""A comparator and a version."""


@dataclass(frozen=True)
class VersionRange:
    """Its constraints in ascending order; none: every version."""

    constraints: tuple[Constraint, ...]

    def has(self, version: str) -> bool:
        """Whether a version is in it for all who read it; 1.1.0, which some take for 1.1, is not where 1.1 is a bound.

        Raises InputError `version-malformed`.
        """
        numbers = parse_version(version)
        if not self.constraints:
            return True
        if any(_equal(numbers, bound) and numbers != bound for _, bound in self.constraints):
            return False
        single = {bound: comparator for comparator, bound in self.constraints if comparator in ("=", "!=")}
        if numbers in single:
            return single[numbers] == "="
        return any(_holds(lower, numbers) and _holds(upper, numbers) for lower, upper in _intervals(self.constraints))


def read_range(text: str) -> VersionRange | None:
    """A range as it is written; None where it says nothing."""
    if text == ALL:
        return VersionRange(())
    found = _RANGE.fullmatch(text)
    parts = found[1].split("|", MAX_CONSTRAINTS) if found else []
    constraints = [constraint for part in parts if (constraint := _constraint(part))]
    if not parts or len(parts) > MAX_CONSTRAINTS or len(constraints) != len(parts):
        return None
    something = any(comparator != "!=" for comparator, _ in constraints)
    clear = something and _ascend(constraints) and _alternate(constraints)
    return VersionRange(tuple(constraints)) if clear else None


def _constraint(text: str) -> Constraint | None:
    found = _CONSTRAINT.fullmatch(text)
    if found is None:
        return None
    try:
        return found[1] or "=", parse_version(found[2])
    except InputError:
        return None


def _ascend(constraints: Sequence[Constraint]) -> bool:
    return all(before < after and not _equal(before, after) for (_, before), (_, after) in pairwise(constraints))


def _alternate(constraints: Sequence[Constraint]) -> bool:
    """Whether of the bounds none is followed by another of its kind."""
    kinds = [comparator in _UPPER for comparator, _ in constraints if comparator in _HOLDS]
    return all(before is not after for before, after in pairwise(kinds))


def _intervals(constraints: Sequence[Constraint]) -> Iterator[tuple[Constraint | None, Constraint | None]]:
    """Lower and upper bound of each; None where there is none."""
    lower = None
    for constraint in constraints:
        if constraint[0] in _UPPER:
            yield lower, constraint
            lower = None
        elif constraint[0] in _LOWER:
            lower = constraint
    if lower is not None:
        yield lower, None


def _holds(constraint: Constraint | None, version: Numbers) -> bool:
    return constraint is None or _HOLDS[constraint[0]](version, constraint[1])


def _equal(one: Numbers, other: Numbers) -> bool:
    """Whether they are one version to whoever counts missing numbers as zero."""
    return all(a == b for a, b in zip_longest(one, other, fillvalue=0))
