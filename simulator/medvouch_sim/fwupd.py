"""fwupd itself, at work on a virtual machine: its daemon on a D-Bus of its own, and its client.

What it sees of a machine is given to it by the environment variables that its own tests use: the resource table and
the variables of `Machine.sysfs`, the EFI system partition, and DMI data. It finds there a firmware that takes capsules
from disk, and leaves them as it does on any machine; the virtual firmware takes them from there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from medvouch.errors import EnvironmentFault, MissingPart
from medvouch_sim.capsules import FIRMWARE_CLASS
from medvouch_sim.firmware import Machine

DAEMON = Path("/usr/libexec/fwupd/fwupd")
PARTS = {"fwupdmgr": "fwupd", "fwupdtool": "fwupd", "dbus-daemon": "dbus"}
"""Programs, and the Debian packages that bring them."""
VENDOR = "Example Devices"
_START_S, _STOP_S = 20.0, 10.0
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>custom</type><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"""
_CONFIGURATION = "[fwupd]\nOnlyTrusted={trusted}\n"
_CABINET = """<?xml version="1.0" encoding="UTF-8"?>
<component type="firmware">
  <id>example.devices.firmware</id><name>MV-100</name><summary>System firmware</summary>
  <developer_name>{vendor}</developer_name>
  <metadata_license>CC0-1.0</metadata_license><project_license>LicenseRef-proprietary</project_license>
  <provides><firmware type="flashed">{guid}</firmware></provides>
  <custom>
    <value key="LVFS::VersionFormat">number</value>
    <value key="LVFS::UpdateProtocol">org.uefi.capsule</value>
  </custom>
  <releases>
    <release version="{version}" date="2026-01-21" urgency="medium">
      <checksum filename="firmware.bin" target="content"/><description><p>For tests.</p></description>
    </release>
  </releases>
</component>
"""


def missing() -> list[str]:
    """The packages that are not there."""
    found = {package for program, package in PARTS.items() if shutil.which(program) is None}
    return sorted(found | (set() if DAEMON.exists() else {"fwupd"}))


def cabinet(folder: Path, image: bytes, version: int, guid: object = FIRMWARE_CLASS) -> bytes:
    """A cabinet with firmware, as `fwupdtool build-cabinet` makes it; `guid`: for which device."""
    folder.mkdir(parents=True)
    (folder / "firmware.bin").write_bytes(image)
    text = _CABINET.format(vendor=VENDOR, guid=guid, version=version)
    (folder / "firmware.metainfo.xml").write_text(text, encoding="utf-8")
    command = ["fwupdtool", "build-cabinet", "firmware.cab", "firmware.bin", "firmware.metainfo.xml"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "firmware.cab").read_bytes()


@contextmanager
def running(machine: Machine, folder: Path, *, trusted: bool = False) -> Iterator[Path]:
    """fwupd's daemon on this machine; inside, a program that calls its client, as `fwupdmgr` does elsewhere.

    `trusted`: whether it insists on cabinets that it knows the signer of. Raises MissingPart `fwupd-missing`,
    EnvironmentFault `fwupd-failed`.
    """
    if packages := missing():
        raise MissingPart("fwupd-missing", f"not installed: {', '.join(packages)}", remedy="apt install them")
    environment = _environment(machine, folder)
    (folder / "etc" / "fwupd.conf").write_text(_CONFIGURATION.format(trusted=str(trusted).lower()))
    (folder / "bus.conf").write_text(_BUS.format(folder=folder))
    (folder / "bus").unlink(missing_ok=True)
    client = folder / "fwupdmgr"
    settings = "".join(f'export {name}="{value}"\n' for name, value in environment.items())
    client.write_text(f'#!/bin/sh\n{settings}exec fwupdmgr "$@"\n')
    client.chmod(0o755)
    bus = ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--nopidfile"]
    with _process(bus, folder / "bus.log", environment) as dbus:
        _await(dbus, (folder / "bus").exists, folder / "bus.log")
        with _process([str(DAEMON), "--verbose"], folder / "fwupd.log", environment) as daemon:
            _await(daemon, lambda: b"ready for requests" in (folder / "fwupd.log").read_bytes(), folder / "fwupd.log")
            yield client


def _environment(machine: Machine, folder: Path) -> dict[str, str]:
    for name in ("etc", "var", "cache", "dmi"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    machine.esp.mkdir(exist_ok=True)
    for name, text in {"bios_vendor": VENDOR, "sys_vendor": VENDOR, "product_name": "MV-100"}.items():
        (folder / "dmi" / name).write_text(f"{text}\n")
    return {
        "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus",
        "CONFIGURATION_DIRECTORY": str(folder / "etc"),
        "STATE_DIRECTORY": str(folder / "var"),
        "CACHE_DIRECTORY": str(folder / "cache"),
        "FWUPD_SYSCONFDIR": str(folder / "etc"),
        "FWUPD_LOCALSTATEDIR": str(folder / "var"),
        "FWUPD_LOCKDIR": str(folder),
        "FWUPD_SYSFSFWDIR": str(machine.sysfs),
        "FWUPD_SYSFSDMIDIR": str(folder / "dmi"),
        "FWUPD_UEFI_ESP_PATH": str(machine.esp),
        "FWUPD_UEFI_TEST": "1",  # or else it wants efivarfs to be mounted
    }


@contextmanager
def _process(command: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        process.kill()
        process.wait()


def _await(process: subprocess.Popen[bytes], holds: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace")[-500:]
            raise EnvironmentFault("fwupd-failed", said, remedy="look at its log")
        time.sleep(0.01)
