"""Releases that reach three gateways in waves: what comes of it is proven, by their ledgers or to the collector."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from medvouch.formats.ledger import Bundle
from medvouch.messages import topics
from medvouch.update.transitions import Cause
from support.cli import Caller
from support.fleets import Desk, desk
from support.sites import eventually
from support.updating import release

PLAN = """\
name = "{name}"
release = "{release}"
until = 2099-01-01
max_failure_rate = "0%"
min_reports = 1
soak_hours = 0

[[cohorts]]
name = "all"

[[waves]]
all = 1

[[waves]]
all = "100%"
"""


@pytest_asyncio.fixture
async def maker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Desk]:
    async with desk(tmp_path, Caller(capsys)) as made:
        yield made


async def started(maker: Desk, name: str, target: str) -> None:
    plan = maker.folder / f"{name}.toml"
    plan.write_text(PLAN.format(name=name, release=target))
    called = await maker.rollout("start", plan, "--fleet", maker.write_fleet())
    assert called.code == 0, called.err


async def test_a_wave_of_one_and_then_the_rest(maker: Desk) -> None:
    """By the ledgers of the gateways alone; in the end they prove that the advisory is closed."""
    target = await maker.publish(release("1.1.0"))
    await started(maker, "all", target)
    maker.export()
    (shown,) = (await maker.rollout("step", *maker.from_ledgers, "--json")).json["rollouts"]
    assert shown["decision"]["because"] == "wave 1 of 2: 1 devices"
    (first,) = maker.of(shown["decision"]["devices"])
    others = [gateway for gateway in maker.gateways if gateway is not first]
    await maker.updated(first)
    for gateway in others:
        await maker.look(gateway)

    maker.export()
    (shown,) = (await maker.rollout("step", *maker.from_ledgers, "--json")).json["rollouts"]
    assert shown["decision"]["because"] == "wave 2 of 2: 2 devices"
    assert sorted(maker.of(shown["decision"]["devices"]), key=lambda each: each.name) == others
    assert [gateway.release for gateway in others] == ["1.0.0", "1.0.0"]
    code, found = await maker.remediation()
    assert (code, found["closed"]) == (1, False)

    await asyncio.gather(*(maker.updated(gateway) for gateway in others))
    maker.export()
    both = (*maker.from_ledgers, *maker.from_collector)
    (shown,) = (await maker.rollout("step", *both, "--json")).json["rollouts"]
    assert (shown["stage"], shown["totals"]["results"]["attested"]) == ("done", 3)
    code, found = await maker.remediation(*maker.from_collector)
    assert (code, found["closed"]) == (0, True)
    assert {each["outcome"] for each in found["devices"]} == {"attested_fixed"}
    for each in found["devices"]:
        times = list(each["times"].values())
        assert None not in times
        assert times[2:] == sorted(times[2:])

    fleet = json.loads((maker.folder / "fleet.json").read_text())
    (maker.folder / "fleet.json").write_text(json.dumps({"devices": fleet["devices"][1:]}))
    code, refused = await maker.remediation()
    assert (code, refused["error"]["code"]) == (1, "fleet-incomplete")


async def test_a_broken_release_halts_after_its_first_wave_and_who_took_it_is_recovered(maker: Desk) -> None:
    """By what the collector keeps; then the mended release goes on to the rest."""
    broken = replace(release("1.1.0"), version="1.0.5", image=b"no image at all")
    await started(maker, "broken", await maker.publish(broken))
    (shown,) = (await maker.rollout("step", *maker.from_collector, "--json")).json["rollouts"]
    (first,) = maker.of(shown["decision"]["devices"])
    others = [gateway for gateway in maker.gateways if gateway is not first]
    await maker.updated(first, "failed")
    assert first.release == "1.0.0"
    known = maker.collector.registry
    await eventually(lambda: (claim := known.known(first.device).claimed) is not None and claim.state == "failed")

    called = await maker.rollout("step", *maker.from_collector, "--json")
    (shown,) = called.json["rollouts"]
    assert (called.code, shown["stage"]) == (1, "halted")
    assert shown["decision"]["because"].startswith("wave 1: 1 of 1 that reported failed, of 1 directed")
    assert len(shown["published"]["withdrawn"]) == 1
    seen = [await maker.look(gateway) for gateway in maker.gateways]

    mended = await maker.publish(replace(release("1.1.0"), sequence=3))
    fleet = ("--fleet", maker.folder / "fleet.json", *maker.from_collector)
    called = await maker.rollout("recover", "--release", mended, *fleet, "--reason", "1.0.5 does not boot", "--json")
    (shown,) = called.json["rollouts"]
    assert (shown["purpose"], shown["waves"][0]["devices"]) == ("recovery", 1)
    recovery = shown["name"]
    (shown,) = (await maker.rollout("step", recovery, *maker.from_collector, "--json")).json["rollouts"]
    assert maker.of(shown["published"]["directed"]) == [first]
    await maker.updated(first)
    assert known.known(first.device).judged.release == "1.1.0"  # type: ignore[union-attr]
    (shown,) = (await maker.rollout("step", recovery, *maker.from_collector, "--json")).json["rollouts"]
    assert (shown["stage"], shown["totals"]["results"]["attested"]) == ("done", 1)

    for mark, gateway in zip(seen, maker.gateways, strict=True):
        said = [heard.payload.fields["version"] for heard in maker.observer.heard[mark:]
                if heard.is_event(gateway.device, "update") and heard.payload]  # fmt: skip
        assert "1.0.5" not in said, "it was withdrawn"
    await others[0].agent.control("consent", {"cause": "opt-out"}, 1000)  # type: ignore[union-attr]
    for gateway in others:
        assert (await maker.collector.challenger.challenge(gateway.device)).error is None
        await maker.scene(gateway).event("attestation")
    code, found = await maker.remediation()
    outcomes = {each["serial"]: (each["outcome"], each["reason"]) for each in found["devices"]}
    assert (code, outcomes) == (
        1,
        {
            first.order.serial: ("attested_fixed", "a verdict proves that 1.1.0 booted"),
            others[0].order.serial: ("opted_out", "its user opted out"),
            others[1].order.serial: (None, "it has not been notified of a fix"),
        },
    )

    await eventually(lambda: (claim := known.known(others[0].device).claimed) is not None and claim.wish == "opted_out")
    await others[0].agent.control("consent", {"cause": "opt-in"}, 1000)  # type: ignore[union-attr]

    await started(maker, "mended", mended)
    directed = []
    for _ in range(2):
        (shown,) = (await maker.rollout("step", "mended", *maker.from_collector, "--json")).json["rollouts"]
        directed += maker.of(shown["published"]["directed"])
        await asyncio.gather(*(maker.updated(gateway) for gateway in maker.of(shown["published"]["directed"])))
    assert sorted(directed, key=lambda each: each.name) == others
    (shown,) = (await maker.rollout("step", "mended", *maker.from_collector, "--json")).json["rollouts"]
    assert shown["stage"] == "done"
    code, found = await maker.remediation()
    assert (code, found["closed"]) == (0, True)


async def test_a_halt_reaches_who_waits_and_is_no_failure(maker: Desk) -> None:
    """The release is staged, and the ward is busy; when somebody resumes, it is directed again."""
    ward = maker.folder / "busy"
    ward.touch()
    maker.site.update_settings = f'busy_command = "test ! -e {ward}"'
    await started(maker, "all", await maker.publish(release("1.1.0")))
    (shown,) = (await maker.rollout("step", *maker.from_collector, "--json")).json["rollouts"]
    (first,) = maker.of(shown["decision"]["devices"])
    scene = maker.scene(first)
    await first.reboot()
    mark = await maker.look(first)
    await scene.said(topics.State(first.device, "update"), since=mark, state="staged", held_by="busy")

    (shown,) = (await maker.rollout("halt", "all", "--reason", "alarms", "--json")).json["rollouts"]
    assert maker.of(shown["published"]["withdrawn"]) == [first]
    mark = await maker.look(first)
    told = await scene.event("update", since=mark, state="withdrawn")
    assert (told["outcome"], told["reason"]) == ("withdrawn", "update-withdrawn")
    await scene.event("update-refused", since=mark, code="update-withdrawn")
    for source in (maker.from_ledgers, maker.from_collector):
        maker.export()
        (shown,) = (await maker.rollout("status", *source, "--json")).json["rollouts"]
        assert (shown["totals"]["failed"], shown["totals"]["results"]["under_way"]) == (0, 1)
        called = await maker.rollout(
            "recover", "--release", shown["release"], "--fleet", maker.folder / "fleet.json", *source
        )
        assert called.out == "no device is in quarantine\n"
    _, found = await maker.remediation()
    assert [each["reason"] for each in found["devices"] if each["serial"] == first.order.serial] == [
        "the fix is withdrawn"
    ]

    ward.unlink()
    assert (await maker.rollout("resume", "all", "--reason", "a false alarm", *maker.from_collector)).code == 0
    (shown,) = (await maker.rollout("step", "all", *maker.from_collector, "--json")).json["rollouts"]
    assert maker.of(shown["published"]["directed"]) == [first]
    await maker.updated(first)


async def test_a_device_that_lies_about_what_it_installed_proves_nothing(maker: Desk) -> None:
    """It writes into its ledger that it started the fix in this boot, and is judged well: by what it runs instead."""
    target = await maker.publish(release("1.1.0"))
    await started(maker, "all", target)
    (shown,) = (await maker.rollout("step", *maker.from_collector, "--json")).json["rollouts"]
    (liar,) = maker.of(shown["decision"]["devices"])
    scene, mark = maker.scene(liar), await maker.look(liar)
    await scene.event("update", since=mark, state="activated")
    assert liar.agent is not None
    updating, record = liar.agent.updating, liar.agent.standing.update
    assert updating is not None
    assert record is not None
    for cause in (Cause.BOOT, Cause.SELF_CHECK):
        record = await updating._move(record, cause)
    assert (await maker.collector.challenger.challenge(liar.device)).error is None
    await scene.event("update", since=mark, state="closed")

    code, found = await maker.remediation(*maker.from_collector)
    outcome = next(each["outcome"] for each in found["devices"] if each["serial"] == liar.order.serial)
    assert (code, outcome, found["closed"]) == (1, "installed_unattested", False)
    for source in (maker.from_ledgers, maker.from_collector):
        (shown,) = (await maker.rollout("status", *source, "--json")).json["rollouts"]
        assert shown["waves"][0]["results"]["installed_unattested"] == 1


async def test_a_ledger_that_does_not_hold_is_told_and_believed_in_nothing(maker: Desk) -> None:
    target = await maker.publish(release("1.1.0"))
    await started(maker, "all", target)
    maker.export()
    lives = maker.folder / "lives"
    whole = (lives / "gw1.cbor").read_bytes()
    bundle = Bundle.parse(whole)
    edited = replace(bundle.entries[0], statement=bundle.entries[0].statement[:-1] + b"\0")
    (lives / "gw1.cbor").write_bytes(replace(bundle, entries=(edited, *bundle.entries[1:])).encode())
    (lives / "notes.cbor").write_bytes(b"no ledger")
    called = await maker.rollout("status", *maker.from_ledgers)
    assert f"the ledger of {maker.gateways[0].device} does not hold: ledger-entry-forged (entry 0)" in called.out
    assert "the ledger of notes.cbor does not hold: cbor-truncated (offset 1)" in called.out
    (lives / "gw1-again.cbor").write_bytes(whole)
    called = await maker.rollout("status", *maker.from_ledgers)
    assert maker.gateways[0].device not in called.out, "another copy of it holds"
