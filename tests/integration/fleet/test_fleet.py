"""A fleet whose workers run in this process: what they tell each other, and what becomes of gateways that fail."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from rich.console import Console

from medvouch.errors import TpmFault
from medvouch_sim.fleet.report import FAILED, Report
from medvouch_sim.fleet.run import Fleet, Order
from medvouch_sim.fleet.shard import Channel, Message, Shard
from medvouch_sim.fleet.worker import BUG, Worker
from medvouch_sim.gateway import Gateway
from medvouch_sim.site import Site
from support.sites import eventually, reference


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site", [reference()])


@asynccontextmanager
async def at_work(site: Site, share: range, rogues: Collection[int] = ()) -> AsyncIterator[Shard]:
    """A worker as a task; its line ends at the end."""
    ours, theirs = socket.socketpair()
    worker = Worker(site, site.directory / "gateways", rogues)
    task = asyncio.create_task(worker.run(Channel(theirs), share))
    try:
        yield Shard(share, Channel(ours))
    finally:
        with contextlib.suppress(OSError):
            ours.shutdown(socket.SHUT_RDWR)
        await task


async def run(site: Site, *shards: Shard, devices: int) -> tuple[Report, str]:
    console = Console(file=io.StringIO(), width=100)
    report = await Fleet(site, Order(devices, len(shards), site.directory), list(shards), console).run()
    assert isinstance(console.file, io.StringIO)
    return report, console.file.getvalue()


async def test_shards_do_not_change_what_comes_of_whom(site: Site) -> None:
    async with at_work(site, range(0, 4, 2), {3}) as even, at_work(site, range(1, 4, 2), {3}) as odd:
        report, told = await run(site, even, odd, devices=4)
    assert [(fate.index, fate.enrolled, fate.status) for fate in report.fates] == [
        (0, True, "affirming"),
        (1, True, "affirming"),
        (2, True, "affirming"),
        (3, False, FAILED),
    ]
    assert report.codes == {"enrolment-refused": 1}
    assert report.processes == 2
    assert "attested 4/4, 1 failed" in told
    assert all(fate.device for fate in report.fates)


async def test_one_that_cannot_be_built_and_one_that_does_not_boot_end_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(gateway: Gateway) -> None:
        if gateway.name == "00001":
            raise TpmFault("tpm-unreachable", "broken")
        power_on(gateway)

    def crooked(gateway: Gateway, vendor: object) -> object:
        if gateway.name == "00000":
            raise ZeroDivisionError
        return manufacture(gateway, vendor)

    power_on, manufacture = Gateway.power_on, Gateway._manufacture
    monkeypatch.setattr(Gateway, "power_on", refuses)
    monkeypatch.setattr(Gateway, "_manufacture", crooked)
    async with at_work(site, range(3)) as shard:
        report, told = await run(site, shard, devices=3)
    assert [(fate.code, fate.detail) for fate in report.fates] == [
        (BUG, "ZeroDivisionError()"),
        ("tpm-unreachable", "broken"),
        ("", ""),
    ]
    assert "built 3/3, 1 failed" in told


async def test_a_process_that_is_gone_fails_what_it_had(site: Site) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    async with at_work(site, range(0, 2, 2)) as shard:
        report, _ = await run(site, shard, Shard(range(1, 2), Channel(ours)), devices=2)
    assert [fate.code for fate in report.fates] == ["", "process-ended"]


async def test_an_agent_that_ends_after_its_verdict_was_not_well(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ended(gateway: Gateway) -> None:
        if gateway.name == "00000":
            await eventually(lambda: verdict_at_home(gateway))
            raise TpmFault("tpm-unreachable", "pulled out")
        await endless.wait()

    def slow(_pid: int) -> int:
        told.wait(20)
        return 1

    endless, told = asyncio.Event(), threading.Event()
    heard = Fleet._heard

    def hearing(fleet: Fleet, message: Message, shard: Shard) -> None:
        heard(fleet, message, shard)
        if "failed" in message:
            told.set()

    monkeypatch.setattr(Gateway, "ended", ended)
    monkeypatch.setattr(Fleet, "_heard", hearing)
    monkeypatch.setattr("medvouch_sim.fleet.run.tree_kib", slow)
    async with at_work(site, range(2)) as shard:
        report, _ = await run(site, shard, devices=2)
    assert [(fate.status, fate.code) for fate in report.fates] == [(FAILED, "tpm-unreachable"), ("affirming", "")]
    assert report.fates[0].enrolled


def verdict_at_home(gateway: Gateway) -> bool:
    service = gateway.agent.service if gateway.agent else None
    return service is not None and service.status()["attestation"] is not None
