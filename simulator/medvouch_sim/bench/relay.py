"""A wire that counts: TCP connections passed on to a server, and the bytes both ways."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from types import TracebackType
from typing import Self

BUFFER_BYTES = 32 << 10
"""Of the relay's own sockets: what it has counted is nearly all with the client."""

_END_WAIT_S = 10.0


class Relay:
    """Listens at `port` on loopback for a server at another port there, until it is left."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.to_client = 0
        self.to_server = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_END_WAIT_S)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._pass_on, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        """Until one of the two hangs up."""
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            with contextlib.suppress(OSError):
                while True:
                    for source in select.select([client, server], [], [])[0]:
                        data = source.recv(BUFFER_BYTES)
                        if not data:
                            return
                        (client if source is server else server).sendall(data)
                        self._count(source is server, len(data))

    def _count(self, to_client: bool, size: int) -> None:
        if to_client:
            self.to_client += size
        else:
            self.to_server += size
