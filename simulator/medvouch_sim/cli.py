"""`medvouch-sim`: simulated gateways with real TPMs, on this machine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from medvouch.cli.output import fail
from medvouch.errors import MedvouchError
from medvouch_sim import __version__
from medvouch_sim.demo.run import run_demo

PLAIN_WIDTH = 132


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    try:
        code: int = options.run(options)
    except MedvouchError as error:
        return fail(error, as_json=False)
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="medvouch-sim",
        description="Simulated medical gateways with real software TPMs, under attack.",
        epilog="example:\n  medvouch-sim demo --out build/demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"medvouch-sim {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    demo = subparsers.add_parser(
        "demo",
        help="three gateways enrol, prove themselves over MQTT and catch attackers",
        description="Three gateways enrol, attest over MQTT and catch attackers; exit 1 if a verdict differs.",
        epilog="example:\n  medvouch-sim demo --out build/demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument("--out", type=Path, default=Path("build/demo"), metavar="DIR", help="where all files go")
    demo.set_defaults(run=lambda options: asyncio.run(run_demo(options.out.resolve(), _console())))
    return parser


def _console() -> Console:
    """As wide as the terminal, or wide enough for the table where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


if __name__ == "__main__":
    sys.exit(main())
