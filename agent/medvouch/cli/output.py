"""What the commands print: text for people, JSON with `--json`, one line for an error."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from medvouch.errors import MedvouchError, StorageFault
from medvouch.formats.text import escaped


def show(document: Mapping[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """Print one result. Control characters in `lines` are escaped: what a file says never steers a terminal."""
    _print(json.dumps(document, indent=2) if as_json else "\n".join(escaped(line).rstrip() for line in lines))


def fail(error: MedvouchError, *, as_json: bool, program: str = "medvouch") -> int:
    """Print one error, as one line on stderr or as JSON on stdout; the exit code."""
    if as_json:
        fields = {"code": error.code, "detail": error.detail, "place": error.place, "remedy": error.remedy}
        _print(json.dumps({"error": fields}, indent=2))
    else:
        print(f"{program}: {one_line(error)}", file=sys.stderr)
    return error.exit_code


def one_line(error: MedvouchError) -> str:
    """An error as one printable line."""
    return escaped(" ".join(str(error).split()))


def accept_any_text() -> None:
    """What the locale of stdout and stderr cannot say is escaped, never an exception."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class LineFormatter(logging.Formatter):
    """Log records as printable lines, whatever the outside world put into them."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in logging
        """One line."""
        return escaped(super().formatMessage(record))


def log_to_stderr(*, verbose: bool) -> None:
    """Log there what goes wrong, or, verbose, all that happens; under systemd that is the journal."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("medvouch: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])


def aligned(rows: Mapping[str, object]) -> list[str]:
    """`name  value` lines, names padded to one width, yes or no for a bool; None and empty text are left out."""
    shown = {name: value for name, value in rows.items() if value is not None and value != ""}
    width = max((len(name) for name in shown), default=0)
    return [f"{name:<{width}}  {_said(value)}" for name, value in shown.items()]


def _said(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table for people, each column as wide as it needs."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested maps and lists as one map from path to value: `a.b`, `a[0]`."""
    rows: dict[str, object] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            rows |= flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            rows |= flatten({f"{name}[{index}]": item for index, item in enumerate(value)}, prefix)
        else:
            rows[f"{prefix}{name}"] = value
    return rows


def moment(seconds: int) -> str:
    """Seconds since 1970 as a time (UTC), or as the number where that is in no calendar."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return str(seconds)


def _print(text: str) -> None:
    """To stdout, all of it; a reader that left early (`| head`) is no fault."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _discard_the_rest()
    except OSError as error:
        _discard_the_rest()
        remedy = "free space there, or send the output elsewhere"
        raise StorageFault("output-not-written", f"standard output: {error.strerror}", remedy=remedy) from error


def _discard_the_rest() -> None:
    """Python flushes again when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
