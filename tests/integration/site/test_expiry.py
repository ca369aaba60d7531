"""Keys that are not to be believed any more."""

from __future__ import annotations

import dataclasses

import pytest

from medvouch.errors import Refusal
from support.sites import HOSPITAL, Scene


def expire(scene: Scene, what: str) -> None:
    """A role by its name, or the whole `document`."""
    trust, past = scene.site.trust, scene.site.started_at - 1
    if what == "document":
        trust = dataclasses.replace(trust, expires=past)
    else:
        roles = {**trust.roles, what: dataclasses.replace(trust.roles[what], expires=past)}
        trust = dataclasses.replace(trust, roles=roles)
    scene.site.trust_path.write_bytes(trust.encode())


async def restarted(scene: Scene) -> None:
    mark = scene.mark
    await scene.gateway.stop_agent()
    await scene.gateway.start_agent()
    await scene.state("health", since=mark)


@pytest.mark.parametrize(("expired", "code"), [("commander", "role-expired"), ("document", "trust-expired")])
async def test_commands_of_an_expired_commander(serving: Scene, expired: str, code: str) -> None:
    expire(serving, expired)
    await restarted(serving)
    data = serving.command("commission", "c1", {"owner": HOSPITAL})
    assert await serving.refused("commission", "c1", data) == code
    assert serving.agent.standing.owner == ""


async def test_verdicts_of_an_expired_appraiser(serving: Scene) -> None:
    expire(serving, "appraiser")
    await restarted(serving)
    assert (await serving.collector.challenger.challenge(serving.device)).error is None
    await serving.event("result-refused", code="role-expired")
    assert serving.agent.standing.last_verdict is None


@pytest.mark.parametrize("role", ["enrolment", "owner", "appraiser"])
async def test_enrolment_rests_on_roles_in_force(scene: Scene, role: str) -> None:
    expire(scene, role)
    await scene.gateway.boot()
    assert scene.gateway._running is not None
    with pytest.raises(Refusal, match=f"role-expired: the role '{role}' expired on"):
        await scene.gateway._running
    assert scene.collector.registry.find(scene.device) is None
