"""`report.html`: the demo in one file that needs no other, for whoever was not there; what is quoted is escaped."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import medvouch
from medvouch.cli.output import moment
from medvouch.cli.page import page as whole
from medvouch.cli.page import section, table, text
from medvouch_sim.demo.lifeline import Lifeline, Sign, runs
from medvouch_sim.demo.report_files import files
from medvouch_sim.demo.report_svg import icon, timeline, told
from medvouch_sim.demo.verdicts import Verdict

NAME = "report.html"
NOT_SAID = "not said"
NUMBERS = dict.fromkeys(("#", "when"), "number")


@dataclass(frozen=True)
class Report:
    """What the report tells: `made_at` in seconds since 1970, `versions` by program."""

    lives: Sequence[Lifeline]
    verdicts: Sequence[Verdict]
    seconds: float
    made_at: int
    versions: Mapping[str, str]


def write_report(folder: Path, report: Report) -> Path:
    """Write it to `folder`, where it links to what lies beside it; its path."""
    path = folder / NAME
    path.write_text(page(report, folder), encoding="utf-8")
    return path


def installed_versions() -> dict[str, str]:
    """Of medvouch and of the real parts; `unknown` where a program does not say."""
    programs = {"swtpm": ["swtpm", "--version"], "mosquitto": ["mosquitto", "-h"]}
    return {"medvouch": medvouch.__version__} | {name: _version(command) for name, command in programs.items()}


def _version(command: Sequence[str]) -> str:
    environment = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(r"version (\d[\w.~-]*)", said)
    return found[1] if found else "unknown"


def page(report: Report, folder: Path) -> str:
    """The whole document."""
    parts = [_head(report), _lives(report.lives), *_tables(report.verdicts), _gateways(report.lives), files(folder)]
    return whole(f"medvouch: the demo, {moment(report.made_at)}", parts)


def _head(report: Report) -> str:
    rows = len(report.verdicts)
    good = sum(verdict.as_expected for verdict in report.verdicts)
    counts = {kind: sum(verdict.kind == kind for verdict in report.verdicts) for kind in ("step", "attack", "fault")}
    mark, state = ("✓", "") if good == rows else ("✗", " bad")
    counted = ", ".join(f"{count} {kind}{'s' * (count != 1)}" for kind, count in counts.items() if count)
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return (
        "<header>\n<h1>medvouch: the lives of simulated gateways, under attack</h1>\n"
        f'<p class="summary{state}">{mark} {good} of {rows} as expected, in {report.seconds:.1f} s</p>\n'
        f"<dl><dt>Played</dt><dd>{text(moment(report.made_at))}</dd>"
        f"<dt>Rows</dt><dd>{counted or 'none'}</dd>"
        f"<dt>Versions</dt><dd>{text(versions)}</dd></dl>\n"
        "<p>Each gateway has a software TPM of its own and speaks over a real broker. Attacks act on bytes, TPM "
        "commands, disks or sockets; each has to be refused with a code of its own.</p>\n</header>"
    )


def _lives(lives: Sequence[Lifeline]) -> str:
    used = {each.sign for life in lives for run in runs(life) for each in run.moments}
    legend = "".join(f"<li>{icon(sign)} {text(sign.meaning)}</li>" for sign in Sign if sign in used)
    drawn = "\n".join(_life(number, life) for number, life in enumerate(lives, 1))
    return (
        '<section aria-labelledby="lives">\n<h2 id="lives">The life of each gateway</h2>\n'
        "<p>From left to right in the order in which it happened, not to scale. What an attack or a fault brings about "
        "in passing is part of it.</p>\n"
        f'<ul class="legend">{legend}</ul>\n{drawn}\n</section>'
    )


def _life(number: int, life: Lifeline) -> str:
    return (
        f'<div class="gateway">\n<h3 id="life-{number}">{text(life.gateway)}</h3>\n'
        f'<div class="wide" tabindex="0" role="group" aria-labelledby="life-{number}">'
        f'{timeline(life, f"line-{number}")}</div>\n<p class="soft told">{text(told(life))}.</p>\n</div>'
    )


def _tables(verdicts: Sequence[Verdict]) -> list[str]:
    rows = list(enumerate(verdicts, 1))
    steps = [(number, row) for number, row in rows if row.kind == "step"]
    trials = [(number, row) for number, row in rows if row.kind != "step"]
    return [
        _section(
            "steps", "All steps", ("#", "when", "gateway", "step", "expected", "seen"), map(_step, steps), stacks=True
        ),
        _section(
            "attacks",
            "All attacks and faults",
            ("#", "when", "gateway", "kind", "what was done", "expected code", "seen", "what it was"),
            map(_trial, trials),
            stacks=True,
        ),
    ]


def _section(identifier: str, title: str, headings: Iterable[str], rows: Iterable[str], *, stacks: bool = False) -> str:
    columns = ((heading, NUMBERS.get(heading, "")) for heading in headings)
    return section(identifier, title, table(identifier, columns, rows, stacks=stacks))


def _step(numbered: tuple[int, Verdict]) -> str:
    number, row = numbered
    detail = f'<br><span class="soft">{text(row.detail)}</span>' if row.detail else ""
    cells = (
        f'<th scope="row">{text(row.step)}</th><td class="seen" data-label="expected">{text(row.expected)}</td>'
        f'<td class="seen">{_seen(row)}{detail}</td>'
    )
    return f"{_row(number, row)}{cells}</tr>"


def _trial(numbered: tuple[int, Verdict]) -> str:
    number, row = numbered
    cells = (
        f'<td>{text(row.kind)}</td><th scope="row">{text(row.step)}</th>'
        f'<td class="code seen" data-label="expected">{text(row.expected)}</td><td class="code seen">{_seen(row)}</td>'
        f'<td class="code detail">{text(row.detail)}</td>'
    )
    return f"{_row(number, row)}{cells}</tr>"


def _row(number: int, row: Verdict) -> str:
    wrong = "" if row.as_expected else ' class="wrong"'
    when = f'<td class="number">{number}</td><td class="number">{row.at_s:.1f} s</td>'
    return f'<tr{wrong} id="row-{number}">{when}<td>{text(row.gateway)}</td>'


def _seen(row: Verdict) -> str:
    mark, judged, style = ("✓", "as expected", "good") if row.as_expected else ("✗", "not as expected", "bad")
    return f'<span class="{style}">{mark} <span class="spoken">{judged}: </span>{text(row.actual)}</span>'


def _gateways(lives: Sequence[Lifeline]) -> str:
    headings = ("gateway", "device id", "model, serial", "owner", "life", "last verdict", "release", "security epoch")
    return _section("gateways", "Where each gateway stands at the end", headings, map(_standing, lives))


def _standing(life: Lifeline) -> str:
    facts = life.facts
    hardware = ", ".join(filter(None, (facts.model, facts.serial)))
    epochs = {"release": facts.epoch, "floor in the TPM": facts.floor}
    epoch = ", ".join(f"{name} {value}" for name, value in epochs.items() if value)
    said = (hardware, facts.owner, facts.life, facts.verdict, facts.version, epoch)
    cells = "".join(f"<td>{text(value or NOT_SAID)}</td>" for value in said)
    return f'<tr><th scope="row">{text(life.gateway)}</th><td class="code">{text(life.device)}</td>{cells}</tr>'
