"""Pieces of files over HTTP, proxies, and a bandwidth that is kept."""

from __future__ import annotations

import gc
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from medvouch.adapters.http import Bandwidth, HttpFetcher, Proxy
from medvouch.errors import NetworkFault
from medvouch_sim.repository_server import Exchange, RepositoryServer, contents, endless, status
from support import pki
from support.proxies import ProxyServer

DATA = bytes(range(256)) * 1000
SIZE = len(DATA)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RepositoryServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "x").write_bytes(DATA)
    with RepositoryServer(folder) as server:
        yield server


@pytest.fixture
def fetcher() -> HttpFetcher:
    return HttpFetcher(1.0)


def piece(fetcher: HttpFetcher, url: str, start: int, end: int | None, validator: str = "") -> bytes:
    with closing(fetcher.open(url, validator)) as remote:
        return b"".join(remote.read(start, end))


def code(fetcher: HttpFetcher, url: str, start: int, end: int | None, validator: str = "") -> str:
    with pytest.raises(NetworkFault) as caught:
        piece(fetcher, url, start, end, validator)
    return caught.value.code


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (0, SIZE), (1, 2), (100, 100), (SIZE - 1, SIZE), (5, None), (0, None), (SIZE - 1, None)]
)
def test_a_piece(server: RepositoryServer, fetcher: HttpFetcher, start: int, end: int | None) -> None:
    assert piece(fetcher, f"{server.url}/x", start, end) == DATA[start:end]


def test_many_pieces_over_one_connection(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    with closing(fetcher.open(f"{server.url}/x")) as remote:
        assert remote.validator == ""
        assert b"".join(remote.read(0, 10)) == DATA[:10]
        socket = remote._connection.sock if remote._connection else None
        assert b"".join(remote.read(500, 70_000)) == DATA[500:70_000]
        assert remote._connection is not None
        assert remote._connection.sock is socket is not None
        assert remote.validator


def test_a_server_that_hangs_up_between_pieces(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    """The next one comes over a new connection."""
    with closing(fetcher.open(f"{server.url}/x")) as remote:
        assert b"".join(remote.read(0, 10)) == DATA[:10]
        with server.unreachable():
            pass
        assert b"".join(remote.read(10, 20)) == DATA[10:20]


def test_a_piece_that_is_left_half_read(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    with closing(fetcher.open(f"{server.url}/x")) as remote:
        with closing(remote.read(0, SIZE)) as chunks:
            next(chunks)
        assert b"".join(remote.read(3, 5)) == DATA[3:5]


def test_who_leaves_a_piece_half_read_and_forgets_it_holds_no_connection(
    server: RepositoryServer, fetcher: HttpFetcher
) -> None:
    hung_up = threading.Event()

    def answer(exchange: Exchange) -> None:
        try:
            endless(server)(exchange)
        except OSError:
            hung_up.set()
            raise

    server.misbehave("x", answer)
    remote = fetcher.open(f"{server.url}/x")
    chunks = remote.read(0)
    next(chunks)
    remote.close()
    assert hung_up.wait(4)


def test_another_state_of_the_file(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    url = f"{server.url}/x"
    with closing(fetcher.open(url)) as remote:
        assert b"".join(remote.read(0, 10)) == DATA[:10]
        (server.directory / "x").write_bytes(DATA + b"more")
        with pytest.raises(NetworkFault, match="fetch-no-range"):
            b"".join(remote.read(10, 20))
        state = remote.validator
    assert code(fetcher, url, 10, 20, state) == "fetch-no-range"
    assert piece(fetcher, url, 10, 20) == DATA[10:20]


def test_a_server_that_gives_no_pieces(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    server.ranges = False
    assert code(fetcher, f"{server.url}/x", 10, None) == "fetch-no-range"
    assert piece(fetcher, f"{server.url}/x", 0, None) == DATA


def test_beyond_the_end(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    assert code(fetcher, f"{server.url}/x", SIZE, None) == "fetch-no-range"
    assert code(fetcher, f"{server.url}/x", SIZE - 5, SIZE + 5) == "fetch-failed"


@pytest.mark.parametrize(
    "said",
    ["", "bytes 0-9/100", "bytes 10-18/100", "bytes 10-20/100", "bytes 10-19", "octets 10-19/100", "bytes */100"],
)
def test_another_piece_than_was_asked_for(server: RepositoryServer, fetcher: HttpFetcher, said: str) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(206, Content_Length="10", Content_Range=said)
        exchange.body(bytes(10))

    server.misbehave("x", answer)
    assert code(fetcher, f"{server.url}/x", 10, 20) == "fetch-failed"


def test_a_piece_of_another_length_than_it_says(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(206, Content_Length="11", Content_Range="bytes 10-19/100")
        exchange.body(bytes(11))

    server.misbehave("x", answer)
    assert code(fetcher, f"{server.url}/x", 10, 20) == "fetch-failed"


def test_a_piece_that_is_cut_short(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(206, Content_Length="10", Content_Range="bytes 10-19/100")
        exchange.body(bytes(5))

    server.misbehave("x", answer)
    assert code(fetcher, f"{server.url}/x", 10, 20) == "fetch-unreachable"


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"ETag": '"a"', "Last_Modified": "then"}, '"a"'),
        ({"ETag": 'W/"a"', "Last_Modified": "then"}, "then"),
        ({"ETag": 'W/"a"'}, ""),
        ({}, ""),
    ],
)
def test_what_a_file_is_called(
    server: RepositoryServer, fetcher: HttpFetcher, headers: dict[str, str], wanted: str
) -> None:
    """Two files with one weak ETag may differ in bytes."""

    def answer(exchange: Exchange) -> None:
        exchange.head(200, Content_Length="2", **headers)
        exchange.body(b"ab")

    server.misbehave("x", answer)
    with closing(fetcher.open(f"{server.url}/x")) as remote:
        assert b"".join(remote.read(0)) == b"ab"
        assert remote.validator == wanted


@pytest.mark.parametrize(("answer", "wanted"), [(404, "fetch-not-found"), (302, "fetch-failed"), (500, "fetch-failed")])
def test_other_answers(server: RepositoryServer, fetcher: HttpFetcher, answer: int, wanted: str) -> None:
    server.misbehave("x", status(answer, Location="/y"))
    assert code(fetcher, f"{server.url}/x", 10, 20) == wanted


# --- a proxy ----------------------------------------------------------------------------------------------------------


def through(proxy: ProxyServer, credentials: str = "", context: ssl.SSLContext | None = None) -> HttpFetcher:
    return HttpFetcher(2.0, proxy=Proxy("127.0.0.1", proxy.port, credentials), context=context)


def test_everything_goes_through_the_proxy(server: RepositoryServer) -> None:
    with ProxyServer("user:pass word") as proxy:
        fetcher = through(proxy, "user:pass word")
        assert b"".join(fetcher.fetch(f"{server.url}/x")) == DATA
        assert piece(fetcher, f"{server.url}/x", 7, 9) == DATA[7:9]
    assert proxy.asked == [f"{server.url}/x"] * 2


def test_https_goes_through_a_tunnel(tmp_path: Path) -> None:
    ca = pki.authority("ca")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*pki.issue(ca, "server").write(tmp_path))
    believing = ssl.create_default_context(cadata=ca.pem.decode())
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "x").write_bytes(DATA)
    with RepositoryServer(tmp_path / "served", tls) as server, ProxyServer("u:p") as proxy:
        assert piece(through(proxy, "u:p", believing), f"{server.url}/x", 7, 9) == DATA[7:9]
        assert proxy.asked == [f"127.0.0.1:{server.port}"]
        assert code(through(proxy, "u:x", believing), f"{server.url}/x", 7, 9) == "fetch-proxy"
        gc.collect()  # a socket that was left open fails the test here


@pytest.mark.parametrize("credentials", ["", "user:wrong"])
def test_a_proxy_that_refuses(server: RepositoryServer, credentials: str) -> None:
    with ProxyServer("user:right") as proxy:
        assert code(through(proxy, credentials), f"{server.url}/x", 0, None) == "fetch-proxy"
    assert server.requests == []


def test_a_server_that_says_407_is_no_proxy(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    server.misbehave("x", status(407))
    assert code(fetcher, f"{server.url}/x", 0, None) == "fetch-failed"


def test_whoever_shows_a_proxy_does_not_show_its_password() -> None:
    assert "secret" not in repr(HttpFetcher(proxy=Proxy("proxy.example", 3128, "agent:secret")).proxy)


def test_a_proxy_that_is_away(server: RepositoryServer) -> None:
    with ProxyServer() as proxy:
        pass
    assert code(through(proxy), f"{server.url}/x", 0, None) == "fetch-unreachable"


def test_the_environment_is_not_asked(
    server: RepositoryServer, fetcher: HttpFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert b"".join(fetcher.fetch(f"{server.url}/x")) == DATA


# --- bandwidth --------------------------------------------------------------------------------------------------------


def test_the_bandwidth_is_kept_by_all_together(server: RepositoryServer) -> None:
    bandwidth = Bandwidth(4 * SIZE)
    started = time.monotonic()
    for _ in range(4):
        fetcher = HttpFetcher(1.0, bandwidth=bandwidth)
        assert b"".join(fetcher.fetch(f"{server.url}/x")) == DATA
    assert time.monotonic() - started >= 0.7


def test_a_small_bandwidth_is_no_slow_server(server: RepositoryServer) -> None:
    """What is waited for on purpose is not held against the server."""
    server.misbehave("x", contents(DATA[:600]))
    fetcher = HttpFetcher(0.2, bandwidth=Bandwidth(300))
    assert b"".join(fetcher.fetch(f"{server.url}/x")) == DATA[:600]
