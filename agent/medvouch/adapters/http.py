"""A Fetcher over HTTP/1.1 with the standard library: one GET a connection, no redirects, no cookies, no proxies."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from urllib.parse import SplitResult, urlsplit

from medvouch import __version__
from medvouch.errors import NetworkFault

CHUNK_BYTES = 16 << 10
MIN_BYTES_PER_S = 256
"""A body that comes slower than this is given up; the first `timeout_s` seconds are free."""

_ABSENT = (403, 404)
"""Object stores say 403 for what they do not have."""
_HEADERS = {"User-Agent": f"medvouch/{__version__}", "Accept-Encoding": "identity", "Connection": "close"}


class HttpFetcher:
    """Fetches http and https URLs; `timeout_s` bounds connecting, the headers, and each wait for more of the body.

    Headers are bounded by http.client: 100 of them, 64 KiB a line. `context`: whom to believe as a server, else whom
    the system does.
    """

    def __init__(self, timeout_s: float = 10.0, *, context: ssl.SSLContext | None = None) -> None:
        self._timeout_s = timeout_s
        self._context = context

    def fetch(self, url: str) -> Generator[bytes, None, None]:
        """The body in chunks. Raises NetworkFault, also from the generator."""
        parts = _split(url)
        connection = self._connection(parts)
        try:
            yield from self._body(connection, parts)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(url, str(error) or type(error).__name__) from error
        finally:
            connection.close()

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=self._timeout_s)
        context = self._context or ssl.create_default_context()
        return http.client.HTTPSConnection(host, parts.port, timeout=self._timeout_s, context=context)

    def _body(self, connection: http.client.HTTPConnection, parts: SplitResult) -> Generator[bytes, None, None]:
        url = parts.geturl()
        connection.connect()
        wire = connection.sock
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with ExitStack() as opened:
            with _within(self._timeout_s, wire):
                connection.request("GET", target, headers=_HEADERS)
                response = opened.enter_context(connection.getresponse())
            _check_status(url, response)
            yield from self._chunks(response, wire, url)

    def _chunks(
        self, response: http.client.HTTPResponse, wire: socket.socket, url: str
    ) -> Generator[bytes, None, None]:
        left, received, waited = response.length, 0, 0.0
        while left is None or received < left:
            started = time.monotonic()
            # Lines between transfer chunks and trailers without end come within one read.
            with _within(self._timeout_s, wire) if response.chunked else nullcontext():
                chunk = response.read1(CHUNK_BYTES)
            if not chunk:
                break
            received, waited = received + len(chunk), waited + time.monotonic() - started
            yield chunk
            if received < (waited - self._timeout_s) * MIN_BYTES_PER_S:
                raise _unreachable(url, f"{received} bytes in {waited:.0f} s")
        if left is not None and received < left:
            raise _unreachable(url, f"the body ended after {received} of {left} bytes")


@contextmanager
def _within(seconds: float, wire: socket.socket) -> Generator[None, None, None]:
    """TimeoutError after so long, also where each byte that trickles in would begin the socket's own wait anew."""
    over = threading.Event()

    def end() -> None:
        over.set()
        with suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if over.is_set():
            raise TimeoutError(f"timed out after {seconds:g} s")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and parts.username is None
        plain = url.isascii() and url.isprintable() and " " not in url
    except ValueError as error:
        raise _failed(url, str(error)) from error
    if not usable or not plain:
        raise _failed(url, "not a plain http or https URL")
    return parts


def _check_status(url: str, response: http.client.HTTPResponse) -> None:
    status = response.status
    if status in _ABSENT:
        raise NetworkFault("fetch-not-found", f"{url}: HTTP status {status}", remedy="check the URL and the server")
    if 300 <= status < 400:
        raise _failed(url, f"HTTP status {status}: a redirect, and none is followed")
    if status != http.HTTPStatus.OK:
        raise _failed(url, f"HTTP status {status}")


def _failed(url: str, detail: str) -> NetworkFault:
    return NetworkFault("fetch-failed", f"{url}: {detail}", remedy="check the URL, and look at the server")


def _unreachable(url: str, detail: str) -> NetworkFault:
    remedy = "check the network and the server; it is tried again with the next update"
    return NetworkFault("fetch-unreachable", f"{url}: {detail}", remedy=remedy)
