"""What systemd and its like agree on with a service: readiness, a watchdog, a socket handed over."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)

FIRST_SOCKET = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""


def notify(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Tell the service manager, as of sd_notify(3): `READY=1`, `STOPPING=1`, `WATCHDOG=1`. Nothing where none asked.

    That it cannot be told is logged only: what follows is its decision.
    """
    path = environment.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.sendto(state.encode(), address)
    except (OSError, ValueError) as error:
        log.warning("service manager not told %s: %s", state, error)


def watchdog_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often the watchdog has to hear of this process: half of WATCHDOG_USEC, sd_watchdog_enabled(3), or None."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or not _meant(environment.get("WATCHDOG_PID")):
        return None
    return int(microseconds) / 2_000_000


async def keep_watchdog(environment: Mapping[str, str] = os.environ) -> None:
    """Tell the watchdog as long as this event loop turns; ends at once where none waits."""
    period = watchdog_s(environment)
    while period is not None:
        notify("WATCHDOG=1", environment)
        await asyncio.sleep(period)


def handed_over(environment: Mapping[str, str] = os.environ) -> socket.socket | None:
    """The one listening socket of sd_listen_fds(3), or None where none was handed over."""
    pid = environment.get("LISTEN_PID")
    if pid is None or not _meant(pid) or environment.get("LISTEN_FDS") != "1":
        return None
    os.set_inheritable(FIRST_SOCKET, False)
    return socket.socket(fileno=FIRST_SOCKET)


def _meant(pid: str | None) -> bool:
    """Whether a variable is for this process, and not inherited from one that forgot to clear it."""
    return pid is None or pid == str(os.getpid())
