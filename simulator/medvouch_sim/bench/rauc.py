"""RAUC, as Debian has it, installing an image into a file: what our own installing is measured against."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medvouch.errors import EnvironmentFault, MissingPart

PARTS = {"rauc": "rauc", "mksquashfs": "squashfs-tools", "dbus-daemon": "dbus", "openssl": "openssl"}
"""Programs, and the Debian packages that bring them."""
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_START_S = 10.0
_STOP_S = 10.0


def missing() -> list[str]:
    """The packages that are not there."""
    return [package for program, package in PARTS.items() if shutil.which(program, path=_PATH) is None]


def version() -> str:
    """Such as `rauc 1.8`."""
    return subprocess.run(["rauc", "--version"], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def service(folder: Path, image: Path) -> Iterator[Callable[[], float]]:
    """RAUC's service on a session bus of its own; inside, a call installs `image` anew: the seconds that took.

    Raises MissingPart `rauc-missing`; EnvironmentFault `rauc-failed`, such as where nothing may be mounted.
    """
    if packages := missing():
        raise MissingPart("rauc-missing", f"not installed: {', '.join(packages)}", remedy="apt install them")
    folder.mkdir()
    _configure(folder, image)
    _bundle(folder, image)
    with _bus(folder) as address:
        environment = os.environ | {
            "PATH": _PATH, "DBUS_SESSION_BUS_ADDRESS": address, "DBUS_STARTER_BUS_TYPE": "session"
        }  # fmt: skip
        rauc = ["setpriv", "--pdeathsig", "KILL", "rauc", f"--conf={folder}/system.conf"]
        with (folder / "service.log").open("wb") as log:
            served = subprocess.Popen(
                [*rauc, "--override-boot-slot=a", "service"], env=environment, stdout=log, stderr=log
            )

        def install() -> float:
            _said(folder / "slot-b", image.stat().st_size)
            started = time.perf_counter()
            _checked([*rauc, "install", str(folder / "bundle.raucb")], environment)
            return time.perf_counter() - started

        try:
            _until_there([*rauc, "status"], environment)
            yield install
        finally:
            served.terminate()
            with suppress(subprocess.TimeoutExpired):
                served.wait(_STOP_S)
            served.kill()
            served.wait()


def _configure(folder: Path, image: Path) -> None:
    (folder / "mnt").mkdir()
    (folder / "system.conf").write_text(
        f"[system]\ncompatible=medvouch-bench\nbootloader=noop\nbundle-formats=plain\nmountprefix={folder}/mnt\n"
        f"statusfile={folder}/status\n\n[keyring]\npath={folder}/cert.pem\n"
        f"\n[slot.rootfs.0]\ndevice={folder}/slot-a\ntype=raw\nbootname=a\n"
        f"\n[slot.rootfs.1]\ndevice={folder}/slot-b\ntype=raw\nbootname=b\n",
        encoding="ascii",
    )
    for slot in ("slot-a", "slot-b"):
        _said(folder / slot, image.stat().st_size)


def _said(slot: Path, size: int) -> None:
    """An empty slot of this size: RAUC wants it there."""
    with slot.open("wb") as file:
        file.truncate(size)


def _bundle(folder: Path, image: Path) -> None:
    content = folder / "content"
    content.mkdir()
    os.link(image, content / "image.img")
    (content / "manifest.raucm").write_text(
        "[update]\ncompatible=medvouch-bench\nversion=2.0.0\n\n[bundle]\nformat=plain\n"
        "\n[image.rootfs]\nfilename=image.img\n",
        encoding="ascii",
    )
    key, certificate = folder / "key.pem", folder / "cert.pem"
    environment = os.environ | {"PATH": _PATH}
    _checked(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
              str(key), "-out", str(certificate), "-days", "100", "-subj", "/CN=bench"], environment)  # fmt: skip
    _checked(["rauc", f"--cert={certificate}", f"--key={key}", f"--keyring={certificate}",
              "--mksquashfs-args=-noI -noD -noF -noX", "bundle", str(content), str(folder / "bundle.raucb")],
             environment)  # fmt: skip


@contextmanager
def _bus(folder: Path) -> Iterator[str]:
    command = ["setpriv", "--pdeathsig", "KILL", "dbus-daemon", "--session", "--nofork", "--print-address=1",
               f"--address=unix:path={folder}/bus"]  # fmt: skip
    with subprocess.Popen(
        command, env=os.environ | {"PATH": _PATH}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as bus:
        assert bus.stdout is not None
        try:
            yield bus.stdout.readline().strip()
        finally:
            bus.terminate()


def _until_there(status: list[str], environment: dict[str, str]) -> None:
    deadline = time.monotonic() + _START_S
    while subprocess.run(status, env=environment, capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise _failed("its service does not answer")
        time.sleep(0.1)


def _checked(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _failed((done.stderr or done.stdout).strip()[-500:])


def _failed(detail: str) -> EnvironmentFault:
    remedy = "it needs to be root, loop devices and squashfs; leave it out with --only"
    return EnvironmentFault("rauc-failed", detail, remedy=remedy)
