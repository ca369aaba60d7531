"""What a release may make of the product's data, without taking the way back."""

from __future__ import annotations

import pytest

from medvouch.errors import InputError
from medvouch.formats.data_format import DataFormat, DataState
from medvouch.update import refusals
from medvouch.update.data_formats import DATA, begun, check_data, contracted, contracting, declared
from support.refusing import assert_refused

DELIVERED, SILENT = DataState(), DataFormat()
FIRST = DataFormat(writes=1, reads=0, readable_by=0)
SECOND = DataFormat(writes=2, reads=1, readable_by=1)
THIRD = DataFormat(writes=3, reads=2, readable_by=3)


def test_what_a_release_declares() -> None:
    assert declared({}) == SILENT
    assert declared({DATA: SECOND.encode(), "reference": b""}) == SECOND
    with pytest.raises(InputError, match="cbor-"):
        declared({DATA: b""})


@pytest.mark.parametrize(
    ("new", "running", "there"),
    [
        (SILENT, SILENT, DELIVERED),
        (FIRST, SILENT, DELIVERED),
        (FIRST, FIRST, DataState(0, 0)),
        (SECOND, FIRST, DataState(1, 1)),
        (SECOND, FIRST, DataState(1, 0)),
        (FIRST, SECOND, DataState(1, 1)),
        (THIRD, THIRD, DataState(2, 3)),
    ],
)
def test_one_step_and_back(new: DataFormat, running: DataFormat, there: DataState) -> None:
    check_data(new, running, there)


@pytest.mark.parametrize(
    ("new", "there"),
    [
        (SECOND, DataState(0, 0)),  # of the format that it was delivered with there is still some
        (FIRST, DataState(2, 2)),  # what it would have read was taken away
        (FIRST, DataState(1, 2)),  # half of it, perhaps
        (SILENT, DataState(1, 1)),  # it says nothing, and there is something
    ],
)
def test_data_that_a_release_cannot_read(new: DataFormat, there: DataState) -> None:
    running = DataFormat(writes=9, reads=0, readable_by=0)
    assert assert_refused(refusals.DATA_UNREADABLE, check_data, new, running, there).place == DATA


@pytest.mark.parametrize(
    ("new", "running"),
    [
        (THIRD, SECOND),  # its format is too new for the one before
        (SECOND, SILENT),
        (DataFormat(1, 0, 0), THIRD),  # its format is too old for the one before
    ],
)
def test_what_the_running_release_could_not_read_back(new: DataFormat, running: DataFormat) -> None:
    there = DataState(2 if new is THIRD else 1, 1)
    assert assert_refused(refusals.DATA_NOT_READABLE_BACK, check_data, new, running, there).place == DATA


def test_from_the_start_to_the_end_of_a_migration() -> None:
    there = begun(DataState(1, 1, "expand 1"), SECOND)
    assert there == DataState(1, 1, "expand 1")
    assert contracting(there, SECOND) == DataState(1, 2, "expand 1")
    assert contracted(SECOND) == DataState(2, 2)
    assert str(contracted(SECOND)) == "holds 2, needs 2"


def test_a_release_that_goes_back_writes_the_old_format_again() -> None:
    assert begun(DataState(1, 1), DataFormat(0, 0, 0)) == DataState(0, 1)
    assert begun(DataState(2, 1), DataFormat(2, 1, 2)) == DataState(2, 2)
