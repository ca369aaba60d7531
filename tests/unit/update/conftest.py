"""A repository for each test."""

from __future__ import annotations

import pytest

from support.tufs import Tuf


@pytest.fixture
def tuf() -> Tuf:
    return Tuf()
