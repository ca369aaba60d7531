"""One machine in QEMU: a disk, firmware variables and a TPM of its own; power on, power off.

QEMU and swtpm die with the thread that starts them. Pure emulation: /dev/kvm is not asked for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from medvouch.errors import NetworkFault
from medvouch_sim.machine.host import Host
from medvouch_sim.swtpm import SwTpm

CPU = "max,la57=off,vendor=AuthenticAMD"
"""Without la57, which crashes this kernel in emulation; of a vendor whose processors need no page table isolation."""
HARDWARE = (
    "-machine", "q35,smm=on", "-cpu", CPU, "-accel", "tcg,thread=multi", "-m", "1024",
    "-global", "driver=cfi.pflash01,property=secure,value=on",
    "-device", "virtio-blk-pci,drive=disk,bootindex=1", "-device", "virtio-net-pci,netdev=net,romfile=",
    "-device", "virtio-rng-pci,rng=rng",
)  # fmt: skip
"""What makes the model, as far as firmware measures it."""
SECURE_BOOT_ON, SECURE_BOOT_OFF = "OVMF_VARS_4M.snakeoil.fd", "OVMF_VARS_4M.fd"
"""Firmware variables: the package's test key enrolled and enforced, or none."""

_FIRMWARE = "/usr/share/OVMF"
_SOCKET_S = 10.0


@dataclass
class Vm:
    """A machine in `directory` (below the host's /bench), switched off when made.

    `empty_first`: a disk that holds nothing stands first in the boot order.
    """

    host: Host
    directory: Path
    empty_first: bool = False
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def create(cls, host: Host, directory: Path, disk: Path, *, variables: str = SECURE_BOOT_ON) -> Vm:
        """A new machine with a copy of a disk; its TPM is not manufactured yet."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        machine = cls(host, directory)
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", disk, machine.disk], check=True)
        machine.reset_variables(variables)
        with machine.empty.open("wb") as empty:
            empty.truncate(1 << 20)
        return machine

    def reset_variables(self, variables: str = SECURE_BOOT_ON) -> None:
        """Give the firmware variables as they were when the machine was made."""
        shutil.copy(self.host.directory / _FIRMWARE[1:] / variables, self.variables)

    @property
    def disk(self) -> Path:
        """Its disk."""
        return self.directory / "disk.img"

    @property
    def empty(self) -> Path:
        """A disk without anything."""
        return self.directory / "empty.img"

    @property
    def variables(self) -> Path:
        """Its firmware's variables."""
        return self.directory / "variables.fd"

    @property
    def console(self) -> Path:
        """All that it wrote to its serial line since it was last switched on."""
        return self.directory / "console.log"

    @property
    def tpm(self) -> SwTpm:
        """Its TPM, for the manufacturer; not while it is on."""
        return SwTpm(self.directory / "tpm")

    @property
    def on(self) -> bool:
        """Whether it runs; a machine that panicked ends by itself."""
        return bool(self._processes) and self._processes[-1].poll() is None

    @contextmanager
    def running(self) -> Iterator[Vm]:
        """Switched on inside; the power goes after."""
        try:
            self._start()
            yield self
        finally:
            self.power_off()

    def power_off(self) -> None:
        """The power goes."""
        while self._processes:
            process = self._processes.pop()
            process.kill()
            process.wait()

    def _start(self) -> None:
        socket = self.directory / "tpm.sock"
        socket.unlink(missing_ok=True)
        self.console.write_bytes(b"")
        # Ahead of others: Linux gives a TPM less than a second, and what IMA could not extend then no replay explains.
        ahead = ["nice", "-n", "-10", "setpriv", "--pdeathsig", "KILL"]
        state = ["--tpmstate", "dir=tpm", "--ctrl", "type=unixio,path=tpm.sock"]
        self._spawn("swtpm", [*ahead, "swtpm", "socket", "--tpm2", *state])
        deadline = time.monotonic() + _SOCKET_S
        while not socket.exists():
            if time.monotonic() > deadline:
                raise NetworkFault("tpm-not-started", "swtpm does not listen", place=str(self.directory / "swtpm.log"))
            time.sleep(0.01)
        self._spawn("qemu", self.host.command("qemu-system-x86_64", *self._options()))

    def _spawn(self, name: str, command: list[str]) -> None:
        with (self.directory / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )

    def _options(self) -> list[str]:
        inside = self.host.inside
        devices = [
            f"if=pflash,format=raw,unit=0,readonly=on,file={_FIRMWARE}/OVMF_CODE_4M.secboot.fd",
            f"if=pflash,format=raw,unit=1,file={inside(self.variables)}",
            f"if=none,id=disk,format=raw,file={inside(self.disk)}",
        ]
        extra = []
        if self.empty_first:
            devices.append(f"if=none,id=empty,format=raw,file={inside(self.empty)}")
            extra = ["-device", "virtio-blk-pci,drive=empty,bootindex=0"]
        return [
            *HARDWARE,
            "-smp", str(min(2, os.cpu_count() or 1)), "-nodefaults", "-no-reboot", "-display", "none",
            "-serial", f"file:{inside(self.console)}",
            *(word for device in devices for word in ("-drive", device)), *extra,
            "-chardev", f"socket,id=tpm,path={inside(self.directory / 'tpm.sock')}",
            "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0",
            "-object", "rng-random,id=rng,filename=/dev/urandom", "-netdev", "user,id=net",
        ]  # fmt: skip
