"""The roots of the exception tree; whose fault it is decides the class.

- `InputError`: bytes or text from outside are malformed.
- `Refusal`: well-formed, and a check says no. One refusal, one stable code.
- `EnvironmentFault`: the TPM, the network, the disk, the configuration or the call is at fault.
- anything else that escapes is our bug.

Every error says what happened, where (`place`: PCR, event, offset, component) and what to do next (`remedy`); what is
too long is cut, since strangers' bytes are quoted there, and it all ends up in logs, events and results.
Exit codes are the one table of the command line: 0 fine, 1 negative verdict, 2 usage, 3 configuration, 4 TPM,
5 network, 6 storage, 7 missing part of the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

MAX_DETAIL, MAX_PLACE = 1024, 256
"""Characters."""


class MedvouchError(Exception):
    """Root of all errors that medvouch raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, detail: str, *, place: str = "", remedy: str = "") -> None:
        super().__init__(code, detail := _cut(detail, MAX_DETAIL))
        self.code = code
        self.detail = detail
        self.place = _cut(place, MAX_PLACE)
        self.remedy = remedy

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        then = f"; {self.remedy}" if self.remedy else ""
        return f"{self.code}: {self.detail}{where}{then}"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


class InputError(MedvouchError):
    """Malformed input. Codes are `FORMAT-truncated`, `-trailing`, `-limit` and `-malformed`."""


class RefusalKind(NamedTuple):
    """One row of a core's `refusals.py`."""

    code: str
    meaning: str
    remedy: str


class Refusal(MedvouchError):
    """A check said no."""

    def __init__(self, kind: RefusalKind, detail: str, *, place: str = "") -> None:
        super().__init__(kind.code, detail, place=place, remedy=kind.remedy)
        self.kind = kind


def refusal_table(namespace: Mapping[str, Any]) -> dict[str, RefusalKind]:
    """The rows of a `refusals.py`, by code; two rows of one code are a bug."""
    rows = [value for value in namespace.values() if isinstance(value, RefusalKind)]
    table = {row.code: row for row in rows}
    if len(table) != len(rows):
        raise AssertionError("two refusals share a code")
    return table


class EnvironmentFault(MedvouchError):
    """What medvouch stands on does not work."""


class UsageFault(EnvironmentFault):
    """The command line was wrong."""

    exit_code = 2


class ConfigFault(EnvironmentFault):
    """The configuration file is wrong."""

    exit_code = 3


class TpmFault(EnvironmentFault):
    """The TPM is missing or refused a command."""

    exit_code = 4


class NetworkFault(EnvironmentFault):
    """The broker cannot be reached, or is not who it should be."""

    exit_code = 5


class StorageFault(EnvironmentFault):
    """The disk is full, a file is unreadable or the state database is corrupt."""

    exit_code = 6


class MissingPart(EnvironmentFault):
    """A program or library that this command needs is not installed."""

    exit_code = 7
