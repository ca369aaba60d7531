"""Where updates come from: mirrors, a stick, through a proxy; and how they come: piece by piece, and resumed."""

from __future__ import annotations

import logging
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from medvouch.adapters import slots as slots_adapter
from medvouch.cli.config import load
from medvouch.daemon.delivery import INDEX_KEY, JOURNAL_KEY
from medvouch.errors import InputError
from medvouch_sim.repository_server import Exchange, RepositoryServer
from support.proxies import ProxyServer
from support.sites import eventually
from support.updating import Updatable, release, updatable

IMAGE = "images/1.1.0.img"


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    async with updatable(tmp_path) as scene:
        yield scene


def publish(scene: Updatable, *, indexed: bool = False) -> None:
    made = release("1.1.0").indexed() if indexed else release("1.1.0")
    scene.publisher.publish(made)
    scene.publisher.direct(scene.gateway.entry.ek_hash, made)


async def activated(scene: Updatable) -> None:
    mark = scene.mark
    await scene.look()
    await scene.update("activated", since=mark)


async def test_what_the_active_slot_has_is_not_fetched(scene: Updatable) -> None:
    publish(scene, indexed=True)
    await activated(scene)
    sent = sum(size for path, size in scene.publisher.server.sent if path == IMAGE)
    assert sent == len(release("1.1.0").image) // 4096 * 4096, "the fixtures have their last block in common"
    assert f"{IMAGE}.blocks" in scene.publisher.server.requests
    mark = scene.mark
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)
    store = scene.agent._store
    assert (store.get(JOURNAL_KEY), store.get(INDEX_KEY)) == (None, None)


async def test_an_index_of_another_image_fails_the_update(scene: Updatable) -> None:
    other = replace(release("1.1.0"), index=replace(release("1.0.0"), image=b"x" * 5000).indexed().index)
    mark = await scene.directed(other)
    assert (await scene.update("failed", since=mark))["reason"] == "blocks-mismatch"


async def test_an_index_that_is_larger_than_any(scene: Updatable) -> None:
    huge = replace(release("1.1.0"), index=bytes(5 << 20))
    mark = await scene.directed(huge)
    await scene.turned_down("blocks-mismatch", since=mark)
    assert scene.agent.standing.update is None


async def test_an_index_from_somewhere_else(scene: Updatable, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed = release("1.1.0").indexed()
    real = scene.publisher._others
    monkeypatch.setattr(
        scene.publisher,
        "_others",
        lambda made: [replace(each, uri="https://elsewhere.example/x") for each in real(made)],
    )
    mark = await scene.directed(indexed)
    await scene.turned_down("url-not-allowed", since=mark)


async def test_after_a_power_cut_it_goes_on_where_it_was(
    scene: Updatable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_adapter, "CHECKPOINT_BYTES", 4096)
    monkeypatch.setattr(slots_adapter, "CHECKPOINT_SHARE", 0)
    monkeypatch.setattr("medvouch.adapters.http.CHUNK_BYTES", 4096)
    publish(scene)
    image = release("1.1.0").image

    def half(exchange: Exchange) -> None:
        exchange.head(200, Content_Length=str(len(image)))
        exchange.body(image[:20_000])

    scene.publisher.server.misbehave(IMAGE, half)
    mark = scene.mark
    await scene.look()
    await scene.event("update-held-up", since=mark)
    scene.publisher.server.behave()
    mark = scene.mark
    await scene.gateway.cut_power()
    await scene.gateway.boot()
    await scene.update("activated", since=mark)
    sent = sum(size for path, size in scene.publisher.server.sent if path == IMAGE)
    assert len(image) - 20_000 <= sent < len(image) - 12_000


# --- places -----------------------------------------------------------------------------------------------------------


async def test_a_site_of_its_own_without_the_internet(scene: Updatable) -> None:
    """The mirror has all of it; nobody can reach the repository that the manifest names."""
    publish(scene)
    with RepositoryServer(scene.publisher.directory) as mirror:
        await scene.with_settings(f'mirrors = ["{mirror.url}/"]')
        with scene.publisher.server.unreachable():
            await activated(scene)
        assert IMAGE in mirror.requests


async def test_a_mirror_that_was_left_alone_is_passed_over(scene: Updatable, tmp_path: Path) -> None:
    """It shows a state from before: rolled back. The repository itself has the update."""
    await scene.look()
    shutil.copytree(scene.publisher.directory, tmp_path / "old")
    publish(scene)
    await activated(scene)
    await scene.gateway.reboot()
    with RepositoryServer(tmp_path / "old") as mirror:
        await scene.with_settings(f'mirrors = ["{mirror.url}/"]')
        again = replace(release("1.1.0"), sequence=3, version="1.1.0")
        assert (await scene.collector.challenger.challenge(scene.device)).error is None
        mark = scene.mark
        scene.publisher.publish(again)
        scene.publisher.direct(scene.gateway.entry.ek_hash, again)
        await scene.look()
        await scene.update("activated", since=mark)
        assert "metadata/timestamp.json" in mirror.requests


@pytest.mark.parametrize("lacking", [False, True])
@pytest.mark.parametrize("spoiled", ["metadata/*directives*.json", "targets/*trust.cbor", "targets/**/*release.suit"])
async def test_a_mirror_that_spoils_or_lacks_one_file_is_passed_over(
    scene: Updatable, tmp_path: Path, spoiled: str, lacking: bool
) -> None:
    """All above that file is as it was signed, so that the mirror is believed until then."""
    publish(scene)
    shutil.copytree(scene.publisher.directory, tmp_path / "bad")
    files = [*(tmp_path / "bad").glob(spoiled)]
    assert files
    for file in files:
        file.unlink() if lacking else file.write_bytes(b"x" * file.stat().st_size)
    with RepositoryServer(tmp_path / "bad") as mirror:
        await scene.with_settings(f'mirrors = ["{mirror.url}/"]')
        await activated(scene)
        asked = {path.rpartition("/")[2] for path in mirror.requests}
        assert asked & {file.name for file in files}


async def test_what_no_place_has_right_is_told_by_its_reason(scene: Updatable, tmp_path: Path) -> None:
    """The mirror is rolled back, and the repository is away: the first is what somebody has to look at."""
    shutil.copytree(scene.publisher.directory, tmp_path / "old")
    publish(scene)
    await activated(scene)
    await scene.gateway.reboot()
    with RepositoryServer(tmp_path / "old") as mirror:
        await scene.with_settings(f'mirrors = ["{mirror.url}/"]')
        assert (await scene.collector.challenger.challenge(scene.device)).error is None
        mark = scene.mark
        with scene.publisher.server.unreachable():
            await scene.look()
            await scene.turned_down("repository-rolled-back", since=mark)


async def test_from_a_stick(scene: Updatable, tmp_path: Path) -> None:
    """A user of the machine names its directory; the network is not asked, and nobody has to be there."""
    publish(scene)
    stick = tmp_path / "usb stick"
    shutil.copytree(scene.publisher.directory, stick)
    mark = scene.mark
    with scene.publisher.server.unreachable():
        await scene.agent.control("update", {"from": str(stick)}, 0)
        await scene.update("activated", since=mark)


async def test_a_stick_is_held_to_the_same_checks(scene: Updatable, tmp_path: Path) -> None:
    publish(scene)
    stick = tmp_path / "stick"
    shutil.copytree(scene.publisher.directory, stick)
    data = bytearray((stick / IMAGE).read_bytes())
    data[100] ^= 1
    (stick / IMAGE).write_bytes(data)
    mark = scene.mark
    await scene.agent.control("update", {"from": str(stick)}, 0)
    assert (await scene.update("failed", since=mark))["reason"] == "payload-mismatch"
    (stick / "metadata" / "timestamp.json").write_bytes(b"{}")
    mark = scene.mark
    await scene.agent.control("update", {"from": str(stick)}, 0)
    await scene.turned_down("metadata-malformed", since=mark)
    mark = scene.mark
    await scene.agent.control("update", {"from": str(tmp_path / "nothing")}, 0)
    assert (await scene.event("update-held-up", since=mark))["code"] == "fetch-not-found"


@pytest.mark.parametrize("place", ["relative", 7, "/with\nnewline"])
async def test_what_is_no_directory(scene: Updatable, place: object) -> None:
    with pytest.raises(InputError, match="call-malformed"):
        await scene.agent.control("update", {"from": place}, 0)


async def test_through_a_proxy(scene: Updatable, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What it wants to hear is told to nobody else."""
    caplog.set_level(logging.DEBUG)
    publish(scene)
    (tmp_path / "credentials").write_text("agent:swordfish\n", encoding="utf-8")
    with ProxyServer("agent:another") as proxy:
        lines = f'proxy = "http://127.0.0.1:{proxy.port}/"\nproxy_credentials = "{tmp_path / "credentials"}"'
        mark = scene.mark
        await scene.with_settings(lines)
        assert (await scene.event("update-held-up", since=mark))["code"] == "fetch-proxy"
        proxy.credentials = "agent:swordfish"
        await activated(scene)
        assert f"{scene.publisher.server.url}/{IMAGE}" in proxy.asked
    said = f"{caplog.text} {scene.observer.heard}"
    assert "fetch-proxy" in said
    for secret in ("swordfish", b64encode(b"agent:swordfish").decode()):
        assert secret not in said


# --- when -------------------------------------------------------------------------------------------------------------


async def test_a_fleet_does_not_look_at_one_time(scene: Updatable) -> None:
    """With jitter an agent does not look as it starts; asked for, it does at once."""
    before = len(scene.publisher.server.requests)
    await scene.with_settings("")
    await eventually(lambda: len(scene.publisher.server.requests) > before)
    publish(scene)
    scene.site.update_settings = ""
    looked = None
    gateway = scene.gateway
    real = gateway.config

    def jittered() -> object:
        nonlocal looked
        if looked is None:  # the agent before, which may have been looking just now, is gone
            looked = len(scene.publisher.server.requests)
        real()
        text = gateway.config_path.read_text(encoding="utf-8").replace("jitter = 0", "jitter = 86400")
        gateway.config_path.write_text(text, encoding="utf-8")
        return load(gateway.config_path)

    gateway.config = jittered  # type: ignore[assignment, method-assign]
    mark = scene.mark
    await gateway.reboot()
    await scene.state("health", since=mark)
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    assert len(scene.publisher.server.requests) == looked
    await activated(scene)
