"""The host: its clock, its randomness, its commands."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import shlex
import signal
import time
from contextlib import suppress

from medvouch.errors import EnvironmentFault
from medvouch.ports import Timestamp

BUILT_MS = 1_793_000_000_000
"""No honest clock stands before this software was built (October 2026)."""
BUSY_TIMEOUT_S = 10.0
"""For who is asked whether the clinical workload is busy."""
COMMAND_TIMEOUT_S = 60.0
"""For what only asks for a restart."""
_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""
_TIMEX_BYTES = 256
"""More than struct timex has on any architecture; all zero asks and changes nothing."""


class SystemClock:
    """The kernel's clocks."""

    def now(self) -> Timestamp:
        """CLOCK_REALTIME; believed where the kernel says it is synchronised and it is not before the build."""
        ms = time.time_ns() // 1_000_000
        return Timestamp(ms, ms >= BUILT_MS and _synchronised())

    def uptime_s(self) -> int:
        """CLOCK_BOOTTIME, which counts suspended time too."""
        return int(time.clock_gettime(time.CLOCK_BOOTTIME))


class SystemEntropy:
    """The kernel's random number generator."""

    def bytes(self, size: int) -> bytes:
        """`size` bytes of getrandom(2)."""
        return os.urandom(size)


async def run_command(text: str, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
    """Run a command line without a shell, and wait for it.

    EnvironmentFault `command-failed` where it fails, and where it takes longer; it is ended then.
    """
    try:
        code = await _exit_status(text, timeout_s)
    except (OSError, ValueError) as error:
        raise _failed(text, str(error)) from error
    if code:
        raise _failed(text, f"exit status {code}")


async def ask_whether_busy(text: str, timeout_s: float = BUSY_TIMEOUT_S) -> bool:
    """Run a command line without a shell: exit status 0 is no, 1 is yes.

    EnvironmentFault `busy-unknown` for anything else, and where it takes longer; it is ended then.
    """
    try:
        code = await _exit_status(text, timeout_s)
    except (OSError, ValueError) as error:
        raise _unknown(text, str(error)) from error
    if code not in (0, 1):
        raise _unknown(text, f"exit status {code}")
    return code == 1


async def _exit_status(text: str, timeout_s: float) -> int:
    """OSError, ValueError where there is nothing to run; TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        *shlex.split(text), stdin=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        async with asyncio.timeout(timeout_s):
            return await process.wait()
    except TimeoutError:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from None
    finally:
        await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """With all that it started and did not put into sessions of their own."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _unknown(text: str, why: str) -> EnvironmentFault:
    remedy = "mend busy_command in the configuration; until then no update interrupts the device"
    return EnvironmentFault("busy-unknown", f"{text}: {why}", remedy=remedy)


def _failed(text: str, why: str) -> EnvironmentFault:
    remedy = "mend the command in the configuration, and run it by hand"
    return EnvironmentFault("command-failed", f"{text}: {why}", remedy=remedy)


def _synchronised() -> bool:
    state: int = _libc().adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= state < _TIME_ERROR


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
