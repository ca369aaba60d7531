"""The fetcher against a real server that behaves, and one that does not."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from medvouch.adapters import http as http_adapter
from medvouch.adapters.http import CHUNK_BYTES, HttpFetcher
from medvouch.adapters.metadata import FileMetadataStore
from medvouch.errors import InputError, MedvouchError, NetworkFault, Refusal
from medvouch.formats.tuf_versions import Versions
from medvouch.update import refusals
from medvouch.update.repository import Repository
from medvouch_sim.repository_server import (
    Exchange,
    RepositoryServer,
    contents,
    endless,
    status,
    trickling,
    truncated,
)
from support import pki
from support.tufs import NOW, Tuf

TIMEOUT_S = 0.3


@pytest.fixture
def fetcher() -> HttpFetcher:
    return HttpFetcher(TIMEOUT_S)


def fault(fetcher: HttpFetcher, url: str) -> NetworkFault:
    with pytest.raises(NetworkFault) as caught:
        b"".join(fetcher.fetch(url))
    return caught.value


def test_a_file_in_chunks(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    data = bytes(range(256)) * 300
    (server.directory / "a file").write_bytes(data)
    chunks = list(fetcher.fetch(f"{server.url}/a%20file?x=1"))
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= CHUNK_BYTES
    assert server.requests == ["a file"]


def test_an_empty_file(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    (server.directory / "empty").write_bytes(b"")
    assert list(fetcher.fetch(f"{server.url}/empty")) == []


def test_a_body_in_transfer_chunks(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(200, Transfer_Encoding="chunked")
        exchange.body(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    server.misbehave("x", answer)
    with closing(fetcher.fetch(f"{server.url}/x")) as body:
        assert b"".join(body) == b"abcde"


def test_a_body_in_transfer_chunks_cut_short(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(200, Transfer_Encoding="chunked")
        exchange.body(b"3\r\nabc\r\n2\r\nd")

    server.misbehave("x", answer)
    assert fault(fetcher, f"{server.url}/x").code == "fetch-unreachable"


@pytest.mark.parametrize(
    ("code", "wanted", "said"),
    [
        (404, "fetch-not-found", "404"),
        (403, "fetch-not-found", "403"),
        (500, "fetch-failed", "500"),
        (206, "fetch-failed", "206"),
        (302, "fetch-failed", "redirect"),
        (304, "fetch-failed", "304"),
    ],
)
def test_other_answers(server: RepositoryServer, fetcher: HttpFetcher, code: int, wanted: str, said: str) -> None:
    (server.directory / "elsewhere").write_bytes(b"not here")
    server.misbehave("x", status(code, Location=f"{server.url}/elsewhere"))
    found = fault(fetcher, f"{server.url}/x")
    assert found.code == wanted
    assert said in found.detail
    assert found.remedy
    assert server.requests == ["x"]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: RepositoryServer, fetcher: HttpFetcher, code: int) -> None:
    """Not even to the same server: the manifest's address is the one that was held against those allowed."""
    server.misbehave("x", status(code, Location=f"{server.url}/elsewhere"))
    (server.directory / "elsewhere").write_bytes(b"something else")
    assert fault(fetcher, f"{server.url}/x").code == "fetch-failed"
    assert server.requests == ["x"]


def test_a_body_that_is_cut_short(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    server.misbehave("x", truncated(5))
    found = fault(fetcher, f"{server.url}/x")
    assert found.code == "fetch-unreachable"
    assert "after 5 of 1005 bytes" in found.detail


def test_who_has_enough_ends_an_endless_body(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    server.misbehave("x", endless(server))
    with closing(fetcher.fetch(f"{server.url}/x")) as body:
        assert sum(len(next(body)) for _ in range(100)) <= 100 * CHUNK_BYTES


def test_a_body_that_trickles(server: RepositoryServer, fetcher: HttpFetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_adapter, "MIN_BYTES_PER_S", 1000)
    server.misbehave("x", trickling(server, 0.02))
    started = time.monotonic()
    assert fault(fetcher, f"{server.url}/x").code == "fetch-unreachable"
    assert time.monotonic() - started < 10 * TIMEOUT_S


def test_headers_that_trickle(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    """Each line begins the socket's wait anew."""

    def answer(exchange: Exchange) -> None:
        exchange.body(b"HTTP/1.1 200 OK\r\n")
        while not server.stopping.is_set():
            exchange.body(b"X: y\r\n")
            time.sleep(0.02)

    server.misbehave("x", answer)
    found = fault(fetcher, f"{server.url}/x")
    assert (found.code, "timed out after 0.3 s" in found.detail) == ("fetch-unreachable", True)


def test_trailers_without_end(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(200, Transfer_Encoding="chunked")
        exchange.body(b"1\r\na\r\n0\r\n")
        while not server.stopping.is_set():
            exchange.body(b"X: y\r\n" * 1000)

    server.misbehave("x", answer)
    found = fault(fetcher, f"{server.url}/x")
    assert (found.code, "timed out after 0.3 s" in found.detail) == ("fetch-unreachable", True)


def test_who_takes_their_time_with_a_body_loses_nothing(
    server: RepositoryServer, fetcher: HttpFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_adapter, "MIN_BYTES_PER_S", 1 << 30)
    data = bytes(3 * CHUNK_BYTES)
    (server.directory / "x").write_bytes(data)
    received = b""
    for chunk in fetcher.fetch(f"{server.url}/x"):
        time.sleep(TIMEOUT_S / 2)
        received += chunk
    assert received == data


def test_a_server_that_is_silent(fetcher: HttpFetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = fault(fetcher, f"http://127.0.0.1:{silent.getsockname()[1]}/x")
    assert found.code == "fetch-unreachable"
    assert "timed out" in found.detail


def test_no_server(fetcher: HttpFetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert fault(fetcher, f"http://127.0.0.1:{port}/x").code == "fetch-unreachable"


@pytest.mark.parametrize("line", [b"nonsense\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, b"H" * 70_000 + b"\r\n"])
def test_a_server_that_speaks_no_http(fetcher: HttpFetcher, line: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_say, args=(listening, line))
        thread.start()
        try:
            assert fault(fetcher, f"http://127.0.0.1:{listening.getsockname()[1]}/x").code == "fetch-unreachable"
        finally:
            thread.join()


def _say(listening: socket.socket, line: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(line + b"\r\n")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "127.0.0.1/x",
        "http:///x",
        "http://user@127.0.0.1/x",
        "http://127.0.0.1:0/x",
        "http://127.0.0.1:port/x",
        "http://127.0.0.1:99999/x",
        "http://[::1/x",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nX: y",
        "http://127.0.0.1/ä",
    ],
)
def test_what_is_no_http_url(fetcher: HttpFetcher, url: str) -> None:
    assert fault(fetcher, url).code == "fetch-failed"


def test_tls(tmp_path: Path) -> None:
    ca = pki.authority("ca")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*pki.issue(ca, "server").write(tmp_path))
    believing = ssl.create_default_context(cadata=ca.pem.decode())
    other = ssl.create_default_context(cadata=pki.authority("other").pem.decode())
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "x").write_bytes(b"secret")
    with RepositoryServer(tmp_path / "served", tls) as server:
        assert server.url.startswith("https:")
        assert b"".join(HttpFetcher(5, context=believing).fetch(f"{server.url}/x")) == b"secret"
        for fetcher in (HttpFetcher(5, context=other), HttpFetcher(5)):
            found = fault(fetcher, f"{server.url}/x")
            assert (found.code, "certificate" in found.detail) == ("fetch-unreachable", True)
    assert server.requests == ["x"]


def test_tls_with_a_server_that_speaks_none(fetcher: HttpFetcher, server: RepositoryServer) -> None:
    assert fault(fetcher, server.url.replace("http:", "https:")).code == "fetch-unreachable"


# --- a whole repository ----------------------------------------------------------------------------------------------


@pytest.fixture
def tuf() -> Tuf:
    tuf = Tuf()
    tuf.add("trust.cbor", b"whom to believe")
    tuf.bump("targets")
    return tuf


def lay_out(tuf: Tuf, folder: Path) -> None:
    for name, data in tuf.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture
def store(tmp_path: Path) -> FileMetadataStore:
    return FileMetadataStore(tmp_path / "state" / "tuf")


@pytest.fixture
def repository(tuf: Tuf, server: RepositoryServer, store: FileMetadataStore, fetcher: HttpFetcher) -> Repository:
    lay_out(tuf, server.directory)
    return Repository(server.url, fetcher, store, lambda: NOW, tuf.anchor)


def test_a_refresh_over_http(repository: Repository, tmp_path: Path) -> None:
    repository.refresh()
    assert repository.versions == Versions(1, 2, 2)
    assert repository.trust() == b"whom to believe"
    kept = sorted(path.name for path in (tmp_path / "state" / "tuf").iterdir())
    assert kept == ["snapshot.json", "targets.json", "timestamp.json"]


def test_another_directory_in_its_place(
    repository: Repository, server: RepositoryServer, tuf: Tuf, tmp_path: Path
) -> None:
    """Yesterday's repository, kept by somebody who answers in the server's place."""
    yesterday = tmp_path / "yesterday"
    lay_out(tuf, yesterday)
    repository.refresh()
    tuf.bump("targets")
    lay_out(tuf, server.directory)
    repository.refresh()
    server.directory = yesterday
    with pytest.raises(Refusal) as caught:
        repository.refresh()
    assert caught.value.kind == refusals.REPOSITORY_ROLLED_BACK


@pytest.mark.parametrize("path", ["metadata/2.root.json", "metadata/timestamp.json", "metadata/2.targets.json"])
@pytest.mark.parametrize(
    ("how", "code"), [("500", "fetch-failed"), ("cut", "fetch-unreachable"), ("endless", "metadata-")]
)
def test_each_step_of_a_refresh_fails_as_what_it_is(
    repository: Repository, server: RepositoryServer, path: str, how: str, code: str
) -> None:
    server.misbehave(path, {"500": status(500), "cut": truncated(3), "endless": endless(server)}[how])
    with pytest.raises(MedvouchError) as caught:
        repository.refresh()
    assert caught.value.code.startswith(code)
    server.behave()
    repository.refresh()


def test_what_is_altered_on_the_way(repository: Repository, server: RepositoryServer) -> None:
    server.misbehave("targets/", contents(b"whom to believe!"))
    repository.refresh()
    with pytest.raises(Refusal) as caught:
        repository.trust()
    assert caught.value.kind == refusals.TARGET_MISMATCH
    server.misbehave("metadata/timestamp.json", contents(b"{}"))
    with pytest.raises(InputError, match="metadata-malformed"):
        repository.refresh()


def test_files_outside_the_directory_are_not_served(server: RepositoryServer, fetcher: HttpFetcher) -> None:
    (server.directory.parent / "secret").write_bytes(b"secret")
    assert fault(fetcher, f"{server.url}/%2e%2e/secret").code == "fetch-not-found"


def test_a_server_that_is_away_and_comes_back(server: RepositoryServer) -> None:
    (server.directory / "file").write_bytes(b"here")
    url = f"{server.url}/file"
    with server.unreachable(), pytest.raises(NetworkFault, match="fetch-unreachable"):
        list(HttpFetcher(TIMEOUT_S).fetch(url))
    assert b"".join(HttpFetcher(TIMEOUT_S).fetch(url)) == b"here"
