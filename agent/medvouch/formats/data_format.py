"""In which format a release keeps the product's data, which both slots share, and in which format data is on a device.

Formats are counted by the maker; 0 is the one that the device was delivered with. A release brings a DataFormat in its
envelope, as the component `data`; one that brings none counts as one of format 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

from medvouch.formats.record import Place, Record, Text, Uint

MAX_FORMAT = 2**32 - 1
MAX_STEP = 32


@dataclass(frozen=True)
class DataFormat(Record):
    """Of one release: it writes the format `writes`, and reads all from `reads` to that.

    Until it is closed it writes in such a way that releases of `readable_by` and later formats still read it.
    """

    FORMAT = "data-format"

    writes: Annotated[int, Uint(MAX_FORMAT)] = 0
    reads: Annotated[int, Uint(MAX_FORMAT)] = 0
    readable_by: Annotated[int, Uint(MAX_FORMAT)] = 0

    @classmethod
    def from_map(cls, value: Any, place: Place) -> Self:
        """Refuses a release that does not read what it writes itself."""
        record = super().from_map(value, place)
        for name in ("reads", "readable_by"):
            if getattr(record, name) > record.writes:
                raise (place / name).malformed(f"at most {record.writes}, which it writes,")
        return record


@dataclass(frozen=True)
class DataState(Record):
    """What is on a device: data of the format `holds` and later ones, which releases of the format `needs` still read.

    Until a migration is closed, `needs` may be lower than the newest format there; half a migration counts as one.
    `step` is what the ledger last said of it, empty where it never did.
    """

    FORMAT = "data-state"

    holds: Annotated[int, Uint(MAX_FORMAT)] = 0
    needs: Annotated[int, Uint(MAX_FORMAT)] = 0
    step: Annotated[str, Text(MAX_STEP, empty=True)] = ""

    def __str__(self) -> str:
        return f"holds {self.holds}, needs {self.needs}"
