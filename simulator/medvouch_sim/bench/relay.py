"""A wire that counts: TCP connections passed on to a server, and the bytes both ways."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

BUFFER_BYTES = 32 << 10
"""Of the relay's own sockets: what it has counted is nearly all with the client."""


class Relay:
    """Listens at `port` on loopback for a server at another port there, until it is left."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.to_client = 0
        self.to_server = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
                threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, to_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(BUFFER_BYTES):
                target.sendall(data)
                if to_client:
                    self.to_client += len(data)
                else:
                    self.to_server += len(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
