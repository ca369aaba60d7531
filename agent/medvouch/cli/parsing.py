"""What the parsers of all commands share: their form, wrong command lines as errors, files as arguments."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from medvouch.errors import MissingPart, UsageFault
from medvouch.formats.directive import MAX_TARGET_NAME

EXIT_CODES = """\
exit codes:
  0 fine   1 negative verdict   2 usage   3 configuration   4 TPM   5 network   6 storage   7 missing part
"""

LAST_YEAR = 9998
"""Of judging: certificates without expiry end in 9999."""
MAX_DAYS = 3650

Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line as any other error."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageFault."""
        raise UsageFault("usage", message, remedy=f"see `{self.prog} --help`")


if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[Parser]


def command(
    subparsers: Subparsers, name: str, run: Run, summary: str, *examples: str, below: bool = False
) -> argparse.ArgumentParser:
    """A command with `--json` and at least one example; `run` is called with its options.

    `below`: it stands below one that can do without it, and leaves alone what was said there.
    """
    shown = "".join(f"  {example}\n" for example in examples)
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n{shown}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    default = argparse.SUPPRESS if below else False
    parser.add_argument("--json", action="store_true", default=default, help="print JSON, errors too")
    parser.set_defaults(run=run)
    return parser


@contextmanager
def part(extra: str) -> Iterator[None]:
    """Around the import of what not every installation has; MissingPart `part-missing` where it is not there."""
    try:
        yield
    except ImportError as error:
        remedy = f"install what this needs: `pip install 'medvouch[{extra}]'`"
        raise MissingPart("part-missing", str(error), remedy=remedy) from error


def existing_file(text: str) -> Path:
    """An argument that names a file."""
    path = _no_directory(text)
    try:
        path.lstat()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    return path


def existing_folder(text: str) -> Path:
    """An argument that names a directory."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {text}")
    return Path(text)


def out_file(text: str) -> Path:
    """An argument that names a file to be written."""
    path = _no_directory(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {path.parent}")
    if path.exists() and not path.is_file():  # it would be replaced, and /dev/null with it
        raise argparse.ArgumentTypeError(f"{text} is a device or a pipe, not a file")
    return path


def hex_bytes(text: str) -> bytes:
    """An argument in hexadecimal."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not hexadecimal") from None


def point_in_time(text: str) -> int:
    """An argument in ISO 8601, UTC where it says no zone; seconds since 1970."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 2026-11-23T18:00:00") from None
    if not 1970 <= moment.year <= LAST_YEAR:
        raise argparse.ArgumentTypeError(f"{text} is not between 1970 and {LAST_YEAR}")
    return int(moment.timestamp())


def target_name(text: str) -> str:
    """An argument that names a target of the repository."""
    return short_text(text, MAX_TARGET_NAME)


def short_text(text: str, limit: int) -> str:
    """Text of 1 to `limit` characters."""
    if not 0 < len(text) <= limit:
        raise argparse.ArgumentTypeError(f"1 to {limit} characters are wanted, not {len(text)}")
    return text


def day_count(text: str) -> int:
    """An argument that is a number of days."""
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:20]) <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a number from 1 to {MAX_DAYS}")
    return int(text)


def judged_at(options: argparse.Namespace) -> int:
    """`--at`, or now; seconds since 1970."""
    return options.at if options.at is not None else int(time.time())


def _no_directory(text: str) -> Path:
    try:
        if Path(text).is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a directory, not a file")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from None
    return Path(text)
