"""An HTTP proxy for tests: absolute addresses and CONNECT, with the password that it wants (RFC 7617)."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from base64 import b64encode
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class ProxyServer:
    """Lets through who has `credentials`, or everybody where they are empty; `asked`: what it was asked for."""

    def __init__(self, credentials: str = "") -> None:
        self.credentials = credentials
        self.asked: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: ProxyServer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _allowed(self) -> bool:
        owner = self.server.owner
        owner.asked.append(self.path)
        wanted = f"Basic {b64encode(owner.credentials.encode()).decode()}"
        if owner.credentials and self.headers.get("Proxy-Authorization") != wanted:
            self.send_response(407)
            self.send_header("Proxy-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        return True

    def do_GET(self) -> None:
        if not self._allowed():
            return
        parts = urlsplit(self.path)
        headers = {name: value for name, value in self.headers.items() if not name.startswith("Proxy-")}
        with closing(http.client.HTTPConnection(parts.netloc)) as connection:
            connection.request("GET", parts.path, headers=headers)
            with connection.getresponse() as answer:
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.read())

    def do_CONNECT(self) -> None:
        if not self._allowed():
            return
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as server:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            _relayed(self.connection, server)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _relayed(one: socket.socket, other: socket.socket) -> None:
    while True:
        for source in select.select([one, other], [], [], 10)[0]:
            data = source.recv(65536)
            if not data:
                return
            (other if source is one else one).sendall(data)
