"""`medvouch update` and what is said with it, to the agent of a gateway in service."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from medvouch.cli import wiring
from medvouch_sim.clocks import WrongClock
from support.cli import Called, Caller
from support.sites import eventually
from support.updating import Updatable, release, updatable


async def test_a_users_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    medvouch = Caller(capsys)
    async with updatable(tmp_path) as scene, wiring.control_server(scene.gateway.config(), scene.agent):

        async def call(*words: object) -> Called:
            return await asyncio.to_thread(medvouch, "update", "--config", scene.gateway.config_path, *words)

        assert (await call("status")).out == "update   none\nconsent  automatic\n"
        refused = await call("postpone", "+3d")
        assert (refused.code, refused.err.startswith("medvouch: update-not-waiting: ")) == (1, True)
        assert (await call("opt-out")).out == "update   none\nconsent  opted_out\n"
        await directed(scene)
        waits = "update          1.1.0 notified\nconsent         opted_out; it waits (opted-out)\n"
        assert (await call("status")).out == f"{waits}may wait until  2030-01-01 00:00:00 UTC\n"
        shown = (await call("status", "--json")).json
        assert (shown["held_by"], shown["defer_until"]) == ("opted-out", LIMIT)
        status = await asyncio.to_thread(medvouch, "status", "--config", scene.gateway.config_path)
        assert "consent         opted_out; it waits (opted-out)\n" in status.out

        assert (await call("opt-in", "--json")).json["wish"] == "automatic"
        await eventually(lambda: scene.gateway.slots.activated() is not None)
        late = await call("postpone", "2029-12-24T02:00:00+01:00")
        assert (late.code, "update-not-waiting: it is activated" in late.err) == (1, True)
        assert (await call("now")).code == 0
        event = await scene.event("consent", cause="install-now")
        assert event["actor"] == f"user {os.getuid()}"


LIMIT = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())


async def directed(scene: Updatable) -> None:
    mark = await scene.directed(release("1.1.0"), alter=lambda directive: replace(directive, defer_until=LIMIT))
    await scene.event("update-held", since=mark)


async def test_a_postponement_as_it_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    medvouch = Caller(capsys)
    async with updatable(tmp_path) as scene:
        scene.gateway.clock = WrongClock(0, sure=True)
        await scene.with_settings('busy_command = "false"')
        await directed(scene)
        async with wiring.control_server(scene.gateway.config(), scene.agent):

            async def call(*words: object) -> Called:
                return await asyncio.to_thread(medvouch, "update", *words, "--config", scene.gateway.config_path)

            shown = await call("postpone", "2029-12-24T02:00:00+01:00")
            until = "2029-12-24 01:00:00 UTC"
            assert f"postponed until {until}; it waits (postponed until {until})\n" in shown.out
            beyond = await call("postpone", "2030-01-02")
            assert (beyond.code, beyond.err.startswith("medvouch: postpone-beyond-limit: ")) == (1, True)
            soon = (await call("postpone", "+30m", "--json")).json
            assert 1700 < soon["until"] - datetime.now(UTC).timestamp() <= 1800
