"""The user's say in updates, on a gateway in service: opt out, postpone, windows, a busy workload, and now at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from medvouch.adapters.slots import FileSlots
from medvouch.cli import wiring
from medvouch.cli.verifying import verified_life
from medvouch.daemon import holding
from medvouch.daemon.exporting import export
from medvouch.daemon.staging import Staging
from medvouch.errors import InputError, Refusal, StorageFault
from medvouch.formats.directive import RECOVERY, Directive
from medvouch.formats.ledger import Statement
from medvouch.formats.update import UpdateRecord
from medvouch.messages import topics
from medvouch_sim.clocks import WrongClock
from support import sites
from support.sites import Fields, eventually
from support.updating import Updatable, reference, release, updatable

NURSE = 1000
NEXT = replace(release("1.1.0"), version="1.1.1", sequence=3)


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    async with updatable(tmp_path) as scene:
        scene.gateway.clock = WrongClock(0, sure=True)
        yield scene


@dataclass(frozen=True)
class Ward:
    """A clinical workload, and the hook that tells of it: busy while there is this file."""

    flag: Path

    @property
    def hook(self) -> str:
        return f'busy_command = "test ! -e {self.flag}"'

    def busy(self) -> None:
        self.flag.touch()

    def free(self) -> None:
        self.flag.unlink()


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ward:
    """It is busy, and asked again and again."""
    monkeypatch.setattr(holding, "ASK_AGAIN_S", 0.05)
    ward = Ward(tmp_path / "busy")
    ward.busy()
    return ward


async def wished(scene: Updatable, cause: str, until: int = 0) -> Fields:
    """Said by a user of the machine."""
    return await scene.agent.control("consent", {"cause": cause} | ({"until": until} if until else {}), NURSE)


def deferrable(scene: Updatable, seconds: int) -> dict[str, Any]:
    """A directive that lets the user put it off for so long."""
    limit = int(time.time()) + seconds
    return {"alter": lambda directive: replace(directive, defer_until=limit)}


def fetched(scene: Updatable) -> int:
    return sum(path.endswith(".img") for path in scene.publisher.server.requests)


def holds_told(scene: Updatable, since: int) -> list[str]:
    wanted = topics.Event(scene.device, "update-held")
    said = [heard.payload for heard in scene.observer.heard[since:] if heard.topic == wanted]
    return [str(payload.fields["held_by"]) for payload in said if payload]


async def killed(scene: Updatable) -> int:
    """The mains fail and come back; the mark before."""
    await scene.gateway.cut_power()
    mark = scene.mark
    await scene.gateway.boot()
    await scene.state("health", since=mark)
    return mark


def told(scene: Updatable, machine: str) -> list[Statement]:
    """What the ledger proves, checked as an auditor does."""
    data = export(scene.agent._store, scene.device)
    life = verified_life(data, scene.site.trust, device=scene.device, at=int(time.time()) + 60)
    return [entry.statement for entry in life.entries if entry.statement.machine == machine]


def holds(scene: Updatable) -> list[tuple[str, str, str]]:
    """What held updates up by the ledger: from, to, by whom."""
    return [(each.before, each.after, each.actor) for each in told(scene, "hold")]


def wishes(scene: Updatable) -> list[tuple[str, str, str, str]]:
    """Wishes by the ledger: from, to, cause, actor."""
    wished, record = told(scene, "consent"), scene.agent.standing.update
    assert record is not None
    assert all(each.digests.get("envelope") in (None, record.manifest) for each in wished)
    return [(each.before, each.after, each.cause, each.actor) for each in wished]


async def test_who_opts_out_is_told_and_installs_when_they_want(scene: Updatable) -> None:
    await scene.with_settings("")
    assert (await wished(scene, "opt-out"))["wish"] == "opted_out"
    mark = await scene.directed(release("1.1.0"))
    notice = await scene.event("update-available", since=mark)
    assert (notice["version"], notice["waits"], notice["held_by"]) == ("1.1.0", True, "opted-out")
    assert (await scene.event("update-held", since=mark))["held_by"] == "opted-out"
    await scene.state("update", since=mark, state="notified", wish="opted_out", held_by="opted-out")
    mark = await killed(scene)
    await scene.state("update", since=mark, state="notified", wish="opted_out", held_by="opted-out")
    looks = len(scene.publisher.server.requests)
    await scene.look()
    await eventually(lambda: any("directives" in path for path in scene.publisher.server.requests[looks:]))
    await scene.look()
    assert (fetched(scene), holds_told(scene, mark)) == (0, ["opted-out"])
    assert (await scene.agent.control("consent", {}, NURSE))["state"] == "notified"

    await wished(scene, "install-now")
    await scene.update("activated", since=mark)
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    await scene.update("closed", since=mark)
    assert wishes(scene) == [
        ("automatic", "opted_out", "opt-out", f"user {NURSE}"),
        ("opted_out", "opted_out", "install-now", f"user {NURSE}"),
    ]
    mark = await scene.directed(NEXT)
    assert (await scene.event("update-held", since=mark))["version"] == "1.1.1"
    assert (await wished(scene, "opt-in"))["wish"] == "automatic"
    await scene.update("activated", since=mark)
    assert holds(scene) == [("", "opted-out", "user"), ("opted-out", "opted-out", "user")], "two releases waited"


async def test_a_postponement_holds_and_lapses(scene: Updatable, ward: Ward) -> None:
    await scene.with_settings(ward.hook)
    mark = await scene.directed(release("1.1.0"), **deferrable(scene, 600))
    assert (await scene.event("update-available", since=mark))["waits"] is False
    await scene.state("update", since=mark, state="staged", held_by="busy")
    limit = (await scene.agent.control("consent", {}, NURSE))["defer_until"]
    commander = scene.collector.challenger.commander
    await commander.ask(scene.device, "consent", {"cause": "postpone", "until": limit})
    await wished(scene, "postpone", until := int(time.time()) + 3)
    ward.free()
    mark = await killed(scene)
    await scene.state("update", since=mark, wish="postponed", until=until, held_by="postponed", held_until=until)
    assert scene.gateway.slots.activated() is None
    assert holds_told(scene, mark) == ["postponed"]
    await scene.update("activated", since=mark)
    assert time.time() >= until
    assert await scene.state("update", since=mark, state="activated", wish="automatic")
    assert wishes(scene) == [
        ("automatic", "postponed", "postpone", "commander"),
        ("postponed", "postponed", "postpone", f"user {NURSE}"),
        ("postponed", "automatic", "lapse", "agent"),
    ]
    assert fetched(scene) == 1
    assert holds(scene) == [("", "busy", "workload"), ("busy", "postponed", "user")]
    held = told(scene, "hold")[-1]
    record = scene.agent.standing.update
    assert record is not None
    assert (held.digests, held.detail) == ({"envelope": record.manifest}, f"until {limit} (s since 1970)")


async def test_a_limit_that_is_signed_anew_ends_a_postponement(scene: Updatable, ward: Ward) -> None:
    await scene.with_settings(ward.hook)
    await scene.directed(release("1.1.0"), **deferrable(scene, 600))
    await scene.state("update", held_by="busy")
    mark = scene.mark
    await wished(scene, "postpone", int(time.time()) + 500)
    ward.free()
    await scene.event("update-held", since=mark, held_by="postponed")
    scene.publisher.direct(scene.gateway.entry.ek_hash, release("1.1.0"))
    await scene.look()
    await scene.update("activated", since=mark)
    assert [cause for _, _, cause, _ in wishes(scene)] == ["postpone", "lapse"]
    assert fetched(scene) == 1


async def test_another_release_takes_the_place_of_one_that_waits(scene: Updatable, ward: Ward) -> None:
    """It is urgent, and nobody may put it off."""
    await scene.with_settings(ward.hook)
    await scene.directed(release("1.1.0"), **deferrable(scene, 600))
    await scene.state("update", held_by="busy")
    mark = scene.mark
    await wished(scene, "postpone", int(time.time()) + 500)
    ward.free()
    await scene.event("update-held", since=mark, held_by="postponed")
    mark = await scene.directed(NEXT)
    assert (await scene.update("activated", since=mark))["version"] == "1.1.1"
    assert (await scene.state("update", since=mark, state="activated"))["wish"] == "automatic"


async def test_a_way_out_waits_for_nobodys_wish(scene: Updatable) -> None:
    await wished(scene, "opt-out")
    mark = await scene.directed(release("1.1.0"), alter=lambda directive: replace(directive, purpose=RECOVERY))
    notice = await scene.event("update-available", since=mark)
    assert (notice["purpose"], notice["waits"], notice["wish"]) == ("recovery", False, "opted_out")
    await scene.update("activated", since=mark)


async def test_a_wish_that_comes_while_a_release_is_read_back_counts(
    scene: Updatable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a large image that takes minutes."""
    reread, read = Staging.reread, 0

    async def slow(self: Staging, record: UpdateRecord) -> None:
        nonlocal read
        read += 1
        if read == 2:  # once when it is staged, once before it is armed
            await wished(scene, "opt-out")
        await reread(self, record)

    monkeypatch.setattr(Staging, "reread", slow)
    mark = await scene.directed(release("1.1.0"))
    await scene.state("update", since=mark, state="staged", held_by="opted-out")
    assert scene.gateway.slots.activated() is None


# --- a busy workload -------------------------------------------------------------------------------------------------


async def test_nothing_is_interrupted_while_the_workload_is_busy(scene: Updatable, ward: Ward) -> None:
    await scene.with_settings(ward.hook)
    mark = await scene.directed(release("1.1.0"))
    assert (await scene.event("update-held", since=mark))["held_by"] == "busy"
    await wished(scene, "install-now")
    mark = await killed(scene)
    await scene.state("update", since=mark, state="staged", held_by="busy")
    assert scene.gateway.slots.activated() is None
    ward.free()
    await scene.update("activated", since=mark)


async def test_a_restart_waits_too(scene: Updatable, ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workload became busy after the slot was armed; the agent comes back before the machine was restarted."""
    asked = restarts(monkeypatch)
    ward.free()
    await scene.with_settings(ward.hook)
    await scene.activated(release("1.1.0"))
    await eventually(lambda: bool(asked))
    await scene.gateway.stop_agent()
    asked.clear()
    ward.busy()
    mark = scene.mark
    await scene.gateway.start_agent()
    await scene.state("update", since=mark, state="activated", held_by="busy")
    assert asked == []
    ward.free()
    await eventually(lambda: bool(asked))


async def test_a_slot_that_failed_is_left_when_that_interrupts_nobody(
    scene: Updatable, ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = restarts(monkeypatch)
    ward.free()
    await scene.with_settings(ward.hook)
    await scene.activated(replace(release("1.1.0"), reference=reference("1.0.0")))
    await eventually(lambda: bool(asked))
    ward.busy()
    mark = scene.mark
    await scene.gateway.reboot()
    await scene.update("failed", since=mark)
    await scene.state("update", since=mark, state="failed", held_by="busy")
    asked.clear()
    await scene.directed(NEXT)  # for which there is no slot as long as this one runs
    await asyncio.sleep(0.3)
    record = scene.agent.standing.update
    assert (asked, record and record.state) == ([], "failed")
    ward.free()
    await eventually(lambda: bool(asked))
    mark = scene.mark
    await scene.gateway.reboot()
    assert (await scene.update("activated", since=mark))["version"] == "1.1.1"


def restarts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each restart that is asked for."""
    asked: list[str] = []

    async def ask(command: str) -> None:
        asked.append(command)

    monkeypatch.setattr(wiring, "run_command", ask)
    return asked


async def test_a_hook_that_cannot_say_counts_as_busy_and_is_a_problem(scene: Updatable, ward: Ward) -> None:
    script = ward.flag.with_name("hook")
    await scene.with_settings(f'busy_command = "{script}"')
    mark = await scene.directed(release("1.1.0"))
    assert (await scene.event("update-held", since=mark))["held_by"] == "busy"
    assert (await scene.state("health", since=mark, component="busy-command"))["code"] == "busy-unknown"
    script.symlink_to("/bin/true")
    await scene.update("activated", since=mark)
    await scene.state("health", since=mark, state="ok")


async def test_a_fault_when_it_goes_on_is_told_and_made_up_for(scene: Updatable, ward: Ward) -> None:
    def full(self: FileSlots, slot: str) -> None:
        raise StorageFault("slot-unwritable", "no space", remedy="none")

    await scene.with_settings(ward.hook)
    mark = await scene.directed(release("1.1.0"))
    await scene.event("update-held", since=mark, held_by="busy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileSlots, "activate", full)
        ward.free()
        assert (await scene.event("update-held-up", since=mark))["code"] == "slot-unwritable"
    await scene.look()
    await scene.update("activated", since=mark)


async def test_what_waits_when_the_device_is_frozen_stays_so(scene: Updatable, ward: Ward) -> None:
    await scene.with_settings(ward.hook)
    mark = await scene.directed(release("1.1.0"))
    await scene.event("update-held", since=mark, held_by="busy")
    await scene.collector.challenger.commander.ask(scene.device, "freeze", {})
    ward.free()
    await asyncio.sleep(0.3)
    record = scene.agent.standing.update
    assert (record and record.state, scene.gateway.slots.activated()) == ("staged", None)
    assert [problem.code for problem in scene.agent.health] == []
    with pytest.raises(Refusal, match="device-frozen"):
        await wished(scene, "opt-out")


# --- maintenance windows ---------------------------------------------------------------------------------------------


def window(begins: datetime) -> str:
    """Of ten minutes, as settings of somebody in India."""
    there = begins.astimezone(ZoneInfo("Asia/Kolkata"))
    return f'windows = ["Mon-Sun {there:%H:%M}-{there + timedelta(minutes=10):%H:%M}"]\ntimezone = "Asia/Kolkata"'


async def test_a_window_holds_the_restart(scene: Updatable) -> None:
    begins = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=20)
    await scene.with_settings(window(begins))
    mark = await scene.directed(release("1.1.0"))
    notice = await scene.event("update-available", since=mark)
    assert (notice["waits"], notice["held_by"], notice["held_until"]) == (True, "window-closed", begins.timestamp())
    held = await scene.state("update", since=mark, state="staged", held_by="window-closed")
    assert held["held_until"] == begins.timestamp()
    mark = await killed(scene)
    await scene.state("update", since=mark, state="staged", held_by="window-closed")
    left = begins.timestamp() - time.time() - 1.5
    (held,) = told(scene, "hold")
    assert (held.after, held.actor) == ("window-closed", "configuration")
    settings = f"windows {scene.site.update_settings.split(chr(34))[1]} (Asia/Kolkata)"
    assert held.detail == f"{settings}, until {int(begins.timestamp())} (s since 1970)"
    scene.gateway.clock = WrongClock(int(left * 1000), sure=True)
    mark = await killed(scene)
    await scene.state("update", since=mark, state="staged")
    await scene.update("activated", since=mark)


async def test_nobody_knows_whether_a_window_is_open_where_the_clock_is_not_believed(scene: Updatable) -> None:
    """The update waits and says so; who wants it now gets it."""
    scene.gateway.clock = WrongClock(0, sure=False)
    await scene.with_settings('windows = ["Mon-Sun 00:00-24:00"]')
    mark = await scene.directed(release("1.1.0"))
    assert (await scene.event("update-held", since=mark))["held_by"] == "clock-not-trusted"
    health = await scene.state("health", since=mark, component="maintenance-windows")
    assert health["code"] == "clock-not-trusted"
    await wished(scene, "install-now")
    await scene.update("activated", since=mark)
    await scene.state("health", since=mark, state="ok")


# --- what is refused -------------------------------------------------------------------------------------------------


async def test_wishes_that_are_refused(scene: Updatable, ward: Ward) -> None:
    await scene.with_settings(ward.hook)
    for number, cause in enumerate(("install-now", "postpone")):
        args = {"cause": cause} | ({"until": 1} if cause == "postpone" else {})
        command = scene.command("consent", str(number), args)
        assert await scene.refused("consent", str(number), command) == "update-not-waiting"
    await scene.directed(release("1.1.0"))
    await scene.state("update", state="staged", held_by="busy")
    assert await code(scene, int(time.time()) + 60) == "postpone-not-allowed"
    options = deferrable(scene, 600)
    scene.publisher.direct(scene.gateway.entry.ek_hash, release("1.1.0"), **options)
    limit = options["alter"](Directive(bytes(33), "x", bytes(32), 0, 0, 0)).defer_until
    mark = scene.mark
    await scene.look()
    await eventually(
        lambda: scene.agent.standing.directive is not None and scene.agent.standing.directive.defer_until > 0
    )
    assert await code(scene, limit + 1) == "postpone-beyond-limit"
    assert await code(scene, 1) == "postpone-not-ahead"
    await wished(scene, "opt-out")
    assert await code(scene, limit) == "consent-not-allowed"
    assert (await scene.event("consent", since=mark))["cause"] == "opt-out"
    assert [cause for _, _, cause, _ in wishes(scene)] == ["opt-out"]


async def code(scene: Updatable, until: int) -> str:
    """With which a postponement is refused."""
    with pytest.raises(Refusal) as caught:
        await wished(scene, "postpone", until)
    return caught.value.code


async def test_calls_that_are_none(scene: Updatable) -> None:
    with pytest.raises(InputError, match="call-malformed"):
        await scene.agent.control("consent", {"cause": "sing"}, NURSE)
    with pytest.raises(InputError, match="call-malformed"):
        await scene.agent.control("consent", {"cause": "opt-out", "from": "relative"}, NURSE)
    assert scene.agent.standing.consent.wish == "automatic"
    assert await scene.refused("consent", "1", scene.command("consent", "1", {"cause": "lapse"})) == "command-malformed"


async def test_a_gateway_without_a_repository_says_so(tmp_path: Path) -> None:
    async with sites.scene(tmp_path) as plain:
        await plain.gateway.boot()
        await plain.state("health")
        command = plain.command("consent", "1", {"cause": "opt-out"})
        assert await plain.refused("consent", "1", command) == "updates-off"
        for args in ({}, {"cause": "opt-out"}):
            with pytest.raises(Refusal, match="updates-off"):
                await plain.agent.control("consent", args, NURSE)
