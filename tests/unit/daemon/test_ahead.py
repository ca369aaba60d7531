from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from medvouch.daemon.ahead import DEPTH, ahead


class Broken(Exception):
    """As a source breaks."""


def numbers(count: int, made: list[int]) -> Iterator[bytes]:
    for number in range(count):
        made.append(number)
        yield b"%d" % number


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


@pytest.mark.parametrize("count", [0, 1, DEPTH, 10 * DEPTH])
def test_the_same_chunks(count: int) -> None:
    assert list(ahead(numbers(count, []))) == [b"%d" % number for number in range(count)]
    assert workers() == []


def test_some_are_made_before_they_are_asked_for_and_not_all() -> None:
    made: list[int] = []
    with closing(ahead(numbers(1000, made))) as chunks:
        next(chunks)
        deadline = time.monotonic() + 5
        while len(made) < DEPTH + 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert DEPTH + 1 <= len(made) <= DEPTH + 2


def test_what_is_raised_comes_after_what_was_made() -> None:
    def breaking() -> Iterator[bytes]:
        yield b"a"
        raise Broken

    chunks = ahead(breaking())
    assert next(chunks) == b"a"
    with pytest.raises(Broken):
        next(chunks)
    assert workers() == []


def test_who_has_enough_leaves_nothing_running() -> None:
    made: list[int] = []
    with closing(ahead(numbers(1 << 30, made))) as chunks:
        next(chunks)
    assert workers() == []
    count = len(made)
    time.sleep(0.05)
    assert len(made) == count
