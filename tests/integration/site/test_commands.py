from __future__ import annotations

import json
from typing import Any

import pytest

from medvouch.messages import topics
from support.sites import HOSPITAL, Scene, signer

NONCE = bytes(range(32))


async def test_a_device_is_commissioned_once(serving: Scene) -> None:
    first = await serving.collector.challenger.command(serving.device, "commission", {"owner": HOSPITAL})
    assert (await serving.answer("commission", first)) == {"outcome": "done", "owner": HOSPITAL}
    assert (await serving.event("commissioned"))["owner"] == HOSPITAL
    assert (await serving.state("identity", life="commissioned"))["owner"] == HOSPITAL
    retained = await serving.retained(topics.state(serving.device, "identity"))
    assert retained.retain
    assert json.loads(retained.payload)["owner"] == HOSPITAL

    again = serving.command("commission", "c2", {"owner": "somebody else"})
    assert await serving.refused("commission", "c2", again) == "transition-not-allowed"
    assert serving.agent.standing.owner == HOSPITAL


async def test_a_command_that_nobody_entitled_signed(serving: Scene) -> None:
    forged = serving.command("commission", "c1", {"owner": HOSPITAL}, by=signer("release"))
    assert await serving.refused("commission", "c1", forged) == "command-forged"


async def test_a_command_that_is_none(serving: Scene) -> None:
    assert (await serving.refused("commission", "c1", b"\xff\x00")).startswith(("cose-", "cbor-"))


async def test_a_command_for_another_device(serving: Scene) -> None:
    other = serving.command("commission", "c1", {"owner": HOSPITAL}, device="0" * 32)
    assert await serving.refused("commission", "c1", other) == "command-misdirected"


async def test_a_command_that_came_too_late(serving: Scene) -> None:
    late = serving.command("commission", "c1", {"owner": HOSPITAL}, life_ms=-1)
    assert await serving.refused("commission", "c1", late) == "command-expired"


async def test_a_command_that_the_agent_does_not_know(serving: Scene) -> None:
    assert await serving.refused("dance", "c1", serving.command("dance", "c1", {})) == "command-unknown"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("commission", {}),
        ("commission", {"owner": ""}),
        ("commission", {"owner": 7}),
        ("commission", {"owner": "x" * 201}),
        ("attest", {"appraiser": "collector"}),
        ("attest", {"nonce": NONCE}),
        ("attest", {"nonce": "00" * 8, "appraiser": "collector"}),
        ("attest", {"nonce": bytes(7), "appraiser": "collector"}),
        ("attest", {"nonce": bytes(65), "appraiser": "collector"}),
        ("attest", {"nonce": NONCE, "appraiser": "collector", "ledger": -1}),
        ("attest", {"nonce": NONCE, "appraiser": "collector", "ledger": "7"}),
        ("attest", {"nonce": NONCE, "appraiser": "collector", "ledger": True}),
    ],
)
async def test_arguments_that_a_command_does_not_take(serving: Scene, name: str, args: dict[str, Any]) -> None:
    assert await serving.refused(name, "c1", serving.command(name, "c1", args)) == "command-malformed"
    assert serving.agent.standing.owner == ""


async def test_a_command_runs_once_also_across_a_restart(serving: Scene) -> None:
    data = serving.command("attest", "c1", {"nonce": NONCE, "appraiser": "collector"})
    topic = topics.command(serving.device, "attest", "c1")
    await serving.send(topic, data)
    assert (await serving.answer("attest", "c1"))["outcome"] == "done"
    assert await serving.refused("attest", "c1", data) == "command-replayed"
    await serving.gateway.stop_agent()
    mark = serving.mark
    await serving.gateway.start_agent()
    await serving.state("health", since=mark)
    assert await serving.refused("attest", "c1", data) == "command-replayed"


async def test_a_command_moved_to_another_topic(serving: Scene) -> None:
    data = serving.command("commission", "c1", {"owner": HOSPITAL})
    assert await serving.refused("commission", "c9", data) == "command-misaddressed"
    assert await serving.refused("attest", "c1", data) == "command-misaddressed"
    await serving.send(topics.command(serving.device, "commission", "c1"), data)
    await serving.event("commissioned")


async def test_a_topic_outside_the_grammar_is_passed_over(serving: Scene) -> None:
    await serving.send(f"medvouch/v1/{serving.device}/cmd/UPPER/case", b"")
    data = serving.command("commission", "c1", {"owner": HOSPITAL})
    await serving.send(topics.command(serving.device, "commission", "c1"), data)
    await serving.event("commissioned")
    assert serving.agent.health.state == "ok"
