"""What does not work right now, component by component; anything listed here makes the agent `degraded`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from medvouch.errors import MedvouchError


@dataclass(frozen=True)
class Problem:
    """One fault: its stable code, one line of what, one of what to do, and the exit code that fits it."""

    component: str
    code: str
    detail: str
    remedy: str
    exit_code: int


class Health:
    """The current problems, at most one a component; `changed` is set whenever they change."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}
        self.changed = asyncio.Event()

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._problems.values())

    @property
    def state(self) -> str:
        """`ok` or `degraded`."""
        return "degraded" if self._problems else "ok"

    def report(self, component: str, error: MedvouchError) -> bool:
        """Note a fault; whether it is news."""
        problem = Problem(component, error.code, error.detail, error.remedy, error.exit_code)
        if self._problems.get(component) == problem:
            return False
        self._problems[component] = problem
        self.changed.set()
        return True

    def clear(self, component: str) -> None:
        """The component works again."""
        if self._problems.pop(component, None) is not None:
            self.changed.set()
