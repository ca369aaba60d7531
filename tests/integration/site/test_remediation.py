"""One advisory and seven gateways, each with its own TPM: every outcome, out of what they prove."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from medvouch.messages import topics
from medvouch_sim.gateway import Gateway
from medvouch_sim.repository_server import Exchange
from support.cli import Caller
from support.fleets import Desk, desk
from support.updating import release

PLAN = """\
name = "all"
release = "{release}"
until = 2099-01-01
max_failure_rate = "100%"
min_reports = 1
defer_days = 14

[[cohorts]]
name = "all"

[[waves]]
all = "100%"
"""
ENDED = {
    "$schema": "https://docs.oasis-open.org/openeox/v1.0/schema/core.json",
    "end_of_life": "tba",
    "end_of_security_support": "2026-10-31T00:00:00Z",
    "last_updated": "2026-10-01T00:00:00Z",
}
"""Support that ended a day before the advisory."""


async def directed(maker: Desk, unaffected: Gateway) -> None:
    """All of them, to a release that users may put off; one was delivered with what it fixes."""
    target = await maker.publish(release("1.1.0"))
    fleet = json.loads(maker.write_fleet().read_text())
    next(each for each in fleet["devices"] if each["serial"] == unaffected.order.serial)["version"] = "1.1.0"
    (maker.folder / "fleet.json").write_text(json.dumps(fleet))
    (maker.folder / "all.toml").write_text(PLAN.format(release=target))
    called = await maker.rollout("start", maker.folder / "all.toml", "--fleet", maker.folder / "fleet.json")
    assert called.code == 0, called.err
    (shown,) = (await maker.rollout("step", *maker.from_collector, "--json")).json["rollouts"]
    assert len(shown["published"]["directed"]) == len(maker.gateways)


async def postponed(maker: Desk, gateway: Gateway) -> None:
    """Its ward is busy; its user puts the release off."""
    maker.site.update_settings = 'busy_command = "false"'
    await gateway.reboot()
    mark = await maker.look(gateway)
    await maker.scene(gateway).said(topics.State(gateway.device, "update"), since=mark, state="staged", held_by="busy")
    assert gateway.agent is not None
    await gateway.agent.control("consent", {"cause": "postpone", "until": int(time.time()) + 86_400}, 1000)


async def opted_out(maker: Desk, gateway: Gateway) -> None:
    assert gateway.agent is not None
    await gateway.agent.control("consent", {"cause": "opt-out"}, 1000)
    mark = await maker.look(gateway)
    await maker.scene(gateway).event("update-held", since=mark, held_by="opted-out")


async def failed(maker: Desk, gateway: Gateway) -> None:
    """It is given another image than was signed."""

    def wrong(exchange: Exchange) -> None:
        size = len(release("1.1.0").image)
        exchange.head(200, Content_Length=str(size))
        exchange.body(bytes(size))

    maker.publisher.server.misbehave("images/", wrong)
    mark = await maker.look(gateway)
    await maker.scene(gateway).event("update", since=mark, state="failed")
    maker.publisher.server.behave()


def told(document: Any, start: str, end: str) -> tuple[int, int]:
    """Of how many devices a latency is known, of how many that are concerned."""
    found = next(each for each in document["latencies"] if (each["start"], each["end"]) == (start, end))
    return found["known"], found["of"]


async def test_every_outcome_by_a_gateway_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with desk(tmp_path, Caller(capsys), count=7) as maker:
        proven, claimed, late, never, broken, silent, unaffected = maker.gateways
        await silent.shut_down()
        await asyncio.sleep(1.1)  # times of the repository are whole seconds
        await directed(maker, unaffected)
        await failed(maker, broken)
        await opted_out(maker, never)
        await maker.updated(proven)
        await maker.updated(claimed, "self_checked")
        await postponed(maker, late)

        code, found = await maker.remediation(*maker.from_collector)
        outcomes = {each["serial"]: each["outcome"] for each in found["devices"]}
        assert outcomes == {
            proven.order.serial: "attested_fixed",
            claimed.order.serial: "installed_unattested",
            late.order.serial: "postponed",
            never.order.serial: "opted_out",
            broken.order.serial: "failed",
            silent.order.serial: "unreachable",
            unaffected.order.serial: "not_affected",
        }
        assert (code, found["closed"]) == (1, False)
        assert (found["totals"]["known"], found["totals"]["affected_supported"]) == (7, 6)
        assert told(found, "available", "notified") == (5, 6)
        assert told(found, "available", "downloaded") == (3, 6)
        assert told(found, "available", "installed") == (2, 6)
        assert told(found, "available", "attested") == (1, 6)

        ended = tmp_path / "ended.json"
        ended.write_text(json.dumps(ENDED))
        code, found = await maker.remediation("--support", ended)
        outcomes = {each["serial"]: each["outcome"] for each in found["devices"]}
        unsupported = {gateway.order.serial for gateway in (late, never, broken, silent)}
        assert {serial for serial, outcome in outcomes.items() if outcome == "unsupported"} == unsupported
        assert (code, found["totals"]["affected_supported"]) == (1, 2)
        assert told(found, "available", "notified") == (2, 2)
        assert told(found, "available", "attested") == (1, 2)

        assert (await maker.collector.challenger.challenge(claimed.device)).error is None
        await maker.scene(claimed).event("update", state="closed")
        code, found = await maker.remediation("--support", ended)
        assert (code, found["closed"], found["totals"]["outcomes"]["attested_fixed"]) == (0, True, 2)
