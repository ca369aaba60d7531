"""Whether the product's data outlives an update, and the way back from it: what a release reads against what is there.

A migration has two halves. Expanding adds what the new release needs, and takes nothing away that the old one reads; it
comes before the new slot is confirmed. Contracting takes away what only the old release needed; it comes after an
appraiser has closed the update, since until then the device may fall back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from medvouch.errors import Refusal
from medvouch.formats.data_format import DataFormat, DataState
from medvouch.update import refusals

DATA = "data"
"""The component that says in which format a release keeps the product's data."""


def declared(contents: Mapping[str, bytes]) -> DataFormat:
    """What a release says of its data, by the contents that came along. Raises InputError `data-format-*`, `cbor-*`."""
    data = contents.get(DATA)
    return DataFormat() if data is None else DataFormat.parse(data)


def check_data(new: DataFormat, running: DataFormat, there: DataState) -> None:
    """Whether a release may be installed beside the one that is running, on a device with such data.

    1. It reads the oldest that is there, and all of the newest: `data-unreadable`;
    2. the running release reads what it will write, should it not be confirmed: `data-not-readable-back`.
    """
    if new.reads > there.holds or new.writes < there.needs:  # 1
        detail = f"it reads formats {new.reads} to {new.writes}, the data {there}"
        raise Refusal(refusals.DATA_UNREADABLE, detail, place=DATA)
    if running.writes < new.readable_by or new.writes < running.reads:  # 2
        detail = (
            f"it writes format {new.writes}, readable by {new.readable_by} and later; "
            f"the running release reads {running.reads} to {running.writes}"
        )
        raise Refusal(refusals.DATA_NOT_READABLE_BACK, detail, place=DATA)


def begun(there: DataState, new: DataFormat) -> DataState:
    """Once a release has been started: from then on it may have written."""
    return replace(there, holds=min(there.holds, new.writes), needs=max(there.needs, new.readable_by))


def contracting(there: DataState, new: DataFormat) -> DataState:
    """Once what only older releases need is being taken away."""
    return replace(there, needs=new.writes)


def contracted(new: DataFormat) -> DataState:
    """Once that is done: there is one format."""
    return DataState(new.writes, new.writes)
