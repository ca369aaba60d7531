"""Attacks on the update repository, and what goes wrong with it by itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from medvouch.release.repository import Periods
from medvouch_sim.clocks import TEN_YEARS_MS, WrongClock
from medvouch_sim.demo.attacks.base import Attack, Provoke
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway
from medvouch_sim.repository_server import contents, status

DAY_S = 86_400
TIMESTAMP = "metadata/timestamp.json"


async def expired(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The timestamp is fresh, the snapshot it names has expired."""
    publisher = stage.publisher
    with publisher.signing(Periods(snapshot=-60)):
        publisher.repository.publish(publisher.now)
    yield lambda: stage.look(gateway)
    publisher.repository.publish(publisher.now)


async def frozen(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """Nothing was signed for three days: somebody keeps newer metadata away, or nobody makes any."""
    publisher = stage.publisher
    publisher.repository.publish(publisher.now - 3 * DAY_S)
    yield lambda: stage.look(gateway)
    publisher.repository.publish(publisher.now)


async def rolled_back(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The server shows what it had before, whole and signed."""
    publisher = stage.publisher
    before = publisher.directory.with_name("updates-before")
    shutil.copytree(publisher.directory, before)
    publisher.repository.publish(publisher.now)
    await stage.looked(gateway)
    publisher.server.directory = before
    yield lambda: stage.look(gateway)
    publisher.server.directory = publisher.directory


async def unlisted(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The director's key is stolen; a release that nobody published is not to be had with it."""
    stage.publish(gateway, stage.another(), alter=lambda it: replace(it, release="releases/6.6.6/release.suit"))
    yield lambda: stage.look(gateway)
    stage.publish(gateway, stage.release("1.1.0"))


async def forged_metadata(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """A newer timestamp that nobody signed."""
    server = stage.publisher.server
    document = json.loads((stage.publisher.directory / TIMESTAMP).read_bytes())
    document["signed"]["version"] += 1
    server.misbehave(TIMESTAMP, contents(json.dumps(document).encode()))
    yield lambda: stage.look(gateway)
    server.behave()


async def unreachable(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """Nobody listens where the repository was."""
    with stage.publisher.server.unreachable():
        yield lambda: stage.look(gateway)


async def failing(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The server answers with status 500."""
    server = stage.publisher.server
    server.misbehave("metadata/", status(500))
    yield lambda: stage.look(gateway)
    server.behave()


async def fast_clock(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The gateway's clock is ten years fast when it starts: nothing that was signed seems good any more.

    There is a new release for it, which it must not lose its way over.
    """
    await gateway.shut_down()
    stage.publish(gateway, stage.another())
    gateway.clock = WrongClock(TEN_YEARS_MS, sure=True)
    yield gateway.boot
    await gateway.shut_down()
    gateway.clock = None
    stage.publish(gateway, stage.release("1.1.0"))
    await gateway.boot()


REPOSITORY_ATTACKS: Sequence[Attack] = (
    Attack("expired metadata", "metadata-expired", expired),
    Attack("frozen repository", "repository-frozen", frozen),
    Attack("rolled-back repository", "repository-rolled-back", rolled_back),
    Attack("directive naming an unlisted release", "directive-unlisted", unlisted),
    Attack("forged metadata", "metadata-untrusted", forged_metadata),
)
REPOSITORY_FAULTS: Sequence[Attack] = (
    Attack("repository unreachable", "fetch-unreachable", unreachable, "fault"),
    Attack("repository answers with an error", "fetch-failed", failing, "fault"),
    Attack("clock ten years fast", "metadata-expired", fast_clock, "fault"),
)
