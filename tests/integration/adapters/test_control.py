from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters import control
from medvouch.adapters.control import Actor, ControlClient, ControlServer, RemoteError
from medvouch.errors import MedvouchError, NetworkFault, StorageFault, UsageFault


async def handle(name: str, args: Mapping[str, Any], actor: Actor) -> Mapping[str, Any]:
    if name == "refuse":
        raise StorageFault("state-full", "no room", place="here", remedy="make some")
    if name == "bug":
        raise KeyError("oops")
    return {"name": name, **args, "uid": actor.uid, "pid": actor.pid}


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    server = ControlServer(tmp_path / "run" / "control.sock", handle)
    await server.start()
    yield tmp_path / "run" / "control.sock"
    await server.close()


async def call(path: Path, name: str, **args: Any) -> dict[str, Any]:
    return await asyncio.to_thread(lambda: ControlClient(path).call(name, **args))


async def raw(path: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(line)
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_call_is_answered_and_the_kernel_names_the_actor(path: Path) -> None:
    answer = await call(path, "status", x=1)
    assert answer == {"name": "status", "x": 1, "uid": os.getuid(), "pid": os.getpid()}


def test_only_its_owner_may_call(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o700 == 0o700


async def test_the_agents_error_comes_through(path: Path) -> None:
    with pytest.raises(RemoteError) as caught:
        await call(path, "refuse")
    assert str(caught.value) == "state-full: no room (here); make some"
    assert caught.value.exit_code == 6
    assert MedvouchError.exit_code == 1


async def test_a_bug_of_the_agent_is_told(path: Path) -> None:
    with pytest.raises(RemoteError, match="control-failed: KeyError"):
        await call(path, "bug")


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b"[]\n",
        b'{"call": 1, "args": {}}\n',
        b'{"call": "status", "args": []}\n',
        b"no json\n",
        b"\xff\n",
        b"[" * 60_000 + b"\n",
        b"x" * 70_000 + b"\n",
    ],
)
async def test_what_is_no_call_is_refused(path: Path, line: bytes) -> None:
    assert b"control-malformed" in await raw(path, line)
    assert (await call(path, "status"))["name"] == "status"


async def test_a_caller_who_says_nothing_is_let_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_TIMEOUT_S", 0.05)
    assert b"control-malformed" in await raw(path, b'{"call"')


async def test_a_caller_who_leaves_early_does_no_harm(path: Path) -> None:
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.send(b'{"call": "status", "args": {}}\n')
    assert (await call(path, "status"))["name"] == "status"


async def test_no_agent_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NetworkFault) as caught:
        ControlClient(tmp_path / "none.sock").call("status")
    assert caught.value.code == "agent-not-running"
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)


async def test_an_agent_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CALL_TIMEOUT_S", 0.05)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute.sock"))
        mute.listen()
        with pytest.raises(NetworkFault, match="agent-silent"):
            ControlClient(tmp_path / "mute.sock").call("status")


@pytest.mark.parametrize("answer", [[], {}, {"result": 1}, {"error": {"code": "x"}}, {"error": "x"}, None])
async def test_something_else_that_answers(tmp_path: Path, answer: object) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(other, tmp_path / "other.sock"):
        with pytest.raises(NetworkFault, match="agent-unknown") as caught:
            await asyncio.to_thread(ControlClient(tmp_path / "other.sock").call, "status")
    assert caught.value.remedy


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied")])
def test_an_agent_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def denied(*_: object) -> None:
        raise error

    monkeypatch.setattr(socket.socket, "connect", denied)
    with pytest.raises(UsageFault, match="agent-not-yours"):
        ControlClient(tmp_path / "x").call("status")


async def test_a_second_agent_does_not_push_the_first_aside(path: Path) -> None:
    with pytest.raises(StorageFault, match="another agent listens"):
        await ControlServer(path, handle).start()
    assert (await call(path, "status"))["name"] == "status"


async def test_the_socket_of_a_killed_agent_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = ControlServer(path, handle)
    await server.start()
    assert (await call(path, "status"))["name"] == "status"
    await server.close()
    with pytest.raises(NetworkFault, match="agent-not-running"):
        await call(path, "status")


async def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFault, match="control-socket"):
        await ControlServer(tmp_path / "file" / "x.sock", handle).start()
