"""An authored repository on the disk, and who may sign in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.adapters.metadata import FileMetadataStore
from medvouch.release.tuf_signing import RepositoryKeys
from support.authoring import organisation_keys


@pytest.fixture
def keys() -> RepositoryKeys:
    return organisation_keys()


@pytest.fixture
def files(tmp_path: Path) -> FileMetadataStore:
    return FileMetadataStore(tmp_path / "repository")
