"""Every proper prefix of a well-formed structure must be refused, and only with InputError."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from medvouch.errors import InputError


def assert_every_truncation_refused(parse: Callable[[bytes], object], data: bytes) -> None:
    """`parse` accepts `data` and refuses each of its proper prefixes."""
    parse(data)
    for size in range(len(data)):
        with pytest.raises(InputError):
            parse(data[:size])
