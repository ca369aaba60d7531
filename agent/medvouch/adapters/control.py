"""The control socket between the running agent and the command line: AF_UNIX, one line of JSON each way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvouch.errors import InputError, MedvouchError, NetworkFault, StorageFault, UsageFault

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 80 * 1024 * 1024
"""Evidence in hex, at most twice 32 MiB, and some."""
CALL_TIMEOUT_S = 60.0
REQUEST_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Actor:
    """Who is at the other end, as the kernel says (SO_PEERCRED)."""

    uid: int
    pid: int


Handler = Callable[[str, Mapping[str, Any], Actor], Awaitable[Mapping[str, Any]]]


class ControlServer:
    """Answers calls on a socket that only its owner may open (mode 0600)."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; StorageFault `control-socket` where the path cannot be used or another agent listens there."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._remove_abandoned()
            mask = os.umask(0o177)
            try:
                self._server = await asyncio.start_unix_server(self._answer, self._path, limit=MAX_REQUEST_BYTES)
            finally:
                os.umask(mask)
        except OSError as error:
            detail = f"{self._path}: {error.strerror or error}"
            raise StorageFault("control-socket", detail, remedy="set run_dir to a writable directory") from error

    def _remove_abandoned(self) -> None:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self._path)) == 0:
                detail = f"another agent listens on {self._path}"
                raise StorageFault("control-socket", detail, remedy="stop it, or give this one a run_dir of its own")
        self._path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        actor = _peer(writer.get_extra_info("socket"))
        try:
            answer = await self._call(reader, actor)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except ConnectionError as error:
            log.info("control call by uid %d ended early: %s", actor.uid, error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _call(self, reader: asyncio.StreamReader, actor: Actor) -> Mapping[str, Any]:
        try:
            name, args = await _request(reader)
            return {"result": await self._handler(name, args, actor)}
        except MedvouchError as error:
            return {"error": _fields(error)}
        except Exception as error:
            log.exception("control call by uid %d", actor.uid)
            bug = MedvouchError("control-failed", f"{type(error).__name__}: {error}", remedy="look at the agent's log")
            return {"error": _fields(bug)}


async def _request(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            request = json.loads(await reader.readline())
    except (ValueError, RecursionError, TimeoutError) as error:  # ValueError is also what a line too long raises
        raise InputError("control-malformed", f"not a call: {error}") from error
    match request:
        case {"call": str(name), "args": dict(args)}:
            return name, args
    raise InputError("control-malformed", "not a call")


def _fields(error: MedvouchError) -> dict[str, Any]:
    return {
        "code": error.code,
        "detail": error.detail,
        "place": error.place,
        "remedy": error.remedy,
        "exit_code": error.exit_code,
    }


def _peer(connection: socket.socket) -> Actor:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return Actor(uid, pid)


class RemoteError(MedvouchError):
    """An error that the agent answered with, with its exit code."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__(fields["code"], fields["detail"], place=fields["place"], remedy=fields["remedy"])
        self.exit_code = fields["exit_code"]  # type: ignore[misc]


class ControlClient:
    """Calls the running agent."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def call(self, name: str, **args: Any) -> dict[str, Any]:
        """The result of one call; raises what the agent raised, NetworkFault `agent-not-running`,
        `agent-silent` or `agent-unknown`, UsageFault `agent-not-yours`.
        """
        request = json.dumps({"call": name, "args": args}).encode() + b"\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CALL_TIMEOUT_S)
            self._connect(connection)
            try:
                connection.sendall(request)
                with connection.makefile("rb") as answers:
                    answer = json.loads(answers.readline(MAX_ANSWER_BYTES))
            except (OSError, ValueError) as error:
                detail = f"the agent on {self._path} did not answer"
                raise NetworkFault("agent-silent", detail, remedy="look at its log, or restart it") from error
        match answer:
            case {"result": dict(result)}:
                return result
            case {"error": {"code": _, "detail": _, "place": _, "remedy": _, "exit_code": int()} as fields}:
                raise RemoteError(fields)
        detail = f"what answers on {self._path} is no agent"
        raise NetworkFault("agent-unknown", detail, remedy="look what listens there, or name another run_dir")

    def _connect(self, connection: socket.socket) -> None:
        try:
            connection.connect(str(self._path))
        except PermissionError as error:
            remedy = "call it as the agent's user or as root"
            raise UsageFault("agent-not-yours", f"{self._path}: {error.strerror}", remedy=remedy) from error
        except OSError as error:
            detail = f"no agent answers on {self._path}"
            remedy = "start it with `medvouch run`, or name its configuration with --config"
            raise NetworkFault("agent-not-running", detail, remedy=remedy) from error
