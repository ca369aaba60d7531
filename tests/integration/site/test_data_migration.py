"""The product's data through updates that come through, and back to the old slot from those that do not.

The product keeps pulses of patients in a database that both slots share. Release 1.1.0 has them as rates.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from medvouch.adapters.tss import TssTpm
from medvouch.daemon.data_migration import DataMigration
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.data_format import DataFormat, DataState
from medvouch_sim.publisher import Release
from support.sites import eventually
from support.store import ledger
from support.updating import Updatable, release, updatable

MIGRATE = """
import os, sqlite3, sys, time
folder, half, old, new = sys.argv[1:]
database = sqlite3.connect(f"{folder}/pulses.db", isolation_level=None)
with open(f"{folder}/calls", "a") as calls:
    print(half, old, new, file=calls)
columns = {row[1] for row in database.execute("PRAGMA table_info(pulses)")}
if half == "expand" and "rate" not in columns:
    database.execute("ALTER TABLE pulses ADD COLUMN rate REAL")
if os.path.exists(f"{folder}/fails"):
    raise SystemExit(3)
database.execute("UPDATE pulses SET rate = pulse / 60.0 WHERE rate IS NULL")
if half == "contract":
    database.execute("ALTER TABLE pulses DROP COLUMN pulse")
while os.path.exists(f"{folder}/waits"):
    time.sleep(0.01)
"""
NEXT = replace(release("1.1.0"), data=DataFormat(writes=1, reads=0, readable_by=0))


@dataclass
class Product:
    """What runs beside the agent, in both versions; `folder` is on the partition for data."""

    folder: Path

    def command(self, script: Path) -> str:
        script.write_text(MIGRATE)
        return f'migrate_command = "{sys.executable} {script} {self.folder}"'

    def run(self, statement: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.folder / "pulses.db")) as database, database:
            return database.execute(statement).fetchall()

    def old_writes(self, patient: str, pulse: int) -> None:
        self.run(f"INSERT INTO pulses (patient, pulse) VALUES ('{patient}', {pulse})")

    @property
    def old_reads(self) -> list[tuple[object, ...]]:
        return self.run("SELECT patient, pulse FROM pulses ORDER BY patient")

    @property
    def new_reads(self) -> list[tuple[object, ...]]:
        """Nothing before there are rates."""
        expanded = "rate" in {row[1] for row in self.run("PRAGMA table_info(pulses)")}
        return self.run("SELECT patient, rate FROM pulses ORDER BY patient") if expanded else []

    @property
    def calls(self) -> list[str]:
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def has(self, flag: str) -> Path:
        (path := self.folder / flag).touch()
        return path


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    async with updatable(tmp_path) as scene:
        yield scene


@pytest.fixture
def product(scene: Updatable, tmp_path: Path) -> Product:
    product = Product(scene.gateway.machine.directory / "data")
    product.folder.mkdir()
    scene.site.update_settings = product.command(tmp_path / "migrate.py")
    product.run("CREATE TABLE pulses (patient TEXT NOT NULL, pulse INTEGER)")
    product.old_writes("a", 60)
    return product


def state(scene: Updatable) -> DataState:
    return scene.agent.standing.data_state


async def fallen_back(scene: Updatable, since: int, reason: str) -> None:
    """The new slot has failed, and the old one is up."""
    assert (await scene.update("failed", since=since))["reason"] == reason
    slots = scene.gateway.slots
    await eventually(lambda: slots.record().states[slots.other() if slots.running() == "a" else "b"] == "bad")
    await scene.gateway.reboot()
    assert scene.gateway.release == "1.0.0"


async def test_expanded_before_it_is_confirmed_and_contracted_once_it_is_closed(
    scene: Updatable, product: Product
) -> None:
    mark = await scene.installed(NEXT)
    assert await scene.event("data-migrated", since=mark) == {"cause": "expand", "before": 0, "after": 1}
    assert (product.old_reads, product.new_reads) == ([("a", 60)], [("a", 1.0)])
    assert (product.calls, state(scene)) == (["expand 0 1"], DataState(0, 0, "expand 1"))
    mark = scene.mark
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    assert await scene.event("data-migrated", since=mark) == {"cause": "contract", "before": 0, "after": 1}
    assert product.new_reads == [("a", 1.0)]
    with pytest.raises(sqlite3.OperationalError, match="no such column: pulse"):
        _ = product.old_reads
    assert (product.calls, state(scene)) == (["expand 0 1", "contract 0 1"], DataState(1, 1, "contract 1"))
    steps = [(step.after, step.cause) for step in ledger(scene) if step.machine in ("data", "update")]
    assert steps[-5:] == [
        ("booted", "boot"), ("expand 1", "expand"), ("self_checked", "self-check"), ("closed", "close"),
        ("contract 1", "contract"),
    ]  # fmt: skip
    mark = await scene.directed(replace(release("1.1.0"), version="1.2.0", sequence=3))
    refused = await scene.turned_down("data-unreadable", since=mark)
    assert refused["detail"] == "it reads formats 0 to 0, the data holds 1, needs 1"
    assert len(product.calls) == 2


async def test_a_self_check_that_fails_after_the_migration(scene: Updatable, product: Product) -> None:
    """The new slot migrates, then measures what no release has; the old one comes up and reads its data."""
    await scene.activated(NEXT)
    mark, waits = scene.mark, product.has("waits")
    await scene.gateway.reboot()
    await eventually(lambda: product.new_reads == [("a", 1.0)])
    with TssTpm(scene.gateway.tpm.tcti()) as tpm:
        tpm.pcr_extend(13, {HashAlg.SHA256: bytes(32)})
    waits.unlink()
    await scene.event("data-migrated", since=mark)
    await fallen_back(scene, mark, "pcr-unexplained")
    assert product.old_reads == [("a", 60)]
    product.old_writes("b", 120)
    assert product.old_reads == [("a", 60), ("b", 120)]
    await scene.installed(replace(NEXT, sequence=3))
    assert product.new_reads == [("a", 1.0), ("b", 2.0)]


@pytest.mark.parametrize(("flag", "said"), [("fails", "exit status 3"), ("waits", "it was ended after 1 s")])
async def test_a_migration_that_fails(scene: Updatable, product: Product, flag: str, said: str) -> None:
    """Half way, with the table changed; or never."""
    scene.site.update_settings += "\nmigrate_timeout = 1"
    await scene.activated(NEXT)
    mark = scene.mark
    product.has(flag)
    await scene.gateway.reboot()
    await fallen_back(scene, mark, "data-migration-failed")
    assert product.old_reads == [("a", 60)]
    (failed,) = [step for step in ledger(scene) if step.after == "failed"]
    assert said in failed.detail
    assert "expand from format 0 to 1" in failed.detail


async def test_power_goes_in_the_middle_and_the_old_slot_goes_on(scene: Updatable, product: Product) -> None:
    """What the old release writes meanwhile is migrated at the second try."""
    await scene.activated(NEXT)
    product.has("waits")
    await scene.gateway.reboot()
    await eventually(lambda: product.new_reads == [("a", 1.0)])
    await scene.gateway.cut_power()
    mark = scene.mark
    (product.folder / "waits").unlink()
    await scene.gateway.boot()
    assert scene.gateway.release == "1.0.0"
    product.old_writes("b", 120)
    assert product.old_reads == [("a", 60), ("b", 120)]
    await scene.update("activated", since=mark)
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)
    assert product.calls == ["expand 0 1"] * 2
    assert product.new_reads == [("a", 1.0), ("b", 2.0)]


async def test_a_slot_whose_agent_never_came_up_may_have_written(scene: Updatable) -> None:
    """Nobody has seen it run; what is left there is taken to be as it says it writes."""
    mark = await scene.installed(NEXT)
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    await scene.update("closed", since=mark)
    await scene.activated(replace(NEXT, version="1.2.0", sequence=3, data=DataFormat(writes=2, reads=0, readable_by=1)))
    await scene.gateway.cut_power()
    scene.gateway.power_on()
    mark = scene.mark
    await scene.gateway.cut_power()
    await scene.gateway.boot()
    assert (await scene.update("failed", since=mark))["reason"] == "slot-fell-back"
    assert state(scene) == DataState(0, 1)
    older = replace(NEXT, version="1.0.9", sequence=4, data=DataFormat(writes=0))
    mark = await scene.directed(older)
    assert (await scene.turned_down("data-unreadable", since=mark))["place"] == "data"


async def test_a_system_that_is_not_the_release_s_touches_no_data(scene: Updatable, product: Product) -> None:
    await scene.activated(replace(NEXT, reference=release("1.0.0").reference or b""))
    mark = scene.mark
    await scene.gateway.reboot()
    assert (await scene.update("failed", since=mark))["reason"]
    assert product.calls == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (DataFormat(writes=2, reads=1, readable_by=0), "data-unreadable"),
        (DataFormat(writes=1, reads=0, readable_by=1), "data-not-readable-back"),
    ],
)
async def test_a_release_that_takes_the_way_back_is_not_fetched(scene: Updatable, data: DataFormat, code: str) -> None:
    mark = await scene.directed(replace(release("1.1.0"), data=data))
    assert (await scene.turned_down(code, since=mark))["place"] == "data"
    assert scene.agent.standing.update is None
    assert not any(path.endswith(".img") for path in scene.publisher.server.requests)


async def test_a_contraction_that_fails_is_a_problem_until_it_succeeds(scene: Updatable, product: Product) -> None:
    await scene.installed(NEXT)
    fails, mark = product.has("fails"), scene.mark
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    assert (await scene.event("update-held-up", since=mark))["code"] == "data-migration-failed"
    assert (await scene.state("health", since=mark, component="data"))["code"] == "data-migration-failed"
    assert state(scene) == DataState(0, 1, "expand 1")
    mark = scene.mark
    await scene.look()
    await eventually(lambda: len(product.calls) == 3)
    fails.unlink()
    await scene.look()
    await scene.event("data-migrated", since=mark, cause="contract")
    await scene.state("health", since=mark, state="ok")
    assert state(scene) == DataState(1, 1, "contract 1")
    assert [heard for heard in scene.observer.heard[mark:] if "held-up" in str(heard.topic)] == []


async def test_only_the_release_that_was_closed_contracts(
    scene: Updatable, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the old one, where somebody has started its slot since."""
    with monkeypatch.context() as patch:
        patch.setattr(DataMigration, "waits", False)
        mark = await scene.installed(NEXT)
        assert (await scene.collector.challenger.challenge(scene.device)).error is None
        await scene.update("closed", since=mark)
    slots = scene.gateway.slots
    slots.activate(slots.other())
    await scene.gateway.reboot()
    assert scene.gateway.release == "1.0.0"
    asked = len(scene.publisher.server.requests)
    await scene.look()
    await eventually(lambda: len(scene.publisher.server.requests) > asked)
    assert product.calls == ["expand 0 1"]
    assert product.old_reads == [("a", 60)]


async def test_a_product_without_a_command_sees_to_its_data_itself(scene: Updatable) -> None:
    indexed: Release = NEXT.indexed()
    await scene.installed(indexed)
    assert scene.agent.standing.data_installed == NEXT.data
    assert state(scene) == DataState(0, 0)
