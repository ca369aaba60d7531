from __future__ import annotations

import resource
from pathlib import Path

import pytest

from medvouch.adapters.files import read_bounded, write_durably
from medvouch.errors import StorageFault


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
