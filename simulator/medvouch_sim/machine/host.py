"""The chroot of Debian 13 with QEMU, firmware and the tools that make images; `tools/image/bootstrap.sh` fills it.

Everything that is built lies in its folder /bench, so that each file has two names: one here, one inside.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from medvouch.errors import EnvironmentFault, MissingPart
from medvouch_sim.fixtures import FIXTURES

IMAGE_DIR = FIXTURES.parent / "build" / "image"


class BuildFault(EnvironmentFault):
    """A tool that did not do what it was asked."""


@dataclass(frozen=True)
class Host:
    """The chroot in `directory`."""

    directory: Path = IMAGE_DIR / "host"

    @property
    def work(self) -> Path:
        """Where everything is made."""
        return self.directory / "bench"

    def inside(self, path: Path) -> str:
        """What a file in /bench is called inside."""
        return f"/{path.relative_to(self.directory)}"

    def command(self, *words: str | Path) -> list[str]:
        """A command line that runs a program inside; it dies with the thread that starts it."""
        if os.geteuid() != 0:
            raise MissingPart("not-root", "changing the root folder takes root", remedy="run it as root")
        inner = [self.inside(word) if isinstance(word, Path) else word for word in words]
        return ["setpriv", "--pdeathsig", "KILL", "chroot", str(self.directory), *inner]

    def run(self, *words: str | Path) -> str:
        """Run a program to its end; what it said on standard output. Raises BuildFault with its last words."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, env=_ENVIRONMENT, errors="replace"
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            detail = f"{words[0]}: exit {done.returncode}: {said[-1] if said else 'it said nothing'}"
            raise BuildFault("image-tool-failed", detail, remedy="see what it says; build/image may be removed")
        return done.stdout

    def versions(self) -> dict[str, str]:
        """Of the packages that a boot depends on, by name."""
        wanted = ["qemu-system-x86", "ovmf", "systemd-boot-efi"]
        said = self.run("dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *wanted)
        return dict(line.split() for line in said.splitlines())


_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "1763596800"}
