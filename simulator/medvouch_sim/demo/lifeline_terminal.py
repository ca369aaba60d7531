"""Lives of gateways on the terminal: one line each, as wordy as fits, and a legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.columns import Columns
from rich.console import Console
from rich.text import Text

from medvouch.formats.text import escaped
from medvouch_sim.demo.lifeline import TRIALS, Lifeline, Run, Sign, runs

STYLES = {
    Sign.LIFE: "bold cyan",
    Sign.AFFIRMING: "green",
    Sign.NOT_AFFIRMING: "red",
    Sign.REBOOTED: "dim",
    Sign.UPDATE: "bold blue",
    Sign.FLOOR: "bold magenta",
    Sign.ATTACK: "yellow",
    Sign.FAULT: "yellow",
    Sign.AMISS: "bold white on red",
    Sign.END: "bold cyan",
}
TELLING = frozenset({Sign.LIFE, Sign.END, Sign.FLOOR, Sign.AMISS})
"""Signs whose label says more than their mark."""


def show_lives(console: Console, lives: Sequence[Lifeline]) -> None:
    """One line a gateway, none longer than the console is wide, then what the marks mean."""
    margin = max((len(life.gateway) for life in lives), default=0)
    console.print("\n[bold]The life of each gateway[/bold]")
    for life in lives:
        console.print(line(life, console.width, margin), no_wrap=True, overflow="ellipsis", crop=True)
    console.print(legend(lives))


def line(life: Lifeline, width: int, margin: int = 0) -> Text:
    """The wordiest line that is at most `width` cells wide; the tersest where none is."""
    tellings: tuple[Callable[[Run], str], ...] = (_wordy, _stages, _brief, _marks)
    for tell in tellings:
        text = Text(f"  {escaped(life.gateway):<{margin}}")
        for run in runs(life):
            text.append(" ").append(tell(run), STYLES[run.first.sign])
        if text.cell_len <= width:
            break
    return text


def legend(lives: Sequence[Lifeline]) -> Columns:
    """The marks that these lives use."""
    used = {moment.sign for life in lives for run in runs(life) for moment in run.moments}
    return Columns([Text(f"  {sign.mark} {sign.meaning}", "dim") for sign in Sign if sign in used])


def _wordy(run: Run) -> str:
    """`⇧1.1.0(notified→closed)`, `●enrolled`, `⚔×12 ↯×3`, `✓×2`."""
    first, last = run.moments[0], run.moments[-1]
    if first.sign is Sign.UPDATE:
        states = first.detail if first is last else f"{first.detail}→{last.detail}"
        return escaped(f"{first.sign.mark}{first.label}({states})")
    if first.sign in TELLING:
        return escaped(f"{first.sign.mark}{first.label}")
    return _marks(run)


def _stages(run: Run) -> str:
    """Without the states of updates."""
    return _brief(run) if run.first.sign is Sign.UPDATE else _wordy(run)


def _brief(run: Run) -> str:
    """Without stages either, but where something went amiss."""
    if run.first.sign is Sign.UPDATE:
        return escaped(f"{run.first.sign.mark}{run.first.label}")
    return _wordy(run) if run.first.sign is Sign.AMISS else _marks(run)


def _marks(run: Run) -> str:
    """Each mark, and how often; an update is one, however many states it went through."""
    if run.first.sign is Sign.UPDATE:
        return run.first.sign.mark
    signs = [sign for sign in Sign if run.count(sign)]
    counts = {sign: run.count(sign) for sign in signs}
    always = TRIALS & set(signs)
    return " ".join(sign.mark + (f"×{counts[sign]}" if counts[sign] > 1 or sign in always else "") for sign in signs)
