"""The installer helper writes parts for the daemon, and believes nothing that it is told."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from medvouch.adapters import helper_parts
from medvouch.adapters.boot_loader import BootLoader
from medvouch.adapters.components import DeviceComponents
from medvouch.adapters.helper import HelperServer, listen
from medvouch.adapters.helper_parts import HelperParts, PartsInstaller
from medvouch.adapters.logs import FileLogs
from medvouch.cli.parts import Nowhere
from medvouch.crypto.keys import Signer
from medvouch.errors import InputError, NetworkFault, Refusal, StorageFault
from medvouch.formats.suit_manifest import Member
from medvouch.formats.suit_report import CommandRecord
from medvouch.release.manifests import build_parts_manifest, integrated, sign_envelope
from medvouch.update.execution import Procedure
from medvouch.update.parts import BOOT_LOADER, Signers, staged
from medvouch.update.payload import Payload
from medvouch.update.processor import REFERENCE, DeviceClass
from medvouch_sim.fixtures import loader
from support.suit import DEVICE, QUALITY, QUALITY_KEYS, RELEASE, RELEASE_KEYS

OLD, NEW = loader("257"), loader("258")
CONTENTS = {REFERENCE: b"signed reference values"}


def envelope(
    data: bytes = NEW, *, sequence: int = 2, device: DeviceClass = DEVICE, signers: Sequence[Signer] = RELEASE[:2]
) -> bytes:
    payload = Payload("boot-loader", "https://updates.example/loader", hashlib.sha256(data).digest(), len(data))
    manifest = build_parts_manifest(
        sequence=sequence, version="1.0.1", security_epoch=1, device=device, parts=[payload],
        reference=CONTENTS[REFERENCE],
    )  # fmt: skip
    return sign_envelope(manifest, signers, QUALITY[:1], integrated(CONTENTS))


@dataclass(frozen=True)
class Device:
    """A loader, what root's helper keeps, and what the daemon has staged."""

    folder: Path

    @property
    def loader(self) -> Path:
        return self.folder / "loader.efi"

    @property
    def socket(self) -> Path:
        return self.folder / "i.sock"

    def components(self, folder: str) -> DeviceComponents:
        part = BootLoader(self.loader, self.folder / "previous.efi")
        return DeviceComponents(None, Nowhere(), self.folder / folder, [], (), parts={BOOT_LOADER: part})

    @property
    def daemon(self) -> DeviceComponents:
        return self.components("daemon")

    @property
    def installer(self) -> PartsInstaller:
        signers = Signers(RELEASE_KEYS, QUALITY_KEYS)
        return PartsInstaller(signers, DEVICE, self.components("helper"), self.folder / "last-sequence")

    @contextmanager
    def served(self) -> Iterator[HelperParts]:
        listener = listen(self.socket, os.getuid())
        files = FileLogs(*(self.folder / name for name in ("uefi", "systemd", "ima")))
        server = HelperServer(files, os.getuid(), self.installer.answer)

        def serve() -> None:
            with suppress(OSError):  # of accept, once the listener is shut down
                server.serve(listener)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield HelperParts(self.socket, self.daemon)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            listener.close()


@pytest.fixture
def device(tmp_path: Path) -> Device:
    device = Device(tmp_path)
    device.loader.write_bytes(OLD)
    device.daemon.store(staged(BOOT_LOADER), [NEW])
    return device


def test_installed_and_validated(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper_parts, "PIECE_BYTES", 1000)
    with device.served() as remote:
        for _ in range(2):
            outcome = remote.run(envelope(), Procedure.INSTALL)
            assert (outcome.error, device.loader.read_bytes()) == (None, NEW)
        copied, _ = [each for each in outcome.report.records if isinstance(each, CommandRecord)][-2:]
        assert (copied.section, copied.properties.source_component) == (Member.INSTALL, 1)
        assert remote.run(envelope(), Procedure.BOOT).error is None
        device.loader.write_bytes(OLD)
        failed = remote.run(envelope(), Procedure.BOOT)
    assert isinstance(failed.error, Refusal)
    assert failed.error.code == "component-mismatch"
    assert failed.error.remedy
    assert failed.report.failure is not None
    assert list((device.folder / "helper").iterdir()) == []


def test_none_is_installed_before_a_later_one(device: Device) -> None:
    with device.served() as remote:
        remote.run(envelope(sequence=3), Procedure.INSTALL)
        with pytest.raises(Refusal, match="sequence-not-higher"):
            remote.run(envelope(), Procedure.INSTALL)
        assert (device.folder / "last-sequence").read_bytes() == b"3"
        assert remote.run(envelope(sequence=4), Procedure.BOOT).error is None
        assert (device.folder / "last-sequence").read_bytes() == b"3"


def test_a_memory_that_says_nothing(device: Device) -> None:
    (device.folder / "last-sequence").write_bytes(b"yesterday")
    with device.served() as remote:
        for _ in range(2):
            with pytest.raises(StorageFault, match="file-malformed"):
                remote.run(envelope(), Procedure.INSTALL)
    assert device.loader.read_bytes() == OLD


def test_nothing_stays_with_the_helper(device: Device) -> None:
    good = envelope()
    question = {"procedure": "install", "envelope": len(good), "payloads": ["boot-loader"]}
    with device.served() as remote:
        device.loader.rename(device.folder / "elsewhere")
        asked(device, question, good + b"\0\0\0\3abc\0\0\0\5")
        assert remote.run(good, Procedure.BOOT).error is not None
    assert list((device.folder / "helper").iterdir()) == []


def test_what_was_staged_is_not_what_was_signed(device: Device) -> None:
    device.daemon.store(staged(BOOT_LOADER), [OLD[:-1] + b"!"])
    with device.served() as remote:
        failed = remote.run(envelope(), Procedure.INSTALL)
    assert failed.error is not None
    assert (failed.error.code, device.loader.read_bytes()) == ("payload-mismatch", OLD)


def test_what_the_firmware_could_not_start(device: Device) -> None:
    """An InputError comes back as one, and the agent gives up."""
    text = b"no program".ljust(600)
    device.daemon.store(staged(BOOT_LOADER), [text])
    with device.served() as remote:
        failed = remote.run(envelope(text), Procedure.INSTALL)
    assert isinstance(failed.error, InputError)
    assert failed.error.code == "pe-malformed"


def test_a_fault_of_the_disk_comes_back_as_one(device: Device) -> None:
    device.loader.unlink()
    device.loader.mkdir()
    with device.served() as remote:
        failed = remote.run(envelope(), Procedure.INSTALL)
    assert isinstance(failed.error, StorageFault)


def test_releases_that_are_not_to_be_believed_or_not_for_here(device: Device) -> None:
    other = replace(DEVICE, class_id=bytes(16))
    with device.served() as remote:
        for given, code in (
            (envelope(signers=RELEASE[:1]), "manifest-signatures-too-few"),
            (envelope(device=other), "manifest-other-class"),
        ):
            with pytest.raises(Refusal) as caught:
                remote.run(given, Procedure.INSTALL)
            assert caught.value.code == code
    assert device.loader.read_bytes() == OLD


def asked(device: Device, arguments: object, behind: bytes = b"") -> dict[str, object]:
    question = json.dumps({"call": "parts", "args": arguments}).encode() + b"\n" + behind
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(device.socket))
        connection.sendall(question)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                answer += part
    found: dict[str, object] = json.loads(answer.split(b"\n")[0])["error"]
    return found


def test_questions_that_are_none(device: Device) -> None:
    good = envelope()
    full = {"procedure": "install", "envelope": len(good), "payloads": ["boot-loader"]}
    with device.served():
        for arguments, behind, code in (
            ({}, b"", "malformed"),
            ({**full, "procedure": "update"}, good, "malformed"),
            ({**full, "envelope": 0}, b"", "limit"),
            ({**full, "envelope": 1 << 30}, b"", "limit"),
            (full, good[:-1], "malformed"),
            ({**full, "payloads": ["../x"]}, good, "malformed"),
            ({**full, "payloads": [1]}, good, "malformed"),
            ({**full, "payloads": [{}]}, good, "malformed"),
            ({**full, "payloads": ["firmware"]}, good + bytes(4), "malformed"),
            ({**full, "payloads": ["boot-loader"] * 2}, good + bytes(8), "malformed"),
            (full, good + b"\0\0", "malformed"),
            (full, good + b"\0\0\0\5abc", "malformed"),
            (full, good + b"\x10\0\0\0", "limit"),
        ):
            assert asked(device, arguments, behind)["code"] == f"helper-{code}", arguments


def test_a_helper_that_writes_no_parts(device: Device) -> None:
    listener = listen(device.socket, os.getuid())
    files = FileLogs(*(device.folder / name for name in ("uefi", "systemd", "ima")))

    def serve() -> None:
        with suppress(OSError):
            HelperServer(files, os.getuid()).serve(listener)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with pytest.raises(StorageFault, match="helper-malformed"):
            HelperParts(device.socket, device.daemon).run(envelope(), Procedure.INSTALL)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "helper-silent"),
        (b"no JSON\n", "helper-unknown"),
        (b'{"result": {"bytes": 5}}\nxxxxx', "helper-unknown"),
        (b'{"result": {"bytes": 5, "error": null}}\nxx', "helper-silent"),
        (b'{"result": {"bytes": 999999999, "error": null}}\n', "helper-unknown"),
        (b'{"result": {"bytes": 0, "error": null}}\n', "helper-unknown"),
        (b'{"result": {"bytes": 0, "error": {"code": "x"}}}\n', "helper-unknown"),
    ],
)
def test_answers_of_something_else(device: Device, answer: bytes, code: str) -> None:
    with listen(device.socket, os.getuid()) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 20)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(StorageFault) as caught:
            HelperParts(device.socket, device.daemon).run(envelope(), Procedure.BOOT)
        thread.join()
    assert caught.value.code == code


def test_nobody_there(device: Device) -> None:
    with pytest.raises(StorageFault, match="helper-unreachable"):
        HelperParts(device.socket, device.daemon).run(envelope(), Procedure.BOOT)
    with pytest.raises(NetworkFault, match="fetch-unreachable"):
        Nowhere().fetch("https://updates.example/loader")
