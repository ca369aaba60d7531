"""The installer helper over real sockets, and with the kernel's own word on who asks."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from medvouch.adapters import helper
from medvouch.adapters.helper import MAX_REQUEST_BYTES, HelperLogs, HelperServer, listen
from medvouch.adapters.logs import FileLogs
from medvouch.errors import StorageFault

NOBODY = 65534


@dataclass(frozen=True)
class Logs:
    """Three log files, and the socket of a helper that reads them."""

    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / "installer.sock"

    @property
    def files(self) -> FileLogs:
        return FileLogs(self.folder / "uefi", self.folder / "systemd", self.folder / "ima")

    @contextmanager
    def served(self, uid: int | None = None) -> Iterator[HelperLogs]:
        """The helper answers that user (None: this one)."""
        uid = os.getuid() if uid is None else uid
        listener = listen(self.socket, os.getuid())
        thread = threading.Thread(target=self._serve, args=(listener, uid))
        thread.start()
        try:
            yield HelperLogs(self.socket)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            listener.close()

    def _serve(self, listener: socket.socket, uid: int) -> None:
        with suppress(OSError):  # of accept, once the listener is shut down
            HelperServer(self.files, uid).serve(listener)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    (tmp_path / "uefi").write_bytes(b"uefi" * 100_000)
    (tmp_path / "ima").write_bytes(b"")
    return Logs(tmp_path)


def fault(call: Callable[[], object]) -> StorageFault:
    with pytest.raises(StorageFault) as caught:
        call()
    return caught.value


@contextmanager
def being(uid: int) -> Iterator[None]:
    """Another user to the kernel."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def asked(path: Path, question: bytes) -> bytes:
    """All that is answered to those bytes."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        with suppress(ConnectionError):  # what it did not read makes the end of its answer a reset
            connection.sendall(question)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(1 << 16):
                answer += part
    return answer


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[HelperLogs]:
    """Something listens there and gives this one answer to whatever is asked."""

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

    with listen(path, os.getuid()) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield HelperLogs(path, limit=1000)
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_logs_come_through_whole_and_absent_ones_as_absent(logs: Logs) -> None:
    with logs.served() as remote:
        assert remote.uefi() == b"uefi" * 100_000
        assert remote.systemd() is None
        assert remote.ima() == b""
        (logs.folder / "systemd").write_bytes(b"later")
        assert remote.systemd() == b"later"


def test_the_largest_log_there_may_be(logs: Logs) -> None:
    with (logs.folder / "ima").open("wb") as file:
        file.truncate(helper.MAX_LOG_BYTES)
    with logs.served() as remote:
        log = remote.ima()
        assert log is not None
        assert len(log) == helper.MAX_LOG_BYTES


def test_what_is_wrong_with_a_log_comes_through(logs: Logs) -> None:
    (logs.folder / "uefi").unlink()
    os.truncate(logs.folder / "ima", helper.MAX_LOG_BYTES + 1)
    (logs.folder / "systemd").mkdir()
    with logs.served() as remote:
        local = fault(logs.files.uefi)
        told = fault(remote.uefi)
        assert (told.code, told.detail, told.remedy) == ("eventlog-missing", local.detail, local.remedy)
        assert fault(remote.ima).code == "eventlog-too-large"
        assert fault(remote.systemd).code == "eventlog-unreadable"


def test_only_the_agents_user_is_answered(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    with logs.served(uid=os.getuid() + 1) as remote:
        refused = fault(remote.uefi)
        assert refused.code == "helper-caller-refused"
        assert refused.detail == f"user {os.getuid()} asked (process {os.getpid()}), and only {os.getuid() + 1} may"
        answer = asked(logs.socket, b'{"call": "log", "args": {"name": "uefi"}}\n')
        assert answer == b"" or json.loads(answer)["error"]["code"] == "helper-caller-refused"
    assert caplog.messages[0].startswith("helper-caller-refused: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be another user")
def test_another_user_is_kept_out_by_the_mode_of_the_socket_and_then_refused_by_name() -> None:
    with tempfile.TemporaryDirectory() as name:
        logs = Logs(Path(name))
        logs.folder.chmod(0o755)
        (logs.folder / "uefi").write_bytes(b"uefi")
        with logs.served() as remote:
            with being(NOBODY):
                assert fault(remote.uefi).detail.endswith("Permission denied")
            logs.socket.chmod(0o666)
            with being(NOBODY):
                assert fault(remote.uefi).code == "helper-caller-refused"
        with logs.served(uid=NOBODY) as remote:
            assert fault(remote.uefi).code == "helper-caller-refused"
            os.chown(logs.socket, NOBODY, -1)
            with being(NOBODY):
                assert remote.uefi() == b"uefi"


@pytest.mark.parametrize(
    ("question", "code"),
    [
        (b"", "helper-malformed"),
        (b"\n", "helper-malformed"),
        (b"\xff\n", "helper-malformed"),
        (b"[" * 3000 + b"\n", "helper-malformed"),
        (b"{}\n", "helper-malformed"),
        (b'{"call": "log", "args": {"name": "/etc/shadow"}}\n', "helper-malformed"),
        (b'{"call": "log", "args": {"name": ["uefi"]}}\n', "helper-malformed"),
        (b'{"call": "write", "args": {"name": "uefi"}}\n', "helper-malformed"),
        (b" " * MAX_REQUEST_BYTES, "helper-limit"),
        (b" " * (MAX_REQUEST_BYTES - 1) + b"\n", "helper-limit"),
        (b" " * (MAX_REQUEST_BYTES - 2) + b"\n", "helper-malformed"),
    ],
)
def test_anything_but_a_log_by_its_name_is_refused(logs: Logs, question: bytes, code: str) -> None:
    with logs.served() as remote:
        assert json.loads(asked(logs.socket, question))["error"]["code"] == code
        assert remote.ima() == b""


def test_a_caller_who_says_nothing_holds_nobody_up_for_long(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "HELPER_TIMEOUT_S", 0.1)
    with logs.served() as remote, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(logs.socket))
        assert remote.ima() == b""


def test_a_caller_who_takes_nothing_holds_nobody_up_for_long(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "HELPER_TIMEOUT_S", 0.2)
    (logs.folder / "uefi").write_bytes(bytes(4_000_000))
    with logs.served() as remote, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(logs.socket))
        connection.sendall(b'{"call": "log", "args": {"name": "uefi"}}\n')
        assert remote.ima() == b""


def test_a_helper_that_is_not_there(tmp_path: Path) -> None:
    error = fault(HelperLogs(tmp_path / "none").uefi)
    assert error.code == "helper-unreachable"
    assert "\n" not in str(error)
    assert str(tmp_path / "none") in error.detail
    with listen(tmp_path / "gone", os.getuid()):
        pass
    assert fault(HelperLogs(tmp_path / "gone").uefi).code == "helper-unreachable"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "helper-silent"),
        (b'{"result": {"bytes": 4}}\nabc', "helper-silent"),
        (b'{"result": {"bytes": 4}}\nabcde', "helper-unknown"),
        (b'{"result": {"bytes": null}}\na', "helper-unknown"),
        (b'{"result": {"bytes": null}}\n', "helper-unknown"),  # there is no system without a UEFI log
        (b'{"result": {"bytes": -1}}\n', "helper-unknown"),
        (b'{"result": {"bytes": true}}\na', "helper-unknown"),
        (b'{"result": {"bytes": 1.0}}\na', "helper-unknown"),
        (b'{"result": {"bytes": 1001}}\n' + bytes(1001), "eventlog-too-large"),
        (b'{"result": {"bytes": 10e9', "helper-unknown"),
        (b"[" * 5000 + b"\n", "helper-unknown"),
        (b"HTTP/1.1 200 OK\r\n", "helper-unknown"),
        (b"\xff\n", "helper-unknown"),
        (b'{"error": {"code": 7, "detail": "", "place": "", "remedy": ""}}\n', "helper-unknown"),
        (b'{"error": {"code": "x"}}\n', "helper-unknown"),
        (b" " * helper.MAX_HEADER_BYTES + b'{"result": {"bytes": 0}}\n', "helper-unknown"),
    ],
)
def test_what_is_no_helper_is_not_believed(tmp_path: Path, answer: bytes, code: str) -> None:
    with answering(tmp_path / "s", answer) as remote:
        assert fault(remote.uefi).code == code


def test_an_answer_of_the_limit_is_taken(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b'{"result": {"bytes": 1000}}\n' + bytes(1000)) as remote:
        assert remote.uefi() == bytes(1000)


def test_a_helper_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "ASKING_TIMEOUT_S", 0.1)
    with listen(tmp_path / "s", os.getuid()):
        assert fault(HelperLogs(tmp_path / "s").ima).code == "helper-silent"


def test_a_socket_left_behind_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listen(path, os.getuid()):
        assert path.stat().st_mode & 0o777 == 0o600
        error = fault(lambda: listen(path, os.getuid()))
        assert (error.code, error.detail) == ("helper-socket", f"{path}: another helper listens there")
    with listen(path, os.getuid()):
        pass
    (tmp_path / "file").write_text("precious")
    assert fault(lambda: listen(tmp_path / "file", os.getuid())).code == "helper-socket"
    assert (tmp_path / "file").read_text() == "precious"
    assert fault(lambda: listen(tmp_path / "none" / "s", os.getuid())).code == "helper-socket"


def test_it_ends_when_nobody_asks(logs: Logs) -> None:
    with listen(logs.socket, os.getuid()) as listener:
        HelperServer(logs.files, os.getuid()).serve(listener, idle_s=0.05)
