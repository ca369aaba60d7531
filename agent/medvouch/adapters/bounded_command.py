"""A command that has so much time, and whose words are nobody's business here: they may tell of patients."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from contextlib import suppress

from medvouch.errors import EnvironmentFault


async def run_bounded(arguments: Sequence[str], timeout_s: float) -> None:
    """Run a program without a shell, in a session of its own, and wait for it.

    Whatever ends the waiting ends all of the session. EnvironmentFault `command-failed` where it cannot be started,
    ends with anything but 0 or takes longer.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise _failed(arguments, str(error)) from error
    try:
        async with asyncio.timeout(timeout_s):
            code = await process.wait()
    except TimeoutError:
        raise _failed(arguments, f"it was ended after {timeout_s:g} s") from None
    finally:
        await _ended(process)
    if code:
        raise _failed(arguments, f"exit status {code}")


async def _ended(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _failed(arguments: Sequence[str], why: str) -> EnvironmentFault:
    remedy = "mend the command in the configuration, and run it by hand"
    return EnvironmentFault("command-failed", f"{arguments[0]}: {why}", remedy=remedy)
