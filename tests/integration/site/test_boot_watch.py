"""A gateway that reboots is appraised anew, and nobody has to ask for it."""

from __future__ import annotations

from pathlib import Path

from medvouch.messages import topics
from support import sites
from support.sites import Scene


def appraisals(scene: Scene) -> int:
    return sum(heard.topic == topics.Event("collector", "appraisal") for heard in scene.observer.heard)


async def test_each_boot_is_appraised_once(tmp_path: Path) -> None:
    async with sites.scene(tmp_path, watch_boots=True) as scene:
        await scene.gateway.boot()
        await scene.collected("appraisal", about=scene.device, status="affirming")
        record = scene.collector.registry.find(scene.device)
        assert record is not None

        mark = scene.mark
        await scene.gateway.stop_agent()
        await scene.gateway.start_agent()
        await scene.status("online", since=mark)
        assert appraisals(scene) == 1, "the agent came back in the same boot"

        mark = scene.mark
        await scene.gateway.reboot()
        await scene.collected("appraisal", since=mark, about=scene.device, status="affirming")
        again = scene.collector.registry.find(scene.device)
        assert again is not None
        assert again.reset_count > record.reset_count
        assert appraisals(scene) == 2
