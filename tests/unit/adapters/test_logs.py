from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from medvouch.adapters import logs
from medvouch.adapters.logs import FileLogs
from medvouch.errors import StorageFault


def test_reads_all_three(tmp_path: Path) -> None:
    for name in ("uefi", "systemd", "ima"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    files = FileLogs(tmp_path / "uefi", tmp_path / "systemd", tmp_path / "ima")
    assert files.uefi() == b"uefi" * 1000
    assert files.systemd() == b"systemd" * 1000
    assert files.ima() == b"ima" * 1000


def test_absent_logs(tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert FileLogs(none).systemd() is None
    assert FileLogs(none).ima() is None
    files = FileLogs(none, none, none)
    assert files.systemd() is None
    assert files.ima() is None
    with pytest.raises(StorageFault, match=r"eventlog-missing.*does not exist; boot in UEFI"):
        files.uefi()


def test_a_file_whose_size_reads_0_is_read_to_its_end() -> None:
    assert Path("/proc/self/status").stat().st_size == 0
    assert FileLogs(Path("/proc/self/status")).uefi().startswith(b"Name:")


def test_a_gigabyte_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    os.truncate(path, 1 << 30)
    with pytest.raises(StorageFault) as caught:
        FileLogs(path).uefi()
    assert caught.value.code == "eventlog-too-large"
    assert caught.value.exit_code == 6


def test_the_limit_holds_where_the_size_reads_0() -> None:
    with pytest.raises(StorageFault, match="eventlog-too-large"):
        FileLogs(Path("/proc/self/status"), limit=100).uefi()


def test_the_limit_itself_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(100))
    assert len(FileLogs(path, limit=100).uefi()) == 100


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_unreadable(tmp_path: Path, make: object) -> None:
    path = tmp_path / "log"
    make(path)  # type: ignore[operator]
    with pytest.raises(StorageFault, match="eventlog-unreadable"):
        FileLogs(path).uefi()


def test_a_path_through_a_file_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFault, match=r"eventlog-unreadable.*Not a directory"):
        FileLogs(tmp_path / "file" / "log").uefi()


def test_systemds_lock_is_waited_for_and_then_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tpm2-measure.log"
    path.write_bytes(b"x")
    monkeypatch.setattr(logs, "LOCK_WAIT_S", 0.05)
    with path.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(StorageFault, match="eventlog-locked"):
            FileLogs(path, path).systemd()
    assert FileLogs(path, path).systemd() == b"x"


def test_systemds_mark_of_an_interrupted_measurement(tmp_path: Path) -> None:
    path = tmp_path / "tpm2-measure.log"
    path.write_bytes(b"x")
    path.chmod(0o1600)
    with pytest.raises(StorageFault, match="eventlog-incomplete"):
        FileLogs(path, path).systemd()
