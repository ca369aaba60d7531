"""What is told to a service manager, heard on a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from medvouch.adapters.service_manager import handed_over, keep_watchdog, notify, watchdog_s

ROOT = Path(__file__).resolve().parents[3]
ACCEPT = """
import os, sys
from medvouch.adapters.service_manager import handed_over
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[2]))
listener = handed_over()
print(listener.getsockname() if listener else None, os.get_inheritable(3))
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(10)
        yield receiver


def test_it_hears_of_it(manager: socket.socket) -> None:
    notify("READY=1", {"NOTIFY_SOCKET": manager.getsockname()})
    assert manager.recv(100) == b"READY=1"


def test_it_may_listen_on_an_abstract_address() -> None:
    name = f"medvouch-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(10)
        notify("STOPPING=1", {"NOTIFY_SOCKET": f"@{name}"})
        assert receiver.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("path", ["", "/nowhere/notify", "a" * 200, "a\0b"])
def test_where_nobody_hears_all_goes_on(path: str, caplog: pytest.LogCaptureFixture) -> None:
    notify("READY=1", {"NOTIFY_SOCKET": path})
    assert len(caplog.messages) == (path != "")
    notify("READY=1", {})


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_half_of_what_the_watchdog_allows(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_s(environment) == seconds


async def test_the_watchdog_hears_of_it_again_and_again(manager: socket.socket) -> None:
    keeping = asyncio.create_task(
        keep_watchdog({"WATCHDOG_USEC": "20000", "NOTIFY_SOCKET": manager.getsockname()}),
    )
    for _ in range(3):
        assert await asyncio.to_thread(manager.recv, 100) == b"WATCHDOG=1"
    keeping.cancel()


async def test_without_a_watchdog_nothing_is_kept() -> None:
    await asyncio.wait_for(keep_watchdog({}), 10)


@pytest.mark.parametrize(("offset", "fds", "taken"), [(0, "1", True), (1, "1", False), (0, "2", False)])
def test_a_socket_meant_for_this_process_is_taken(tmp_path: Path, offset: int, fds: str, *, taken: bool) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        command = [sys.executable, "-c", ACCEPT, str(listener.fileno()), str(offset)]
        environment = {"PYTHONPATH": str(ROOT / "agent"), "LISTEN_FDS": fds}
        run = subprocess.run(
            command, env=environment, pass_fds=[listener.fileno()], capture_output=True, text=True, check=True
        )
    assert run.stdout == (f"{tmp_path / 's'} False\n" if taken else "None True\n")


def test_without_one_there_is_none() -> None:
    assert handed_over({}) is None
