from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from medvouch.adapters.bounded_command import run_bounded
from medvouch.errors import EnvironmentFault
from support.processes import belonging_to, until

SPAWNING = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", sys.argv[1]])
open(sys.argv[1], "w")
time.sleep(60)
"""


async def test_it_is_run_without_a_shell_and_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wrote = tmp_path / "$(wrote) it"
    program = "import sys; print('of a patient'); print('of a patient', file=sys.stderr); open(sys.argv[1], 'w')"
    await run_bounded([sys.executable, "-c", program, str(wrote)], 10)
    assert wrote.exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([sys.executable, "-c", "raise SystemExit(3)"], "exit status 3"),
        (["/nowhere/migrate", "expand"], "No such file"),
        (["a\0b"], "null byte"),
    ],
)
async def test_what_fails(arguments: list[str], why: str) -> None:
    with pytest.raises(EnvironmentFault, match="command-failed") as caught:
        await run_bounded(arguments, 10)
    assert caught.value.detail.startswith(arguments[0])
    assert why in caught.value.detail


@pytest.mark.parametrize("stopped", [False, True])
async def test_what_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path, stopped: bool) -> None:
    started = tmp_path / "started"
    command = [sys.executable, "-c", SPAWNING, str(started)]
    running = asyncio.create_task(run_bounded(command, 60 if stopped else 1))
    if stopped:
        await asyncio.to_thread(until, started.exists)
        running.cancel()
    with pytest.raises(asyncio.CancelledError if stopped else EnvironmentFault) as caught:
        await running
    assert stopped or "it was ended after 1 s" in str(caught.value)
    await asyncio.to_thread(until, lambda: belonging_to(tmp_path, "nothing") == [])
