"""`make image`: releases of the gateway (root, verity tree, signed kernel image), and a disk with the first one."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medvouch.errors import MedvouchError
from medvouch_sim.machine.host import Host
from medvouch_sim.machine.layout import Disk, lay_out

VERSIONS = ("1.0.0", "1.1.0")
"""The release that the disk is delivered with, and an update."""
IMAGE_ID = "medvouch-gateway"
LOADER_CONF = b"timeout 0\neditor no\n"
SALT = b"medvouch".hex() * 4
"""Of the verity tree: any, and the same for all, so that the same root has the same hash."""
ROOT_UUID, TREE_UUID, ESP_SERIAL = (
    "6d656476-6f75-8000-8000-0000000000f1",
    "6d656476-6f75-8000-8000-0000000000f2",
    "6d656476",
)
COMMAND_LINE = (
    "roothash={root_hash} root=/dev/mapper/root rootfstype=erofs ro systemd.verity_root_options=panic-on-corruption "
    "systemd.default_device_timeout_sec=300 panic=10 console=ttyS0 quiet"
)
TRIES = 3

_SNAKEOIL = "/usr/share/ovmf/PkKek-1-snakeoil"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Release:
    """One release, in a folder of its own."""

    version: str
    directory: Path

    @property
    def root(self) -> Path:
        """The root file system."""
        return self.directory / "root.erofs"

    @property
    def tree(self) -> Path:
        """Its verity tree."""
        return self.directory / "root.verity"

    @property
    def kernel(self) -> Path:
        """The signed unified kernel image."""
        return self.directory / "gateway.efi"

    @property
    def os_release(self) -> Path:
        """The root's os-release."""
        return self.directory / "os-release"

    @property
    def root_hash(self) -> bytes:
        """Of the verity tree."""
        return bytes.fromhex((self.directory / "roothash").read_text().strip())

    @property
    def command_line(self) -> str:
        """Of its kernel."""
        return COMMAND_LINE.format(root_hash=self.root_hash.hex())


class Workshop:
    """Makes releases and disks in the host's /bench."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.tree = host.work / "tree"
        self.boot = host.work / "boot"
        self.loader = self.boot / "systemd-bootx64.efi"
        self._key = self.boot / "secure-boot.key"

    def release(self, version: str) -> Release:
        """A release, made if it is not there."""
        release = Release(version, self.host.work / "releases" / version)
        if not release.kernel.exists():
            shutil.rmtree(release.directory, ignore_errors=True)
            release.directory.mkdir(parents=True)
            self._write_os_release(release)
            self._write_root(release)
            self.write_kernel(release.kernel, release.command_line, release.os_release)
        return release

    def _write_os_release(self, release: Release) -> None:
        """Name and version that the agent claims, systemd-boot sorts by, and the kernel image carries."""
        path = self.tree / "usr/lib/os-release"
        kept = [line for line in path.read_text().splitlines() if not line.startswith("IMAGE_")]
        text = "\n".join([*kept, f"IMAGE_ID={IMAGE_ID}", f"IMAGE_VERSION={release.version}"]) + "\n"
        path.write_text(text)
        release.os_release.write_text(text)

    def _write_root(self, release: Release) -> None:
        self.host.run("mkfs.erofs", "--quiet", "-zlz4", "-T0", "-U", ROOT_UUID, release.root, self.tree)
        said = self.host.run(
            "veritysetup", "format", f"--salt={SALT}", f"--uuid={TREE_UUID}", release.root, release.tree
        )
        found = re.search(r"^Root hash:\s+([0-9a-f]{64})$", said, re.MULTILINE)
        assert found is not None
        (release.directory / "roothash").write_text(found[1] + "\n")

    def write_kernel(self, target: Path, command_line: str, os_release: Path) -> None:
        """A signed unified kernel image."""
        inside, uname = self.host.inside, (self.boot / "uname").read_text().strip()
        linux, initrd = self.boot / "vmlinuz", self.boot / "initrd.img"
        unsigned = target.with_suffix(".unsigned")
        self.host.run(
            "ukify", "build", f"--linux={inside(linux)}", f"--initrd={inside(initrd)}",
            f"--cmdline={command_line}", f"--os-release=@{inside(os_release)}", f"--uname={uname}",
            f"--output={inside(unsigned)}",
        )  # fmt: skip
        self.sign(unsigned, target)
        unsigned.unlink()

    def write_addon(self, target: Path, command_line: str) -> None:
        """A signed add-on, which lengthens the command line of the kernel image that it lies beside."""
        unsigned = target.with_suffix(".unsigned")
        self.host.run("ukify", "build", f"--cmdline={command_line}", f"--output={self.host.inside(unsigned)}")
        self.sign(unsigned, target)
        unsigned.unlink()

    def sign(self, source: str | Path, target: Path) -> None:
        """For Secure Boot, with the test key that the firmware package is delivered with."""
        if not self._key.exists():
            key = f"{_SNAKEOIL}.key"
            self.host.run("openssl", "rsa", "-in", key, "-passin", "pass:snakeoil", "-out", self._key)
        self.host.run("sbsign", "--key", self._key, "--cert", f"{_SNAKEOIL}.pem", "--output", target, source)

    def write_esp(self, target: Path, size: int, files: Mapping[str, Path]) -> None:
        """An EFI system partition with the boot loader and these files, by their path in it."""
        if not self.loader.exists():
            self.sign("/usr/lib/systemd/boot/efi/systemd-bootx64.efi", self.loader)
        configuration = self.boot / "loader.conf"
        configuration.write_bytes(LOADER_CONF)
        everything = {"EFI/BOOT/BOOTX64.EFI": self.loader, "loader/loader.conf": configuration, **files}
        with target.open("wb") as image:
            image.truncate(size)
        self.host.run("mformat", "-i", target, "-F", "-N", ESP_SERIAL, "-v", "ESP", "::")
        folders = {str(parent) for name in everything for parent in Path(name).parents if str(parent) != "."}
        self.host.run("mmd", "-i", target, *(f"::/{folder}" for folder in sorted(folders)))
        for name, source in everything.items():
            self.host.run("mcopy", "-m", "-i", target, source, f"::/{name}")

    def write_disk(self, target: Path, disk: Disk, releases: list[Release], esp_files: Mapping[str, Path]) -> None:
        """A disk with these releases in its slots, and nothing on its data partition yet."""
        esp = target.with_suffix(".esp")
        self.write_esp(esp, disk["esp"].size, esp_files)
        with target.open("wb") as image:
            image.truncate(disk.size)
        write_table(target, disk)
        copy_into(target, disk, "esp", esp)
        esp.unlink()
        for letter, release in zip("ab", releases, strict=False):
            copy_into(target, disk, f"root-{letter}", release.root)
            copy_into(target, disk, f"verity-{letter}", release.tree)


def kernel_name(release: Release) -> str:
    """Where its kernel image lies in the ESP, with its tries left (UAPI group, Boot Loader Specification)."""
    return f"EFI/Linux/gateway_{release.version}+{TRIES}.efi"


def write_table(target: Path, disk: Disk) -> None:
    """Write both partition tables."""
    tail = disk.tail()
    with target.open("r+b") as image:
        image.write(disk.head())
        image.seek(disk.size - len(tail))
        image.write(tail)


def copy_into(target: Path, disk: Disk, name: str, source: Path) -> None:
    """Write a file into a partition; ValueError where it is too large."""
    partition = disk[name]
    if source.stat().st_size > partition.size:
        raise ValueError(f"{source} is larger than the partition {name}")
    with target.open("r+b") as image, source.open("rb") as data:
        image.seek(partition.offset)
        while chunk := data.read(_CHUNK):
            if any(chunk):  # the disk is sparse, and stays so
                image.write(chunk)
            else:
                image.seek(len(chunk), 1)


def delivered(workshop: Workshop) -> tuple[Path, Disk]:
    """The disk as the maker delivers it, made if it is not there."""
    first = workshop.release(VERSIONS[0])
    disk, path = lay_out([first.root_hash]), workshop.host.work / "gateway.img"
    if not path.exists():
        new = path.with_suffix(".new")
        workshop.write_disk(new, disk, [first], {kernel_name(first): first.kernel})
        new.rename(path)
    return path, disk


def main() -> int:
    """Make all releases and the disk; where they are."""
    started = time.monotonic()
    workshop = Workshop(Host())
    try:
        for version in VERSIONS:
            release = workshop.release(version)
            print(f"image: release {version}, root hash {release.root_hash.hex()}")
        path, disk = delivered(workshop)
    except MedvouchError as error:
        print(f"image: {error}", file=sys.stderr)
        return error.exit_code
    print(f"image: {path}, {disk.size >> 20} MiB, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
