"""The agent and its helper as two processes: started as a service manager starts them, logs by way of the helper."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from support import programs, sites
from support.programs import ENVIRONMENT, PROGRAM, Installation
from support.sites import Scene

NONCE = "00112233445566778899aabbccddeeff"
USER = pwd.getpwuid(os.getuid()).pw_name


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with sites.scene(tmp_path) as scene:
        yield scene


@pytest_asyncio.fixture
async def device(scene: Scene, tmp_path: Path) -> AsyncIterator[Installation]:
    """Its agent asks the helper for logs; the helper reads them where the drop-in of the image says."""
    async with programs.installed(scene.gateway) as installation:
        folder = scene.gateway.config_path.parent / "conf.d"
        folder.mkdir()
        (folder / "10-installer.toml").write_text(f'[logs]\nhelper = "{tmp_path / "i.sock"}"\n')
        yield installation


@asynccontextmanager
async def helper(device: Installation, listener: socket.socket) -> AsyncIterator[asyncio.subprocess.Process]:
    """`medvouch installer`, the socket handed over as descriptor 3."""
    handed = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&0 </dev/null'
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", handed, "sh", *PROGRAM, "installer", "--config", str(device.gateway.config_path), "--user", USER,
        env=ENVIRONMENT, stdin=listener,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def test_logs_come_from_the_helper(scene: Scene, device: Installation, tmp_path: Path) -> None:
    await device.start()
    await device.healthy()
    config, evidence = device.gateway.config_path, tmp_path / "evidence.cbor"
    attest = ("attest", "--config", config, "--nonce", NONCE, "--out", evidence)

    alone = await device.call(*attest)
    assert (alone.code, alone.out) == (6, "")
    assert alone.err.startswith(f"medvouch: helper-unreachable: no helper answers on {tmp_path / 'i.sock'}: ")
    assert alone.err.count("\n") == 1
    assert await device.degraded("helper-unreachable") == 6

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "i.sock"))
        listener.listen()
        async with helper(device, listener):
            helped = await device.call(*attest)
            assert (helped.code, helped.err) == (0, "")
            await device.healthy()
    checked = await device.call("verify", evidence, "--trust", scene.site.trust_path, "--nonce", NONCE)
    assert (checked.code, checked.err) == (0, "")
    assert await device.stop() == 0


async def test_the_service_manager_hears_of_it(
    device: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n.sock"))
        manager.settimeout(30)
        monkeypatch.setitem(ENVIRONMENT, "NOTIFY_SOCKET", str(tmp_path / "n.sock"))
        monkeypatch.setitem(ENVIRONMENT, "WATCHDOG_USEC", "40000")
        await device.start()

        async def heard() -> bytes:
            return await asyncio.to_thread(manager.recv, 100)

        assert await heard() == b"READY=1"
        assert device.gateway.config_path.exists()
        assert [await heard(), await heard()] == [b"WATCHDOG=1", b"WATCHDOG=1"]
        stopping = asyncio.create_task(device.stop())
        while (told := await heard()) == b"WATCHDOG=1":
            pass
        assert told == b"STOPPING=1"
        assert await stopping == 0
