"""The installer helper, both ends: a process with root's rights and no network, and the daemon that asks it.

One question a connection, over AF_UNIX: a line of JSON, `{"call": "log", "args": {"name": "uefi"}}`. The answer is a
line of JSON too: `{"error": {"code", "detail", "place", "remedy"}}`, or `{"result": {"bytes": N}}` with N bytes behind
it, `null` where this system keeps no such log. Then the helper closes. The call `parts` has more behind its question,
and is answered likewise (`helper_parts`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from medvouch.adapters.logs import MAX_LOG_BYTES, too_large
from medvouch.adapters.refusals import HELPER_CALLER_REFUSED
from medvouch.errors import InputError, MedvouchError, Refusal, StorageFault
from medvouch.ports import MeasurementLogs

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_REQUEST_BYTES = 4096
MAX_HEADER_BYTES = 16 * 1024
"""Of an error, each field cut as `MedvouchError` cuts it, and its characters escaped."""
HELPER_TIMEOUT_S = 10.0
"""For the caller's question, and for taking the answer."""
ASKING_TIMEOUT_S = 30.0
"""For the helper to start, and for each piece of its answer."""


PartsCall = Callable[[dict[str, Any], BinaryIO], tuple[dict[str, Any], bytes]]
"""Of the question's arguments and what is behind it: fields of the answer, and what goes behind that."""


class HelperServer:
    """Answers one user's questions for measurement logs, and nobody else's; one connection after the other.

    `parts` answers the calls to write parts of which there is one, where this device has any.
    """

    def __init__(self, logs: MeasurementLogs, uid: int, parts: PartsCall | None = None) -> None:
        self._logs = {"uefi": logs.uefi, "systemd": logs.systemd, "ima": logs.ima}
        self._uid = uid
        self._parts = parts

    def serve(self, listener: socket.socket, idle_s: float | None = None) -> None:
        """Answer until nobody has asked for `idle_s` (None: for ever)."""
        listener.settimeout(idle_s)
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                return
            with connection:
                connection.settimeout(HELPER_TIMEOUT_S)
                try:
                    self._answer(connection)
                except OSError as error:
                    log.warning("a call ended early: %s", error)

    def _answer(self, connection: socket.socket) -> None:
        contents: bytes | None = None
        try:
            self._check_caller(connection)
            more, contents = self._asked(connection)
            header: dict[str, Any] = {"result": {"bytes": None if contents is None else len(contents), **more}}
        except MedvouchError as error:
            log.warning("%s", error)
            header = {"error": error_fields(error)}
        connection.sendall(json.dumps(header).encode() + b"\n")
        connection.sendall(contents or b"")

    def _check_caller(self, connection: socket.socket) -> None:
        """Before a byte of its question is read."""
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", credentials)
        if uid != self._uid:
            raise Refusal(HELPER_CALLER_REFUSED, f"user {uid} asked (process {pid}), and only {self._uid} may")

    def _asked(self, connection: socket.socket) -> tuple[dict[str, Any], bytes | None]:
        with connection.makefile("rb") as questions:
            line = questions.readline(MAX_REQUEST_BYTES)
            if len(line) == MAX_REQUEST_BYTES:
                raise InputError("helper-limit", f"a question has at most {MAX_REQUEST_BYTES} bytes")
            try:
                question = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError("helper-malformed", f"not a question: {error}") from error
            match question:
                case {"call": "log", "args": {"name": str(name)}} if name in self._logs:
                    return {}, self._logs[name]()
                case {"call": "parts", "args": dict(arguments)} if self._parts:
                    return self._parts(arguments, questions)
        raise InputError("helper-malformed", f"not a question for one of {', '.join(self._logs)}")


def error_fields(error: MedvouchError) -> dict[str, str]:
    """As an answer has it."""
    return {"code": error.code, "detail": error.detail, "place": error.place, "remedy": error.remedy}


def listen(path: Path, uid: int) -> socket.socket:
    """A socket that only that user (and root) may open; StorageFault `helper-socket` where it cannot be made there."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_abandoned(path)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        if uid != os.geteuid():
            os.chown(path, uid, -1, follow_symlinks=False)
        listener.listen()
    except OSError as error:
        listener.close()
        detail = f"{path}: {error.strerror or error}"
        raise StorageFault("helper-socket", detail, remedy="name a socket in a writable directory") from error
    return listener


def _remove_abandoned(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(0, "there is something that is no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise FileExistsError(0, "another helper listens there")
        path.unlink()


class HelperClient:
    """Asks the helper on a socket. StorageFault `helper-unreachable`, `helper-silent`, `helper-unknown`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, question: Iterable[bytes], read: Callable[[BinaryIO], T], timeout_s: float) -> T:
        """One question, and what `read` makes of the answer; so many seconds may go by without a byte."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            self._connect(connection)
            try:
                with contextlib.suppress(ConnectionError):  # it may have said no already, and that is to be read
                    for part in question:
                        connection.sendall(part)
                with connection.makefile("rb") as answers:
                    return read(answers)
            except OSError as error:
                raise self.silent(str(error)) from error

    def _connect(self, connection: socket.socket) -> None:
        try:
            connection.connect(str(self._path))
        except OSError as error:
            detail = f"no helper answers on {self._path}: {error.strerror or error}"
            remedy = "start medvouch-installer.socket, or take `helper` out of [logs]"
            raise StorageFault("helper-unreachable", detail, remedy=remedy) from error

    def header(self, line: bytes) -> Any:
        """The first line of an answer; what the helper refused or could not do is raised as StorageFault."""
        if not line:
            raise self.silent("it said nothing")
        try:
            header = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self.unknown() from error
        match header:
            case {"error": {"code": str(code), "detail": str(detail), "place": str(place), "remedy": str(remedy)}}:
                raise StorageFault(code, detail, place=place, remedy=remedy)
        return header

    def silent(self, why: str) -> StorageFault:
        """It says nothing, or not enough."""
        detail = f"the helper on {self._path} did not answer: {why}"
        return StorageFault("helper-silent", detail, remedy="look at the log of medvouch-installer.service")

    def unknown(self) -> StorageFault:
        """It says what no helper says."""
        detail = f"what answers on {self._path} is no helper"
        return StorageFault("helper-unknown", detail, remedy="look what listens there, or mend `helper` in [logs]")


class HelperLogs(HelperClient):
    """`medvouch.ports.MeasurementLogs` by way of the helper.

    Faults (StorageFault): what the helper answers (those of `FileLogs`, `helper-caller-refused`), and
    `helper-unreachable`, `helper-silent`, `helper-unknown`, `eventlog-too-large`.
    """

    def __init__(self, path: Path, *, limit: int = MAX_LOG_BYTES) -> None:
        super().__init__(path)
        self._limit = limit

    def uefi(self) -> bytes:
        """The raw TCG2 event log."""
        contents = self._ask("uefi")
        if contents is None:
            raise self.unknown()
        return contents

    def systemd(self) -> bytes | None:
        """systemd's userspace measurement log."""
        return self._ask("systemd")

    def ima(self) -> bytes | None:
        """IMA's binary measurement list."""
        return self._ask("ima")

    def _ask(self, name: str) -> bytes | None:
        question = json.dumps({"call": "log", "args": {"name": name}}).encode() + b"\n"
        return self.ask([question], lambda answers: self._contents(name, answers), ASKING_TIMEOUT_S)

    def _contents(self, name: str, answers: BinaryIO) -> bytes | None:
        size = self._size(answers.readline(MAX_HEADER_BYTES))
        if size is not None and size > self._limit:
            raise too_large(f"the log `{name}`", self._limit)
        contents = answers.read(size or 0)
        if len(contents) < (size or 0):
            raise self.silent(f"{len(contents)} of {size} bytes came")
        if answers.read(1):
            raise self.unknown()
        return None if size is None else contents

    def _size(self, line: bytes) -> int | None:
        match self.header(line):
            case {"result": {"bytes": None}}:
                return None
            case {"result": {"bytes": size}} if type(size) is int and size >= 0:
                return size
        raise self.unknown()
