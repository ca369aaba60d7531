"""Beside other users of the TPM, through a resource manager: tpm2-abrmd, which does in user space what the kernel does.

(/dev/tpmrm0 itself needs a TPM that the kernel drives.) Skipped where tpm2-abrmd or dbus is not installed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.provisioning import LAK_TEMPLATE, LDEVID_TEMPLATE, PARENT_TEMPLATE
from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection
from medvouch_sim.installed import tcp_tpm
from medvouch_sim.swtpm import SwTpm

ONE = PcrSelection.of({HashAlg.SHA256: [16]})
PARENT, LAK = 0x81016D00, 0x81016D01
WAIT_S = 20.0
MANAGER, BUS = shutil.which("tpm2-abrmd", path=f"{os.environ.get('PATH', '')}:/usr/sbin"), shutil.which("dbus-daemon")

pytestmark = pytest.mark.skipif(not (MANAGER and BUS), reason="tpm2-abrmd or dbus is not installed")

OTHER_USER = """
import sys
from medvouch.adapters.tss import TssTpm
from medvouch.attestation.provisioning import LDEVID_TEMPLATE, PARENT_TEMPLATE
with TssTpm(sys.argv[1]) as tpm:
    parent = tpm.create_primary(PARENT_TEMPLATE)
    keys = [tpm.load(parent, tpm.create(parent, LDEVID_TEMPLATE)) for _ in range(4)]
    print("ready", flush=True)
    for number in range(40):
        tpm.sign(keys[number % 4], bytes(32))
print("done", flush=True)
"""


class Managed:
    """tpm2-abrmd on a bus of its own; it can be killed and started again."""

    def __init__(self, below: str) -> None:
        self._below = below
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MANAGER is not None
        command = [MANAGER, "--session", f"--tcti={self._below}", "--allow-root", "--flush-all"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(WAIT_S)


def opened(tcti: str) -> TssTpm:
    """Once the manager has its name on the bus."""
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return TssTpm(tcti)
        except TpmFault:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all tests: GLib connects a process to the session bus once, and never to another."""
    place = tmp_path_factory.mktemp("bus") / "bus"
    assert BUS is not None
    command = [BUS, "--session", f"--address=unix:path={place}", "--nofork"]
    with pytest.MonkeyPatch.context() as patch, subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon:
        patch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={place}")
        try:
            while not place.exists():
                assert daemon.poll() is None
                time.sleep(0.01)
            yield
        finally:
            daemon.terminate()


@pytest.fixture
def manager(tmp_path: Path, bus: None) -> Iterator[Managed]:
    with SwTpm(tmp_path / "tpm"):
        pass
    with tcp_tpm(tmp_path / "tpm") as below:
        managed = Managed(below)
        managed.start()
        try:
            yield managed
        finally:
            managed.stop()


TCTI = "tabrmd:bus_type=session"


def test_two_users_with_more_keys_than_the_tpm_has_room_for(manager: Managed) -> None:
    with opened(TCTI) as tpm:
        parent = tpm.persist(tpm.create_primary(PARENT_TEMPLATE), PARENT)
        lak = tpm.persist(tpm.load(parent, tpm.create(parent, LAK_TEMPLATE)), LAK)
        keys = [tpm.load(parent, tpm.create(parent, LDEVID_TEMPLATE)) for _ in range(4)]
        command = [sys.executable, "-c", OTHER_USER, TCTI]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            try:
                assert other.stdout is not None
                assert other.stdout.readline() == "ready\n"
                for number in range(40):
                    tpm.quote(lak, number.to_bytes(8, "big"), ONE)
                    assert len(tpm.sign(keys[number % 4], bytes(32))) == 64
                assert other.communicate(timeout=WAIT_S)[0] == "done\n"
            finally:
                other.kill()


def test_a_resource_manager_that_dies_and_is_started_again(manager: Managed) -> None:
    with opened(TCTI) as tpm:
        parent = tpm.persist(tpm.create_primary(PARENT_TEMPLATE), PARENT)
        lak = tpm.persist(tpm.load(parent, tpm.create(parent, LAK_TEMPLATE)), LAK)
        ldevid = tpm.load(parent, tpm.create(parent, LDEVID_TEMPLATE))
        tpm.quote(lak, b"", ONE)
        manager.stop(signal.SIGKILL)
        with pytest.raises(TpmFault, match="tpm-unreachable"):
            tpm.quote(lak, b"", ONE)
        manager.start()
        end = time.monotonic() + WAIT_S
        while True:
            try:
                tpm.quote(lak, b"", ONE)
                break
            except TpmFault:
                assert time.monotonic() < end
                time.sleep(0.05)
        assert len(tpm.sign(ldevid, bytes(32))) == 64
