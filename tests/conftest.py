"""Fixtures that every layer of the tests shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("medvouch", deadline=None)  # what a busy machine takes says nothing of the code
settings.load_profile("medvouch")


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of public test vectors; absent is a skip, or a failure under MEDVOUCH_REQUIRE_VECTORS=1."""
    default = Path(__file__).resolve().parents[2] / "shared" / "vectors"
    folder = Path(os.environ.get("MEDVOUCH_VECTORS", default))
    if not folder.is_dir():
        reason = f"no test vectors in {folder} (set MEDVOUCH_VECTORS)"
        if os.environ.get("MEDVOUCH_REQUIRE_VECTORS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
