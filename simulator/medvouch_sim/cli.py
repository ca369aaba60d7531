"""`medvouch-sim`: simulated gateways with real TPMs, on this machine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from medvouch.cli.output import fail, show
from medvouch.cli.parsing import EXIT_CODES, Parser
from medvouch.errors import MedvouchError
from medvouch_sim import __version__
from medvouch_sim.demo.run import run_demo
from medvouch_sim.fleet.run import Order, run_fleet

if TYPE_CHECKING:
    _Subparsers = argparse._SubParsersAction[Parser]

EXAMPLES = """\
examples:
  medvouch-sim demo --out build/demo
  medvouch-sim fleet --devices 200 --json
"""
PLAIN_WIDTH = 132
OUT = "where all files go; what an earlier run left there is removed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    try:
        options = _parser().parse_args(given)
        code: int = options.run(options)
    except MedvouchError as error:
        return fail(error, as_json="--json" in given, program="medvouch-sim")
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="medvouch-sim",
        description="Simulated medical gateways with real software TPMs, under attack.",
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"medvouch-sim {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    demo = subparsers.add_parser(
        "demo",
        help="three gateways enrol, prove themselves over MQTT, are updated and catch attackers",
        description="Three gateways enrol, attest, are updated and catch attackers; exit 1 if a verdict differs.",
        epilog="example:\n  medvouch-sim demo --out build/demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument(
        "--out", type=Path, default=Path("build/demo"), metavar="DIR", help=f"{OUT} (default: build/demo)"
    )
    demo.set_defaults(run=lambda options: asyncio.run(run_demo(options.out.resolve(), _console())))
    _add_fleet(subparsers)
    return parser


def _add_fleet(subparsers: _Subparsers) -> None:
    fleet = subparsers.add_parser(
        "fleet",
        help="many gateways boot, enrol and prove themselves at once",
        description="Boot, enrol and attest many gateways, a real software TPM each; exit 1 if one is not affirming.",
        epilog="example:\n  medvouch-sim fleet --devices 200 --processes 2 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fleet.add_argument("--devices", type=_positive, default=50, metavar="N", help="how many (default: 50)")
    fleet.add_argument(
        "--processes", type=_positive, default=os.cpu_count(), metavar="P", help="that run them (default: one a core)"
    )
    fleet.add_argument(
        "--rogues", type=_count, default=0, metavar="N", help="that many of them have a TPM whose vendor nobody trusts"
    )
    fleet.add_argument(
        "--out", type=Path, default=Path("build/fleet"), metavar="DIR", help=f"{OUT} (default: build/fleet)"
    )
    fleet.add_argument("--json", action="store_true", help="print the summary as JSON")
    fleet.set_defaults(run=_fleet)


def _fleet(options: argparse.Namespace) -> int:
    devices = options.devices
    order = Order(devices, min(options.processes, devices), options.out.resolve(), min(options.rogues, devices))
    report = run_fleet(order, Console(stderr=True))
    show(report.document(), report.lines(), as_json=options.json)
    return 0 if report.passed else 1


def _positive(text: str) -> int:
    return _whole(text, least=1)


def _count(text: str) -> int:
    return _whole(text, least=0)


def _whole(text: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def _console() -> Console:
    """As wide as the terminal, or wide enough for the table where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


if __name__ == "__main__":
    sys.exit(main())
