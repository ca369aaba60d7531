"""A Fetcher over HTTP/1.1 with the standard library: no redirects, no cookies, no proxy but the one that is configured.

A whole file is one GET on a connection of its own. Pieces of a file (RFC 9110, 14) are single ranges, one after another
on one connection, each on the condition that the file is still the one that the first piece came from (If-Range).
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from medvouch import __version__
from medvouch.errors import NetworkFault

CHUNK_BYTES = 64 << 10
RECEIVE_BYTES = 256 << 10
"""On their way at a time: as much is lost where the agent is killed. 10 MB/s where a round trip takes 50 ms (Linux
doubles it)."""
MIN_BYTES_PER_S = 256
"""A body that comes slower than this is given up; the first `timeout_s` seconds are free."""

_ABSENT = (403, 404)
"""Object stores say 403 for what they do not have."""
_HEADERS = {"User-Agent": f"medvouch/{__version__}", "Accept-Encoding": "identity"}
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/(?:[0-9]{1,19}|\*)")


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that everything goes through; `credentials`: user and password for it (RFC 7617), joined by `:`."""

    host: str
    port: int
    credentials: str = field(default="", repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """What the proxy asks for."""
        if not self.credentials:
            return {}
        return {"Proxy-Authorization": f"Basic {b64encode(self.credentials.encode()).decode()}"}


class Bandwidth:
    """No more than so many bytes a second, over all that is fetched; 0: as fast as it comes."""

    def __init__(self, bytes_per_s: int = 0) -> None:
        self.bytes_per_s = bytes_per_s
        self._free_at = 0.0
        self._lock = threading.Lock()

    @property
    def chunk(self) -> int:
        """Bytes to ask for at once: what comes within a second."""
        return min(CHUNK_BYTES, self.bytes_per_s or CHUNK_BYTES)

    def spend(self, size: int) -> None:
        """So many bytes came; returns when the next may."""
        if not self.bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self.bytes_per_s
            wait = self._free_at - now
        time.sleep(wait)


class HttpFetcher:
    """Fetches http and https URLs; `timeout_s` bounds connecting, the headers, and each wait for more of the body.

    Headers are bounded by http.client: 100 of them, 64 KiB a line. `context`: whom to believe as a server, else whom
    the system does.
    """

    def __init__(
        self,
        timeout_s: float = 10.0,
        *,
        context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        bandwidth: Bandwidth | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self.context = context
        self.proxy = proxy
        self.bandwidth = bandwidth or Bandwidth()

    def fetch(self, url: str) -> Generator[bytes, None, None]:
        """The body in chunks. Raises NetworkFault, also from the generator."""
        _split(url)
        return self._fetched(url)

    def _fetched(self, url: str) -> Generator[bytes, None, None]:
        with closing(self.open(url)) as remote:
            yield from remote.read(0)

    def open(self, url: str, validator: str = "") -> HttpRemote:
        """The file there, to be read in pieces; nothing is sent yet."""
        return HttpRemote(self, _split(url), validator)


class HttpRemote:
    """`medvouch.ports.Remote`; the connection is made by the first piece, and anew where the server ended it."""

    def __init__(self, fetcher: HttpFetcher, parts: SplitResult, validator: str) -> None:
        self.validator = validator
        self._fetcher = fetcher
        self._parts = parts
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        """The last one: it keeps the socket open for as long as it is read, whatever becomes of the connection."""

    def read(self, start: int, end: int | None = None) -> Generator[bytes, None, None]:
        """A piece, or the rest. Raises NetworkFault."""
        if end is not None and end <= start:
            return
        whole = False
        try:
            yield from self._read(start, end)
            whole = True
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self._url, str(error) or type(error).__name__) from error
        finally:
            if not whole or end is None:
                self.close()

    def close(self) -> None:
        """Hang up, also on whoever left a piece half read."""
        if self._response is not None:
            self._response.close()
            self._response = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _url(self) -> str:
        return self._parts.geturl()

    def _read(self, start: int, end: int | None) -> Generator[bytes, None, None]:
        with ExitStack() as opened:
            self._response = response = opened.enter_context(self._asked(start, end))
            length = self._checked(response, start, end)
            if not self.validator:
                self.validator = _validator(response)
            yield from self._chunks(response, length)

    def _asked(self, start: int, end: int | None) -> http.client.HTTPResponse:
        """The headers of an answer; asked again on a new connection where an old one turns out to have ended."""
        if self._connection is not None:
            with suppress(OSError, http.client.HTTPException):
                return self._request(self._connection, start, end)
            self.close()
        self._connection = self._connected()
        return self._request(self._connection, start, end)

    def _request(self, connection: http.client.HTTPConnection, start: int, end: int | None) -> http.client.HTTPResponse:
        headers = dict(_HEADERS)
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
            if self.validator:
                headers["If-Range"] = self.validator
        if end is None:
            headers["Connection"] = "close"
        target = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        if (proxy := self._fetcher.proxy) and self._parts.scheme == "http":
            target = f"http://{self._parts.netloc}{target}"
            headers |= proxy.headers
        with _within(self._fetcher.timeout_s, lambda: connection.sock):
            connection.request("GET", target, headers=headers)
            return connection.getresponse()

    def _connected(self) -> http.client.HTTPConnection:
        parts, at = self._parts, self._fetcher
        host, port = parts.hostname or "", parts.port
        if at.proxy:
            host, port = at.proxy.host, at.proxy.port
        if parts.scheme == "http":
            connection = http.client.HTTPConnection(host, port, timeout=at.timeout_s)
        else:
            context = at.context or ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=at.timeout_s, context=context)
            if at.proxy:
                connection.set_tunnel(parts.hostname or "", parts.port, headers=dict(at.proxy.headers))
        try:
            with _within(at.timeout_s, lambda: connection.sock), _answers_closed(connection):
                connection.connect()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        except OSError as error:
            connection.close()
            if str(error).startswith("Tunnel connection failed: 407"):
                raise _proxy(self._url) from error
            raise
        return connection

    def _checked(self, response: http.client.HTTPResponse, start: int, end: int | None) -> int | None:
        """How long the body is, where that is known, if it is what was asked for."""
        status, url = response.status, self._url
        if status in _ABSENT:
            raise NetworkFault("fetch-not-found", f"{url}: HTTP status {status}", remedy="check the URL and the server")
        if status == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and self._fetcher.proxy:
            raise _proxy(url)
        if 300 <= status < 400:
            raise _failed(url, f"HTTP status {status}: a redirect, and none is followed")
        ranged = start > 0 or end is not None
        if ranged and status in (http.HTTPStatus.OK, http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise _no_range(url, f"HTTP status {status} where bytes from {start} on were asked for")
        if status != (http.HTTPStatus.PARTIAL_CONTENT if ranged else http.HTTPStatus.OK):
            raise _failed(url, f"HTTP status {status}")
        return _piece(url, response, start, end) if ranged else response.length

    def _chunks(self, response: http.client.HTTPResponse, length: int | None) -> Generator[bytes, None, None]:
        at, url = self._fetcher, self._url
        left, received, waited = length, 0, 0.0
        while left is None or received < left:
            started = time.monotonic()
            # Lines between transfer chunks and trailers without end come within one read.
            with _within(at.timeout_s, lambda: self._wire(response)) if response.chunked else nullcontext():
                chunk = response.read1(at.bandwidth.chunk)
            if not chunk:
                break
            received, waited = received + len(chunk), waited + time.monotonic() - started
            yield chunk
            if received < (waited - at.timeout_s) * MIN_BYTES_PER_S:
                raise _unreachable(url, f"{received} bytes in {waited:.0f} s")
            at.bandwidth.spend(len(chunk))
        if left is not None and received < left:
            raise _unreachable(url, f"the body ended after {received} of {left} bytes")

    def _wire(self, response: http.client.HTTPResponse) -> socket.socket | None:
        """The socket that a response is read from: http.client lets go of it where the connection will end."""
        kept = self._connection.sock if self._connection else None
        raw = getattr(getattr(response.fp, "raw", None), "_sock", None)
        return kept or raw


@contextmanager
def _within(seconds: float, wire: Callable[[], socket.socket | None]) -> Generator[None, None, None]:
    """TimeoutError after so long, also where each byte that trickles in would begin the socket's own wait anew."""
    over = threading.Event()

    def end() -> None:
        over.set()
        with suppress(OSError):
            if (found := wire()) is not None:
                found.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if over.is_set():
            raise TimeoutError(f"timed out after {seconds:g} s")


@contextmanager
def _answers_closed(connection: http.client.HTTPConnection) -> Iterator[None]:
    """Python before 3.11.4 leaves a proxy's answer open where that refuses the tunnel, and so the socket."""
    answers: list[http.client.HTTPResponse] = []

    class Answer(http.client.HTTPResponse):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            answers.append(self)

    connection.response_class = Answer
    try:
        yield
    finally:
        connection.response_class = http.client.HTTPResponse
        for each in answers:
            each.close()


def _piece(url: str, response: http.client.HTTPResponse, start: int, end: int | None) -> int:
    """The length of a piece that is the one asked for; only the rest of a file may end anywhere."""
    said = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range", ""))
    if said is None or int(said[1]) != start or (end is not None and int(said[2]) != end - 1):
        raise _failed(url, f"another piece than the one from {start} on")
    length = int(said[2]) + 1 - start
    if response.length is not None and response.length != length:
        raise _failed(url, f"{response.length} bytes where the piece has {length}")
    return length


def _validator(response: http.client.HTTPResponse) -> str:
    """A strong one (RFC 9110, 13.1.5): weak ETags do not say that bytes are the same."""
    tag = response.getheader("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.getheader("Last-Modified", "")


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


def _failed(url: str, detail: str) -> NetworkFault:
    return NetworkFault("fetch-failed", f"{url}: {detail}", remedy="check the URL, and look at the server")


def _no_range(url: str, detail: str) -> NetworkFault:
    return NetworkFault("fetch-no-range", f"{url}: {detail}", remedy="it is fetched again from its beginning")


def _proxy(url: str) -> NetworkFault:
    remedy = "put user and password for the proxy into the file that update.proxy_credentials names"
    return NetworkFault("fetch-proxy", f"{url}: the proxy does not let us through (407)", remedy=remedy)


def _unreachable(url: str, detail: str) -> NetworkFault:
    remedy = "check the network and the server; it is tried again with the next update"
    return NetworkFault("fetch-unreachable", f"{url}: {detail}", remedy=remedy)
