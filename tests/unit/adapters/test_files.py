from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from medvouch.adapters.files import bounded, read_bounded, read_chunks, write_chunks_durably, write_durably
from medvouch.errors import NetworkFault, StorageFault


def test_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"one")
    write_durably(path, b"two", mode=0o600)
    assert read_bounded(path, 3) == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(StorageFault, match="file-not-written"):
            write_durably(path, bytes(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "code"),
    [("missing", "file-missing"), ("", "file-unreadable"), ("loop", "file-unreadable"), ("large", "file-too-large")],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(StorageFault) as caught:
        read_bounded(tmp_path / name, 10)
    assert caught.value.code == code
    assert caught.value.remedy


def test_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_chunks_durably(path, bounded(iter([b"ab", b"cde"]), 5))
    assert list(read_chunks(path, 2)) == [b"ab", b"cd", b"e"]
    assert list(read_chunks(tmp_path / "missing")) == []


def test_what_ends_midway_leaves_the_old_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")

    def broken() -> Iterator[bytes]:
        yield b"new"
        raise NetworkFault("fetch-unreachable", "gone")

    with pytest.raises(NetworkFault):
        write_chunks_durably(path, broken())
    with pytest.raises(StorageFault, match="component-too-large"):
        write_chunks_durably(path, bounded([b"ab", b"cd"], 3))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_link_is_followed_and_no_pipe_waited_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", ""):
        with pytest.raises(StorageFault, match="file-unreadable"):
            list(read_chunks(tmp_path / name))
