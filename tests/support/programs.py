"""The agent as a program: `medvouch run` as a process, against a TPM that it reaches by a TCTI string."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medvouch.adapters.tss import TssTpm
from medvouch_sim import firmware
from medvouch_sim.gateway import Gateway
from support.cli import Called

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "agent")}
PROGRAM = (sys.executable, "-m", "medvouch")
PATIENCE_S = 30.0


@contextmanager
def tcp_tpm(state_dir: Path) -> Iterator[str]:
    """A TPM with that state behind TCP ports, as another program offers it; its TCTI."""
    port = _two_ports()
    command = [
        "swtpm", "socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate", f"dir={state_dir}",
        "--server", f"type=tcp,port={port}", "--ctrl", f"type=tcp,port={port + 1}",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        while process.poll() is None and not _listens(port):
            pass
        yield f"swtpm:host=127.0.0.1,port={port}"
    finally:
        process.kill()
        process.wait()


def _two_ports() -> int:
    """A free port that a free one follows: the TSS expects the control channel there."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError):
                second.bind(("127.0.0.1", port + 1))
                return int(port)


def _listens(port: int) -> bool:
    """Looks without connecting: a connection is a client to swtpm."""
    listening = f":{port:04X} 00000000:0000 0A"
    return listening in Path("/proc/net/tcp").read_text()


@dataclass
class Installation:
    """A gateway whose TPM is behind TCP, with its configuration; `process` while the agent runs."""

    gateway: Gateway
    log: Path
    process: asyncio.subprocess.Process | None = None
    before: Sequence[str] = field(default_factory=tuple)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def said(self) -> str:
        """What the agent has written."""
        return self.log.read_text()

    async def start(self) -> None:
        command = (*self.before, *PROGRAM, "run", "--config", str(self.gateway.config_path))
        with self.log.open("w") as log:
            self.process = await asyncio.create_subprocess_exec(*command, env=ENVIRONMENT, stdout=log, stderr=log)

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE_S):
            code = await self.process.wait()
        self.process = None
        return code

    async def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def call(self, *arguments: object) -> Called:
        """Another `medvouch`, to its end."""
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, *map(str, arguments), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return Called(process.returncode, out.decode(), err.decode())

    async def status(self, wanted: Callable[[dict[str, Any]], object]) -> tuple[int, dict[str, Any]]:
        """Exit code and document of `medvouch status`, once it is as wanted."""
        document: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    called = await self.call("status", "--config", self.gateway.config_path, "--json")
                    document = called.json
                    if "error" not in document and wanted(document):
                        return called.code, document
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"status stays {json.dumps(document)}; the agent said {self.said!r}") from None

    async def healthy(self) -> dict[str, Any]:
        """The status of an agent that is connected and has no problem."""
        code, document = await self.status(lambda told: told["connected"] and told["state"] == "ok")
        assert code == 0
        return document

    async def degraded(self, code: str) -> int:
        """Wait for a problem of that code; what `medvouch status` exits with."""
        exit_code, document = await self.status(lambda told: any(p["code"] == code for p in told["problems"]))
        assert document["state"] == "degraded"
        return exit_code


@asynccontextmanager
async def installed(gateway: Gateway) -> AsyncIterator[Installation]:
    """The gateway is on and has booted; its agent is not started."""
    with tcp_tpm(gateway.tpm.state_dir) as tcti:
        with TssTpm(tcti) as tpm:
            firmware.boot(gateway.machine, tpm)
        gateway.config()
        with gateway.config_path.open("a") as file:
            file.write(f'\n[tpm]\ntcti = "{tcti}"\n')
        installation = Installation(gateway, gateway.directory / "agent.log")
        try:
            yield installation
        finally:
            await installation.kill()
