"""A site with one gateway, on which medvouch is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from support import programs, sites
from support.programs import Installation
from support.sites import Scene


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with sites.scene(tmp_path) as scene:
        yield scene


@pytest_asyncio.fixture
async def device(scene: Scene) -> AsyncIterator[Installation]:
    """Switched on; its agent has never run."""
    async with programs.installed(scene.gateway) as installation:
        yield installation
