"""An authored repository on the disk, and who may sign in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.adapters.metadata import FileMetadataStore
from medvouch.release.tuf_signing import RepositoryKeys
from medvouch_sim.publisher import repository_keys


@pytest.fixture
def keys() -> RepositoryKeys:
    return repository_keys()


@pytest.fixture
def files(tmp_path: Path) -> FileMetadataStore:
    return FileMetadataStore(tmp_path / "repository")
