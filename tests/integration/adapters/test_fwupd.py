"""fwupd's client and daemon as they answer: what is installed, what waits for a better day, and what is refused."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from medvouch.adapters import fwupd as adapter
from medvouch.adapters.fwupd import Fwupd
from medvouch.errors import EnvironmentFault, MissingPart
from medvouch.update import refusals
from medvouch_sim import firmware_updates, fwupd
from medvouch_sim.firmware import Machine
from support.fwupds import FILES, IMAGE, NEEDED, VERSION, short_folder
from support.refusing import assert_refused


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def cabinet(folder: Path) -> bytes:
    return fwupd.cabinet(folder / "cabinet", IMAGE, VERSION)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.create(tmp_path / "disk")


@NEEDED
def test_installed_and_recognised(machine: Machine, folder: Path, cabinet: bytes) -> None:
    """Given once more before the restart, and once more after it, when the daemon has looked again."""
    cab = folder / "firmware.cab"
    with fwupd.running(machine, folder / "one") as client:
        part = Fwupd(client, cab)
        for _ in range(2):
            part.store([cabinet[:100], cabinet[100:]])
            (capsule,) = (machine.esp / "EFI" / "UpdateCapsule").iterdir()
            assert IMAGE in capsule.read_bytes()
            assert not cab.exists()
        assert list(part.read()) == []
    firmware_updates.take(machine)
    assert (machine.firmware_version, capsule.exists()) == (VERSION, False)
    assert (machine.firmware / "firmware-version.txt").read_bytes() == FILES["firmware-version.txt"]
    with fwupd.running(machine, folder / "one") as client:
        Fwupd(client, cab).store([cabinet])
    assert not capsule.exists()


@NEEDED
def test_refused(machine: Machine, folder: Path, cabinet: bytes) -> None:
    other = fwupd.cabinet(folder / "other", IMAGE, VERSION, guid=UUID(int=1))
    older = fwupd.cabinet(folder / "older", IMAGE, 99)
    with fwupd.running(machine, folder / "two") as client:
        for given, words in ((b"no cabinet", "FuStructCabHeader"), (other, "No supported devices"), (older, "older")):
            refused = assert_refused(refusals.FIRMWARE_REFUSED, Fwupd(client, folder / "firmware.cab").store, [given])
            assert words in refused.detail
    with fwupd.running(machine, folder / "two", trusted=True) as client:
        refused = assert_refused(refusals.FIRMWARE_REFUSED, Fwupd(client, folder / "firmware.cab").store, [cabinet])
        assert "not trusted" in refused.detail


@NEEDED
def test_no_daemon(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/nowhere")
    fwupdmgr = Path(adapter.subprocess.check_output(["which", "fwupdmgr"], text=True).strip())
    with pytest.raises(EnvironmentFault, match="firmware-held-up"):
        Fwupd(fwupdmgr, tmp_path / "cab").store([b"a cabinet"])


# --- whatever is called ----------------------------------------------------------------------------------------------


def program(folder: Path, text: str) -> Path:
    """A client that says this."""
    path = folder / "client"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def said(code: int, domain: str = "FwupdError") -> str:
    return f'echo \'{{"Error": {{"Domain": "{domain}", "Code": {code}, "Message": "words"}}}}\'; exit 1'


def test_what_it_is_given_nobody_else_may_write(tmp_path: Path) -> None:
    Fwupd(program(tmp_path, f'cp -p "$2" {tmp_path}/seen; echo "$@" > {tmp_path}/said'), tmp_path / "cab").store([b"x"])
    assert stat.S_IMODE((tmp_path / "seen").stat().st_mode) == 0o600
    assert (tmp_path / "said").read_text() == f"install {tmp_path}/cab --json --assume-yes --no-reboot-check\n"


@pytest.mark.parametrize("code", [2, 3])
def test_nothing_to_do(tmp_path: Path, code: int) -> None:
    Fwupd(program(tmp_path, said(code)), tmp_path / "cab").store([b"x"])


@pytest.mark.parametrize(
    "text",
    [
        said(12), said(15), said(20), said(2, "g-dbus-error-quark"), "echo '[]'; exit 1",
        "echo '{\"Error\": 1}'; exit 1", "echo no JSON >&2; exit 1", "sleep 5",
    ],
)  # fmt: skip
def test_another_day(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "INSTALL_S", 0.2)
    with pytest.raises(EnvironmentFault, match="firmware-held-up"):
        Fwupd(program(tmp_path, text), tmp_path / "cab").store([b"x"])


def test_never(tmp_path: Path) -> None:
    assert_refused(refusals.FIRMWARE_REFUSED, Fwupd(program(tmp_path, said(7)), tmp_path / "cab").store, [b"x"])


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match="fwupd-missing"):
        Fwupd(tmp_path / "nothing", tmp_path / "cab").store([b"x"])
    (tmp_path / "no-program").write_bytes(b"")
    with pytest.raises(EnvironmentFault, match="firmware-held-up"):
        Fwupd(tmp_path / "no-program", tmp_path / "cab").store([b"x"])
