"""How far a fleet has come: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PLAIN_STEPS = 10
"""Plain lines of a stage."""


class Stage:
    """Something that is done `total` times."""

    def __init__(self, name: str, total: int) -> None:
        self.name = name
        self.total = total
        self.done = self.failed = 0

    def step(self, *, failed: bool = False) -> None:
        """Once more, well or not."""
        self.done += 1
        self.failed += failed

    @property
    def failures(self) -> str:
        """What to say of them."""
        return f", {self.failed} failed" if self.failed else ""


class _LiveStage(Stage):
    def __init__(self, name: str, total: int, bars: Progress) -> None:
        super().__init__(name, total)
        self._bars = bars
        self._bar: TaskID = bars.add_task(name, total=total, failures="")

    def step(self, *, failed: bool = False) -> None:
        super().step(failed=failed)
        self._bars.update(self._bar, completed=self.done, failures=self.failures)


class _PlainStage(Stage):
    def __init__(self, name: str, total: int, console: Console) -> None:
        super().__init__(name, total)
        self._console = console
        self._started = time.monotonic()

    def step(self, *, failed: bool = False) -> None:
        super().step(failed=failed)
        if self.done * PLAIN_STEPS // self.total > (self.done - 1) * PLAIN_STEPS // self.total:
            elapsed = time.monotonic() - self._started
            line = f"  {self.name} {self.done}/{self.total}{self.failures}, {elapsed:.1f} s"
            self._console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def stage(console: Console, name: str, total: int) -> Iterator[Stage]:
    """Shown while it is under way."""
    if not console.is_terminal:
        yield _PlainStage(name, total, console)
        return
    text = TextColumn("  {task.description:<10}"), BarColumn(), MofNCompleteColumn()
    with Progress(*text, TextColumn("{task.fields[failures]}"), TimeElapsedColumn(), console=console) as bars:
        yield _LiveStage(name, total, bars)
