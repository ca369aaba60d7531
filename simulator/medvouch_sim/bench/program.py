"""`make bench`: what attesting, verifying, running the agent, updates and a fleet cost, next to the least they could.

A ratio is of two times taken in turn in one run, so it holds on any machine; where a limit is absolute there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from medvouch.adapters.files import write_durably
from medvouch.cli.output import fail
from medvouch.errors import MedvouchError
from medvouch_sim.bench import fleet, gateway, keylime, logs, updates
from medvouch_sim.bench.figures import ABRIDGED, FLEET, KEYLIME, NAMES, ONE_GATEWAY, OTA, QUICK, Effort, Figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the file, print the table; the exit code."""
    options = _parser().parse_args(arguments)
    names = options.only or (ABRIDGED if options.quick else NAMES)
    progress = Console(stderr=True)
    effort = QUICK if options.quick else Effort()
    try:
        figures = _measure(names, effort, lambda line: progress.print(f"  {line} …", highlight=False))
    except MedvouchError as error:
        return fail(error, as_json=options.json)
    except KeyboardInterrupt:
        return 130
    text = json.dumps([asdict(figure) for figure in figures], indent=2)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_durably(options.out, text.encode() + b"\n")
    if options.json:
        print(text)
    else:
        Console().print(_table(figures))
    return 0


def _measure(names: Sequence[str], effort: Effort, say: Callable[[str], None]) -> list[Figure]:
    figures = asyncio.run(gateway.measure(names, effort, say)) if {*ONE_GATEWAY} & {*names} else []
    figures += logs.measure_logs(names, effort, say)
    figures += fleet.measure(names, effort, say) if {*FLEET} & {*names} else []
    figures += updates.measure(names, effort, say) if {*OTA} & {*names} else []
    return figures + (keylime.measure(effort, say) if KEYLIME in names else [])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m medvouch_sim.bench",
        description="Measure agent and verifier against the least they could cost, medians of several runs.",
        epilog="example:\n  python -m medvouch_sim.bench --only verify.evidence --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="few repetitions: whether it works, not how fast")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), metavar="FILE", help="figures as JSON")
    return parser


def _table(figures: Sequence[Figure]) -> Table:
    table = Table("figure", "value", "ratio", "least", "reference")
    for figure in figures:
        least = "" if figure.reference_value is None else f"{figure.reference_value:g} {figure.unit}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        table.add_row(figure.name, f"{figure.value:g} {figure.unit}", ratio, least, figure.reference or "")
    return table
