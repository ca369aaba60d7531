"""One short life on a real TPM, and another gateway's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from medvouch.formats.ledger import Bundle
from support.enrolling import ORDER, World, world
from support.lives import Life, life


@pytest.fixture(scope="package")
def everybody() -> World:
    return world()


@pytest.fixture(scope="package")
def lived(everybody: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Enrolled, commissioned and judged; nobody writes to its store afterwards."""
    with life(everybody, tmp_path_factory.mktemp("life")) as made:
        made.live()
        yield made


@pytest.fixture(scope="package")
def bundle(lived: Life) -> Bundle:
    """All of that life, with a receipt."""
    return lived.bundle()


@pytest.fixture(scope="package")
def other(everybody: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """The life of another gateway at the same site."""
    with life(everybody, tmp_path_factory.mktemp("other"), replace(ORDER, serial="SN-0002")) as made:
        made.live()
        yield made
