"""The agent as a device runs it: `medvouch run` as a process of its own, with a TPM that it reaches over TCP.

Both processes end with the thread that started them, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import medvouch
from medvouch.adapters.tss import TssTpm
from medvouch.errors import NetworkFault, TpmFault

HOST = "127.0.0.1"
START_S = 5.0
STOP_S = 5.0
_PORT_ATTEMPTS = 64
_MAIN = "import sys; from medvouch.cli.main import main; sys.exit(main())"
"""What the installed program `medvouch` does; this also runs from a source tree."""
_DYING_WITH_US = ("setpriv", "--pdeathsig", "KILL")


@contextmanager
def tcp_tpm(state_dir: Path) -> Iterator[str]:
    """A swtpm that has just been powered on, on the state of a SwTpm that is off: its TCTI."""
    port = _free_pair()
    command = [*_DYING_WITH_US, "swtpm", "socket", "--tpm2", "--flags", "not-need-init,startup-clear",
               "--server", f"type=tcp,port={port}", "--ctrl", f"type=tcp,port={port + 1}",
               "--tpmstate", f"dir={state_dir.absolute()}"]  # fmt: skip
    tcti = f"swtpm:host={HOST},port={port}"
    with (state_dir / "swtpm.log").open("ab") as log, _process(command, log.fileno()):
        _await_answer(tcti)
        yield tcti


@contextmanager
def running_agent(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`medvouch run` with this configuration file; it was stopped in order afterwards, what it said is in `log`."""
    sources = Path(medvouch.__file__).parents[1]
    command = [*_DYING_WITH_US, sys.executable, "-c", _MAIN, "run", "--config", str(config)]
    with log.open("ab") as file, _process(command, file.fileno(), PYTHONPATH=str(sources)) as agent:
        yield agent


def pss_kib(pid: int) -> int:
    """Memory of a process, what it shares divided by those who share it (Linux, proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise OSError("this kernel tells no Pss")


@contextmanager
def _process(command: list[str], log: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    inherited = os.environ | environment
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=inherited)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()


def _await_answer(tcti: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            TssTpm(tcti).close()
        except TpmFault:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _free_pair() -> int:
    """A port that was free a moment ago, and so was the one above it."""
    for _ in range(_PORT_ATTEMPTS):
        with socket.socket() as one, socket.socket() as other:
            one.bind((HOST, 0))
            port: int = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                other.bind((HOST, port + 1))
                return port
    raise NetworkFault("no-free-port", "no two free ports stand together", place=HOST, remedy="try again later")
