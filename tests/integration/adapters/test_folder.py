"""A repository in a directory: read as it is, and nothing else than plain files in it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from medvouch.adapters.folder import AnyFetcher
from medvouch.adapters.http import HttpFetcher
from medvouch.errors import NetworkFault
from medvouch_sim.repository_server import RepositoryServer

DATA = bytes(range(256)) * 5000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "usb stick" / "targets").mkdir(parents=True)
    (tmp_path / "usb stick" / "targets" / "a file").write_bytes(DATA)
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "usb stick"


@pytest.fixture
def fetcher() -> AnyFetcher:
    return AnyFetcher(HttpFetcher(1.0))


def url(folder: Path, name: str) -> str:
    return f"file://{str(folder).replace(' ', '%20')}/{name}"


def code(fetcher: AnyFetcher, at: str) -> str:
    with pytest.raises(NetworkFault) as caught:
        b"".join(fetcher.fetch(at))
    return caught.value.code


def test_a_file(folder: Path, fetcher: AnyFetcher) -> None:
    assert b"".join(fetcher.fetch(url(folder, "targets/a%20file"))) == DATA


def test_pieces(folder: Path, fetcher: AnyFetcher) -> None:
    at = url(folder, "targets/a%20file")
    with closing(fetcher.open(at)) as remote:
        assert b"".join(remote.read(5, 9)) == DATA[5:9]
        assert b"".join(remote.read(1_200_000)) == DATA[1_200_000:]
        assert list(remote.read(7, 7)) == []
        state = remote.validator
    with closing(fetcher.open(at, state)) as remote:
        assert b"".join(remote.read(0, 1)) == DATA[:1]
    (folder / "targets" / "a file").write_bytes(b"another")
    with closing(fetcher.open(at, state)) as remote, pytest.raises(NetworkFault, match="fetch-no-range"):
        b"".join(remote.read(0, 1))


def test_a_piece_that_is_not_all_there(folder: Path, fetcher: AnyFetcher) -> None:
    at = url(folder, "targets/a%20file")
    with closing(fetcher.open(at)) as remote, pytest.raises(NetworkFault, match="fetch-failed"):
        b"".join(remote.read(0, len(DATA) + 1))


@pytest.mark.parametrize("name", ["nothing", "targets", "targets/a%20file/below"])
def test_what_is_not_there(folder: Path, fetcher: AnyFetcher, name: str) -> None:
    assert code(fetcher, url(folder, name)) == "fetch-not-found"


def test_links_lead_nowhere(folder: Path, fetcher: AnyFetcher) -> None:
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "away").symlink_to(folder.parent)
    assert code(fetcher, url(folder, "link")) == "fetch-not-found"
    assert code(fetcher, url(folder, "away/secret")) == "fetch-not-found"


def test_a_fifo_keeps_nobody_waiting(folder: Path, fetcher: AnyFetcher) -> None:
    os.mkfifo(folder / "fifo")
    assert code(fetcher, url(folder, "fifo")) == "fetch-not-found"


@pytest.mark.parametrize(
    "name",
    ["../secret", "targets/../../secret", "%2e%2e/secret", "targets%2fa%20file", ".", "targets//a%20file", "a%00"],
)
def test_what_is_no_plain_path(folder: Path, fetcher: AnyFetcher, name: str) -> None:
    assert code(fetcher, url(folder, name)) == "fetch-failed"


@pytest.mark.parametrize("at", ["file://host/etc/passwd", "file:", "file://", "file:///"])
def test_what_is_no_file_url(fetcher: AnyFetcher, at: str) -> None:
    assert code(fetcher, at) == "fetch-failed"


def test_all_else_comes_over_http(folder: Path, fetcher: AnyFetcher) -> None:
    with RepositoryServer(folder) as server:
        assert b"".join(fetcher.fetch(f"{server.url}/targets/a%20file")) == DATA
        with closing(fetcher.open(f"{server.url}/targets/a%20file")) as remote:
            assert b"".join(remote.read(1, 3)) == DATA[1:3]
