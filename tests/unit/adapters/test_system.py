from __future__ import annotations

import asyncio
import shlex
import time
from pathlib import Path

import pytest

from medvouch.adapters import system
from medvouch.adapters.system import ask_whether_busy, run_command
from medvouch.errors import EnvironmentFault
from support.processes import belonging_to, ended, until
from support.sites import eventually


def test_the_clock_is_the_systems() -> None:
    clock = system.SystemClock()
    before = time.time_ns() // 1_000_000
    assert before <= clock.now().ms <= before + 10_000
    assert clock.uptime_s() > 0


def test_a_clock_before_the_build_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_synchronised", lambda: True)
    assert system.SystemClock().now().ok
    monkeypatch.setattr(system, "BUILT_MS", 1 << 60)
    assert not system.SystemClock().now().ok


def test_an_unsynchronised_clock_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_synchronised", lambda: False)
    assert not system.SystemClock().now().ok


def test_the_kernel_is_asked() -> None:
    assert system._synchronised() in {True, False}


def test_entropy() -> None:
    entropy = system.SystemEntropy()
    assert len(entropy.bytes(33)) == 33
    assert entropy.bytes(32) != entropy.bytes(32)


# --- whether the clinical workload is busy ---------------------------------------------------------------------------


async def test_the_hook_says_so_with_its_exit_status(tmp_path: Path) -> None:
    flag = tmp_path / "an operation is under way"
    command = f"test ! -e {shlex.quote(str(flag))}"
    assert await ask_whether_busy(command) is False
    flag.touch()
    assert await ask_whether_busy(command) is True


@pytest.mark.parametrize("command", ["sh -c 'exit 2'", "sh -c 'kill -9 $$'", "/nowhere/hook", "sh -c 'unclosed"])
async def test_a_hook_that_says_something_else(command: str) -> None:
    with pytest.raises(EnvironmentFault) as caught:
        await ask_whether_busy(command)
    assert caught.value.code == "busy-unknown"


async def test_what_it_prints_counts_for_nothing() -> None:
    for status in (0, 1):
        script = f"head -c 300000 /dev/zero; echo free busy 0 1 >&2; exit {status}"
        assert await ask_whether_busy(f"sh -c {shlex.quote(script)}") is bool(status)


async def test_no_shell_looks_at_it() -> None:
    assert await ask_whether_busy("true && false") is False


async def test_a_hook_that_says_nothing_is_ended(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="no answer within 0"):
        await ask_whether_busy(f"sh -c 'sleep 300' {tmp_path}", timeout_s=0.1)
    assert belonging_to(tmp_path, apart_from="pytest") == []


async def test_a_command_that_never_ends_is_ended(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"command-failed: .*no answer within 0"):
        await run_command(f"sh -c 'sleep 300' {tmp_path}", timeout_s=0.1)
    assert belonging_to(tmp_path, apart_from="pytest") == []


async def test_who_stops_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    numbers = tmp_path / "pids"
    script = f"sleep 300 & echo $$ $! > {numbers}; wait"
    asked = asyncio.create_task(ask_whether_busy(f"sh -c {shlex.quote(script)}"))
    await eventually(lambda: numbers.exists() and numbers.read_text().endswith("\n"))
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    started = [int(number) for number in numbers.read_text().split()]
    assert len(started) == 2
    until(lambda: all(ended(number) for number in started))
