"""A life as a line in SVG: what happened stands on it in order, not to scale, with its name and time beneath."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medvouch.cli.page import text
from medvouch_sim.demo.lifeline import PASSING, TRIALS, Lifeline, Moment, Run, Sign, runs

LINE_Y, TITLE_Y, NAME_Y, TIME_Y, HEIGHT = 44, 18, 72, 89, 100
"""Pixels from the top: the line, names of groups above it, names and times beneath it."""
CHAR = 7.0
"""Pixels that a character of a name takes, generously."""
STEP, TICK, GAP, MARGIN = 28.0, 17.0, 10.0, 10.0
"""Pixels: for a mark without a name, for one attack or fault, between names, at both ends."""
MAX_NAME = 20

SHAPES = {
    Sign.LIFE: '<circle r="7" class="solid"/>',
    Sign.AFFIRMING: '<circle r="8" class="good hollow"/><path d="M-4 0l3 3.5 5-7" class="good stroke"/>',
    Sign.NOT_AFFIRMING: '<circle r="8" class="bad hollow"/><path d="M-3-3l6 6m0-6l-6 6" class="bad stroke"/>',
    Sign.REBOOTED: '<circle r="8" class="plain"/><path d="M5-3a6 6 0 1 0 1 4m-1-8v4h-4" class="stroke"/>',
    Sign.UPDATE: '<circle r="8" class="new hollow"/><path d="M0 4.5v-8m-3.5 3.5l3.5-4 3.5 4" class="new stroke"/>',
    Sign.FLOOR: '<path d="M-8 6.5h16l-8-14z" class="solid"/>',
    Sign.ATTACK: '<path d="M0-8l7 8-7 8-7-8z" class="trial solid"/>',
    Sign.FAULT: '<path d="M2-8l-7 9h5l-2 7 7-9h-5z" class="trial solid"/>',
    Sign.AMISS: '<path d="M-8-8h16v16h-16z" class="bad solid"/><path d="M0-5v6m0 2.5v2" class="inverse"/>',
    Sign.END: '<path d="M-7-7h14v14h-14z" class="solid"/>',
}
"""Each differs in shape, not in colour alone; around (0, 0), 8 pixels in each direction."""


@dataclass(frozen=True)
class _Mark:
    """A moment on the line, `count` times; `name` beneath it may be empty."""

    moment: Moment
    name: str
    width: float
    count: int = 1


@dataclass(frozen=True)
class _Group:
    """Marks side by side, with a title above where they have one."""

    title: str
    marks: tuple[_Mark, ...]

    @property
    def width(self) -> float:
        return max(sum(mark.width for mark in self.marks), len(self.title) * CHAR + GAP if self.title else 0)


def timeline(life: Lifeline, identifier: str) -> str:
    """The whole line; `identifier` is unique in the document."""
    groups = [_group(run) for run in runs(life)]
    width = round(sum(group.width for group in groups) + 2 * MARGIN)
    drawn = "".join(_drawn(groups))
    return (
        f'<svg class="life" role="img" aria-labelledby="{identifier}-title {identifier}-text" '
        f'style="--natural: {width}px" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}">'
        f'<title id="{identifier}-title">The life of {text(life.gateway)}</title>'
        f'<desc id="{identifier}-text">{text(told(life))}</desc>'
        f'<path d="M0 {LINE_Y}h{width}" class="line"/>{drawn}</svg>'
    )


def icon(sign: Sign) -> str:
    """A mark for the legend."""
    return f'<svg class="icon" aria-hidden="true" width="20" height="20" viewBox="-10 -10 20 20">{SHAPES[sign]}</svg>'


def told(life: Lifeline) -> str:
    """The same as a sentence."""
    return "; ".join(_told(run) for run in runs(life)) or "nothing was heard"


def _told(run: Run) -> str:
    first, last = run.moments[0], run.moments[-1]
    when = f"at {first.at_s:.1f} s" if first is last else f"from {first.at_s:.1f} to {last.at_s:.1f} s"
    if first.sign is Sign.UPDATE:
        states = " → ".join(_state(moment) for moment in run.moments)
        return f"update {first.label} {when}: {states}"
    if first.sign in TRIALS:
        return f"{_counted(run, ' caught', ' survived')} {when}"
    names = {
        Sign.FLOOR: f"floor raised to {first.label}",
        Sign.AMISS: f"NOT AS EXPECTED: {first.label} ({first.detail})",
    }
    name = names.get(first.sign, f"{first.label} ({first.detail})" if first.sign is Sign.NOT_AFFIRMING else first.label)
    times = f", {len(run.moments)} times" if len(run.moments) > 1 else ""
    return f"{name}{times} {when}"


def _state(moment: Moment) -> str:
    return moment.detail if moment.sign is Sign.UPDATE else moment.label


def _counted(run: Run, caught: str, survived: str) -> str:
    counts = ((Sign.ATTACK, "attack", caught), (Sign.FAULT, "fault", survived))
    found = [(run.count(sign), noun, ending) for sign, noun, ending in counts]
    return ", ".join(f"{count} {noun}{'s' * (count != 1)}{ending}" for count, noun, ending in found if count)


def _group(run: Run) -> _Group:
    first = run.first
    if first.sign in TRIALS:
        return _Group(_counted(run, "", ""), tuple(_Mark(moment, "", TICK) for moment in run.moments))
    if first.sign is Sign.UPDATE:
        return _Group(f"update {_short(first.label)}", tuple(_mark(moment) for moment in run.moments))
    if first.sign in PASSING:
        return _Group("", (_Mark(first, "", STEP, len(run.moments)),))
    return _Group("", tuple(_mark(moment) for moment in run.moments))


def _mark(moment: Moment) -> _Mark:
    if moment.sign in PASSING and moment.sign is not Sign.UPDATE:
        return _Mark(moment, "", STEP)
    name = _short(_state(moment).partition(":")[0].replace("_", "-"))
    return _Mark(moment, name, max(STEP, len(name) * CHAR + GAP))


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def _drawn(groups: Sequence[_Group]) -> Iterator[str]:
    x = MARGIN
    for group in groups:
        if group.title:
            middle = x + group.width / 2
            yield f'<path d="M{x + 4:.1f} {TITLE_Y + 8}v-3h{group.width - 8:.1f}v3" class="bracket"/>'
            yield f'<text x="{middle:.1f}" y="{TITLE_Y - 3}" class="name">{text(group.title)}</text>'
        at = x + (group.width - sum(mark.width for mark in group.marks)) / 2
        for mark in group.marks:
            yield _placed(mark, at + mark.width / 2)
            at += mark.width
        x += group.width


def _placed(mark: _Mark, x: float) -> str:
    moment = mark.moment
    beneath = ""
    if mark.name:
        beneath = f'<text y="{NAME_Y - LINE_Y}" class="name">{text(mark.name)}</text>'
        beneath += f'<text y="{TIME_Y - LINE_Y}" class="time">{moment.at_s:.1f} s</text>'
    elif mark.count > 1:
        beneath = f'<text y="{NAME_Y - LINE_Y}" class="time">×{mark.count}</text>'
    tip = f"<title>{text(_tip(moment))}</title>"
    return f'<g transform="translate({x:.1f} {LINE_Y})">{tip}{SHAPES[moment.sign]}{beneath}</g>'


def _tip(moment: Moment) -> str:
    number = f"#{moment.row} " if moment.row else ""
    detail = f": {moment.detail}" if moment.detail else ""
    return f"{moment.at_s:.1f} s, {moment.sign.meaning}: {number}{moment.label}{detail}"
