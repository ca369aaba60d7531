from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import medvouch
from medvouch.adapters import store as module
from medvouch.adapters.store import SqliteStore
from medvouch.errors import StorageFault

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(medvouch.__file__).parents[1])}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def run(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def test_values_come_back_also_after_a_restart(path: Path, store: SqliteStore) -> None:
    store.put({"a": b"1", "b": b"", "c": b"3"})
    store.put({"a": b"2", "c": None, "never": None})
    again = SqliteStore(path)
    for reader in (store, again):
        assert [reader.get(key) for key in "abc"] == [b"2", b"", None]
    again.close()


def test_only_its_owner_may_read_it(path: Path, store: SqliteStore) -> None:
    store.put({"a": b"1"})
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


def test_sequence_and_once_across_restarts(path: Path) -> None:
    for start in (1, 4):
        store = SqliteStore(path)
        assert [store.next_seq() for _ in range(3)] == [start, start + 1, start + 2]
        assert store.first_time("command", "x") is (start == 1)
        assert not store.first_time("command", "x")
        assert store.first_time("other", "x") is (start == 1)
        store.close()


def test_a_crash_skips_numbers_and_repeats_none(path: Path) -> None:
    used = set()
    stores = [SqliteStore(path) for _ in range(3)]
    for store in stores:  # none of them closed before the next reserves
        used |= {store.next_seq() for _ in range(3)}
    for store in stores:
        store.close()
    store = SqliteStore(path)
    assert len(used) == 9
    assert store.next_seq() not in used
    store.close()


def test_threads_share_it(store: SqliteStore) -> None:
    numbers: list[int] = []
    threads = [threading.Thread(target=lambda: numbers.extend(store.next_seq() for _ in range(20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 161))


WRITER = """
import sys
from pathlib import Path
from medvouch.adapters.store import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
while True:
    n = store.next_seq()
    store.put({f"a{n}": b"%d" % n, f"b{n}": b"%d" % n})
    print(n, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    acknowledged: list[int] = []
    for _ in range(3):
        with run(WRITER, path) as writer:
            assert writer.stdout
            acknowledged += [int(writer.stdout.readline()) for _ in range(25)]
            writer.kill()
            acknowledged += [int(line) for line in writer.stdout]
        store = SqliteStore(path)
        assert all(store.get(f"a{n}") == store.get(f"b{n}") == b"%d" % n for n in acknowledged)
        assert store.next_seq() > acknowledged[-1]
        store.close()
    assert acknowledged == sorted(set(acknowledged))


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_database(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StorageFault) as caught:
        SqliteStore(path)
    assert caught.value.code == "state-corrupt"
    assert caught.value.exit_code == 6
    assert "enrol" in caught.value.remedy
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_damaged_page_is_found_when_opened(path: Path) -> None:
    store = SqliteStore(path)
    store.put({str(n): bytes(500) for n in range(100)})
    store.close()
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * 4096)
    with pytest.raises(StorageFault, match="state-corrupt"):
        SqliteStore(path)


FILLER = """
import resource, sys
from pathlib import Path
from medvouch.adapters.store import SqliteStore
from medvouch.errors import StorageFault
store = SqliteStore(Path(sys.argv[1]))
store.put({"kept": b"1"})
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    while True:
        store.put({str(store.next_seq()): bytes(20_000)})
except StorageFault as fault:
    print(fault)
assert store.get("kept") == b"1"
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    Path(sys.argv[2]).unlink()
store.put({"after": b"2"})
store.close()
"""


def test_a_write_error_loses_nothing_and_passes(path: Path) -> None:
    with run(FILLER, path, "limit") as filler:
        output = filler.communicate()[0]
    assert filler.returncode == 0
    assert output.startswith("state-unusable: ")
    store = SqliteStore(path)
    assert (store.get("kept"), store.get("after")) == (b"1", b"2")
    store.close()


def test_a_full_disk_loses_nothing_and_passes(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=400k none {disk} && fallocate -l 100k {disk}/ballast && exec "$@"'
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    if not shutil.which("unshare") or subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    command = [*inside, sys.executable, "-c", FILLER, str(disk / "state.db"), str(disk / "ballast")]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("state-full: ")
    assert "free some space" in done.stdout


def test_a_locked_database_says_so(path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUSY_S", 0.05)
    impatient = SqliteStore(path)
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageFault, match="state-busy"):
        impatient.put({"a": b""})
    other.close()
    impatient.put({"a": b""})
    impatient.close()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFault, match="state-unusable"):
        SqliteStore(tmp_path / "file" / "state.db")
    (tmp_path / "state.db").mkdir()
    with pytest.raises(StorageFault, match="state-unusable"):
        SqliteStore(tmp_path / "state.db")


def test_what_was_deleted_is_not_on_the_disk_any_more(path: Path) -> None:
    secret = bytes(range(256)) * 64
    store = SqliteStore(path)
    store.put({"data-key": secret})
    store.put({"data-key": None})
    store.close()
    assert secret[:512] not in path.read_bytes()
