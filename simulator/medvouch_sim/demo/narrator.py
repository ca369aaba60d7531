"""Tells the demo as it happens: a line a step on the terminal, and the table at the end."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from medvouch_sim.demo.verdicts import Verdict

DETAIL_WIDTH = 160
"""Characters of a refusal's detail on the terminal; `verdicts.json` has all of it."""


class Narrator:
    """Prints progress to `console`; a spinner runs where it is a terminal."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self.started_s = time.monotonic()
        self.verdicts: list[Verdict] = []

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._console.print(f"\n[bold]{title}[/bold]")

    def say(self, text: str) -> None:
        """A line of explanation, to be copied as it is however narrow the terminal."""
        self._console.print(f"  {text}", style="dim", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def doing(self, text: str) -> Iterator[None]:
        """Show that something is under way."""
        with self._console.status(f"{text} …"):
            yield

    def record(self, verdict: Verdict) -> None:
        """Keep and print one row."""
        elapsed = self.elapsed_s
        self.verdicts.append(replace(verdict, at_s=round(elapsed, 3)))
        mark = "[green]✓[/green]" if verdict.as_expected else "[bold red]✗[/bold red]"
        counter = f"{len(self.verdicts):{len(str(self._total))}}/{self._total}"
        seen = verdict.actual if verdict.as_expected else f"{verdict.actual}, expected {verdict.expected}"
        line = f"  {mark} {counter} {elapsed:5.1f} s  {verdict.gateway:<12} {verdict.step:<45} {seen}"
        self._console.print(line, highlight=False, soft_wrap=True)
        if verdict.detail:
            told = textwrap.shorten(verdict.detail, DETAIL_WIDTH, placeholder=" …")
            self._console.print(f"{'':23}{told}", style="dim", highlight=False, soft_wrap=True)

    def table(self) -> None:
        """Print all rows as one table."""
        self._console.print(verdict_table(self.verdicts))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self.started_s


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """All rows, gateway by gateway as they happened."""
    table = Table(title="What was expected, and what was seen", title_justify="left")
    for heading in ("", "gateway", "step", "expected", "actual"):
        table.add_column(heading, overflow="fold")
    for verdict in verdicts:
        mark = "✓" if verdict.as_expected else "✗"
        table.add_row(mark, verdict.gateway, verdict.step, verdict.expected, verdict.actual)
    return table
