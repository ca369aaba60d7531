"""An update server on a loopback port: serves a directory over HTTP/1.1, and misbehaves where it is told to.

It tells nobody apart. Attackers sit here as they would on the way: they answer in its place, with other files, with a
status, with half a body or with one that never ends.
"""

from __future__ import annotations

import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import unquote, urlsplit

CHUNK_BYTES = 16 << 10
SEND_BYTES = 256 << 10
_END_WAIT_S = 5.0
_RANGE = re.compile(r"bytes=([0-9]{1,19})-([0-9]{1,19})?")

Answer = Callable[["Exchange"], None]
"""Answers one request in some way of its own."""


class Exchange:
    """One request: its path below the served directory, and the socket to answer on."""

    def __init__(self, handler: BaseHTTPRequestHandler, path: str, serve: Callable[[], None]) -> None:
        self.path = path
        self.serve = serve
        self._handler = handler

    def head(self, status: int, **headers: str) -> None:
        """Status line and headers; `_` stands for `-` in their names."""
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        if not {"Content_Length", "Transfer_Encoding"} & headers.keys():
            self._handler.send_header("Connection", "close")
        self._handler.end_headers()

    def asked(self, header: str) -> str:
        """A header of the request, or nothing."""
        return self._handler.headers.get(header, "")

    def body(self, data: bytes) -> None:
        """Some of the body."""
        self._handler.wfile.write(data)


class RepositoryServer:
    """Serves `directory` at `url`. `directory` may be set to another one at any time: a frozen copy, an older state."""

    def __init__(self, directory: Path, tls: ssl.SSLContext | None = None) -> None:
        self.directory = directory
        self._scheme = "https" if tls else "http"
        self.requests: list[str] = []
        """Paths asked for, in order."""
        self.sent: list[tuple[str, int]] = []
        """Path and bytes of each body that was sent, in order; of files only."""
        self.ranges = True
        """Whether pieces of files are given (RFC 9110, 14)."""
        self._answers: dict[str, Answer] = {}
        self._tls = tls
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._server = _Server(self, port, self._tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="repository", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens, or did."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Nobody listens there inside; it does again after."""
        self.close()
        try:
            yield
        finally:
            self._listen(self.port)

    def misbehave(self, path: str, answer: Answer) -> None:
        """Answer requests for this path so; a path that ends with `/` stands for everything below it."""
        self._answers[path] = answer

    def behave(self) -> None:
        """Serve files again."""
        self._answers.clear()

    def close(self) -> None:
        """Stop listening; returns when no request is being answered any more."""
        self._server.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_END_WAIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def answer_for(self, path: str) -> Answer | None:
        """How a path is answered, if not with the file."""
        folders = (f"{path[:at]}/" for at, char in enumerate(path) if char == "/")
        return next((self._answers[name] for name in (path, *folders) if name in self._answers), None)

    def file(self, path: str) -> Path | None:
        """The file at a path; None outside the directory and where there is none."""
        root = self.directory.resolve()
        found = (root / path).resolve()
        return found if found.is_relative_to(root) and found.is_file() else None

    @property
    def stopping(self) -> threading.Event:
        """Set when it is being closed: endless answers end."""
        return self._server.stopping


def status(code: int, **headers: str) -> Answer:
    """A status and nothing more."""
    return lambda exchange: exchange.head(code, Content_Length="0", **headers)


def truncated(kept: int) -> Answer:
    """A body that is said to be longer, cut off after `kept` bytes."""

    def answer(exchange: Exchange) -> None:
        exchange.head(200, Content_Length=str(kept + 1000))
        exchange.body(bytes(kept))

    return answer


def endless(server: RepositoryServer) -> Answer:
    """A body without an end, for as long as the client and the server live."""

    def answer(exchange: Exchange) -> None:
        exchange.head(200)
        while not server.stopping.is_set():
            exchange.body(bytes(CHUNK_BYTES))

    return answer


def trickling(server: RepositoryServer, pause_s: float) -> Answer:
    """A body of which a byte comes now and then."""

    def answer(exchange: Exchange) -> None:
        exchange.head(200)
        while not server.stopping.is_set():
            exchange.body(b" ")
            time.sleep(pause_s)

    return answer


def contents(data: bytes) -> Answer:
    """These bytes in place of the file."""

    def answer(exchange: Exchange) -> None:
        exchange.head(200, Content_Length=str(len(data)))
        exchange.body(data)

    return answer


def piece(asked: str, size: int) -> tuple[int, int] | None:
    """The one range [start, end) that a Range header asks for; None: the whole file, as for what is no single range."""
    found = _RANGE.fullmatch(asked)
    if found is None:
        return None
    return int(found[1]), min(int(found[2]) + 1 if found[2] else size, size)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, owner: RepositoryServer, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.owner = owner
        self.stopping = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _END_WAIT_S
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The file, or what was planned in its place."""
        path = unquote(urlsplit(self.path).path).removeprefix("/")
        owner = self.server.owner
        owner.requests.append(path)
        exchange = Exchange(self, path, lambda: self._serve(exchange))
        answer = owner.answer_for(path)
        try:
            answer(exchange) if answer else exchange.serve()
            self.close_connection |= answer is not None
        except OSError:
            self.close_connection = True  # the client has seen enough

    def _serve(self, exchange: Exchange) -> None:
        file = self.server.owner.file(exchange.path)
        if file is None:
            status(404)(exchange)
            return
        with file.open("rb") as opened:
            found = os.fstat(opened.fileno())
            tag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
            wanted = piece(exchange.asked("Range"), found.st_size) if self.server.owner.ranges else None
            if wanted is None or exchange.asked("If-Range") not in ("", tag):
                exchange.head(200, Content_Length=str(found.st_size), ETag=tag)
                self._send(exchange.path, opened, 0, found.st_size)
            elif wanted[0] >= wanted[1]:
                status(416, Content_Range=f"bytes */{found.st_size}")(exchange)
            else:
                start, end = wanted
                span = f"bytes {start}-{end - 1}/{found.st_size}"
                exchange.head(206, Content_Length=str(end - start), Content_Range=span, ETag=tag)
                self._send(exchange.path, opened, start, end)

    def _send(self, path: str, opened: BinaryIO, start: int, end: int) -> None:
        opened.seek(start)
        at = start
        try:
            while at < end and (data := opened.read(min(SEND_BYTES, end - at))):
                self.wfile.write(data)
                at += len(data)
        finally:
            self.server.owner.sent.append((path, at - start))

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""
