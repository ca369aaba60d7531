"""One way to say that a check must say no."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from medvouch.errors import InputError, Refusal, RefusalKind


def assert_refused(kind: RefusalKind, call: Callable[..., object], *args: Any, **kwargs: Any) -> Refusal:
    """`call` is refused with just this kind."""
    with pytest.raises(Refusal) as caught:
        call(*args, **kwargs)
    assert caught.value.kind == kind
    return caught.value


def assert_input_refused(code: str, call: Callable[..., object], *args: Any, **kwargs: Any) -> InputError:
    """`call` finds its input malformed, with just this code."""
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    assert caught.value.code == code
    return caught.value
