"""Firmware through fwupd: its client `fwupdmgr` gets a cabinet, and says as JSON what came of it.

Which device a cabinet is for, whether its maker signed it, and how the device takes it (a capsule that the firmware
applies at its next start, for one), is fwupd's to know. Older firmware than what runs it does not install.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvouch.adapters.files import write_chunks_durably
from medvouch.errors import EnvironmentFault, MissingPart, Refusal
from medvouch.update import refusals

INSTALL_S = 900.0
"""For the whole of an installation; a dock takes minutes."""
MAX_SAID = 1 << 20

_DOMAIN = "FwupdError"
_VERSION_SAME, _ALREADY_PENDING = 2, 3
_DONE = {_VERSION_SAME, _ALREADY_PENDING}
_LATER = {0, 4, 5, 6, 12, 13, 14, 15, 16, 17, 19, 20, 21}
"""FwupdError (libfwupd, fwupd-error.h): internal, auth-failed, read, write, ac-power-required, permission-denied,
broken-system, battery-level-too-low, needs-user-action, auth-expired, timed-out, busy, not-reachable. All else is about
the cabinet, and will be the same tomorrow.
"""


@dataclass(frozen=True)
class Fwupd:
    """`command` is fwupdmgr; `cabinet` the file that it is given, which nobody else may write."""

    command: Path
    cabinet: Path

    def store(self, chunks: Iterable[bytes]) -> None:
        """Install it; nothing where it is installed, or waits for the restart, already.

        Raises Refusal `firmware-refused`; EnvironmentFault `firmware-held-up`; MissingPart `fwupd-missing`;
        StorageFault.
        """
        write_chunks_durably(self.cabinet, chunks, mode=0o600)
        try:
            said, code = self._run("install", str(self.cabinet), "--json", "--assume-yes", "--no-reboot-check")
        finally:
            with suppress(OSError):  # the next one takes its place
                self.cabinet.unlink()
        if code:
            _judge(said)

    def check(self, chunks: Iterable[bytes]) -> bytes:
        """Nothing but what is wrong with the chunks: only fwupd knows what it takes."""
        for _ in chunks:
            pass
        return b""

    def read(self) -> Iterator[bytes]:
        """Nothing: flash is not read back. What it measures at the next start tells."""
        return iter(())

    def _run(self, *arguments: str) -> tuple[str, int]:
        try:
            ran = subprocess.run(  # noqa: S603 - the program that the configuration names, without a shell
                [str(self.command), *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=INSTALL_S,
                check=False,
            )
        except FileNotFoundError as error:
            remedy = "install fwupd, or take `fwupd` out of [update]"
            raise MissingPart("fwupd-missing", f"{self.command} does not exist", remedy=remedy) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _held_up(f"{self.command}: {error}") from error
        return (ran.stdout or ran.stderr)[:MAX_SAID].decode("utf-8", "replace"), ran.returncode


def _judge(said: str) -> None:
    """Nothing where there was nothing to do; else what it says is raised."""
    error = _error(said)
    domain, code, message = error.get("Domain"), error.get("Code"), str(error.get("Message", said.strip()))
    if domain != _DOMAIN or code in _LATER:
        raise _held_up(message)
    if code not in _DONE:
        raise Refusal(refusals.FIRMWARE_REFUSED, message)


def _error(said: str) -> dict[str, Any]:
    try:
        found = json.loads(said).get("Error")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _held_up(detail: str) -> EnvironmentFault:
    remedy = "see that fwupd's daemon runs, and what it asks for; the update is tried again"
    return EnvironmentFault("firmware-held-up", detail, remedy=remedy)
