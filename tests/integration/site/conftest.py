"""A site with one gateway, off or in service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from support import sites
from support.sites import Scene


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """The gateway is switched off."""
    async with sites.scene(tmp_path) as scene:
        yield scene


@pytest_asyncio.fixture
async def serving(scene: Scene) -> Scene:
    """The gateway is enrolled and its agent serves."""
    await scene.gateway.boot()
    await scene.state("health")
    return scene
