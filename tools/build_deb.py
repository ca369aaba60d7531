"""Builds build/deb/medvouch-agent_VERSION_all.deb: the agent for Debian 13 on the distribution's own libraries.

Same commit, same bytes: sizes, order, owners and modes are fixed here, all times are the last commit's
(SOURCE_DATE_EPOCH, if set, goes before). Needs dpkg-deb, which every Debian has; exits 7 where there is none.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import tomllib
import zlib
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGING = ROOT / "agent" / "packaging"
PACKAGE = "medvouch-agent"
LEFT_OUT = ("collector", "release")
"""Packages of medvouch that no gateway runs."""

DIST_PACKAGES = "usr/lib/python3/dist-packages"
DOC = f"usr/share/doc/{PACKAGE}"
UNITS = "usr/lib/systemd/system"
FILES = {
    "systemd/medvouch.service": f"{UNITS}/medvouch.service",
    "systemd/medvouch-installer.service": f"{UNITS}/medvouch-installer.service",
    "systemd/medvouch-installer.socket": f"{UNITS}/medvouch-installer.socket",
    "systemd/sysusers.conf": "usr/lib/sysusers.d/medvouch.conf",
    "systemd/tmpfiles.conf": "usr/lib/tmpfiles.d/medvouch.conf",
    "ima/ima-policy": "usr/share/medvouch/ima-policy",
    "conf.d/10-installer.toml": "etc/medvouch/conf.d/10-installer.toml",
    "debian/copyright": f"{DOC}/copyright",
    "systemd/parts.conf": f"{DOC}/examples/parts.conf",
    "../../examples/medvouch.toml": f"{DOC}/examples/medvouch.toml",
}
"""From `agent/packaging` to where it is installed; what goes to /etc is a conffile."""
SCRIPTS = ("postinst", "prerm", "postrm")
PROGRAM = """\
#!/usr/bin/python3 -I
import sys

from medvouch.cli.main import main

sys.exit(main())
"""
EXIT_MISSING = 7
_GZIP_HEADER = struct.pack("<4BI2B", 0x1F, 0x8B, 8, 0, 0, 2, 3)
"""RFC 1952: deflate, no name, no time, best compression, Unix. The gzip module of each Python writes another one."""


class Tree:
    """A staged file system whose files are all root's, 0644 or 0755."""

    def __init__(self, root: Path, epoch: int) -> None:
        self.root = root
        self._epoch = epoch

    def add(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """One file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)

    def files(self) -> list[Path]:
        """What the package installs, in order, without its control files."""
        return sorted(p for p in self.root.rglob("*") if p.is_file() and "DEBIAN" not in p.parts)

    def seal(self) -> None:
        """Fix modes of folders and all times."""
        for path in [self.root, *self.root.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        for path in sorted(self.root.rglob("*"), reverse=True):
            os.utime(path, (self._epoch, self._epoch))
        os.utime(self.root, (self._epoch, self._epoch))


def source_date_epoch() -> int:
    """SOURCE_DATE_EPOCH, or the time of the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    shown = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return int(shown)


def project() -> dict[str, Any]:
    """`[project]` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def python_files() -> dict[str, bytes]:
    """The modules that a gateway runs, by their name below dist-packages."""
    source = ROOT / "agent"
    paths = [*source.glob("medvouch/**/*.py"), source / "medvouch" / "py.typed"]
    names = {path.relative_to(source): path for path in sorted(paths)}
    return {str(name): path.read_bytes() for name, path in names.items() if name.parts[1] not in LEFT_OUT}


def metadata(table: dict[str, Any]) -> str:
    """METADATA of the dist-info folder (core metadata 2.1): what importlib.metadata tells of the distribution."""
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {table['name']}",
        f"Version: {table['version']}",
        f"Summary: {table['description']}",
        f"License: {table['license']['text']}",
        f"Requires-Python: {table['requires-python']}",
        *(f"Requires-Dist: {text}" for text in table["dependencies"]),
        "Provides-Extra: agent",
        *(f'Requires-Dist: {text}; extra == "agent"' for text in table["optional-dependencies"]["agent"]),
    ]
    return "\n".join(lines) + "\n"


def compressed(data: bytes) -> bytes:
    """Gzip, the same bytes from every Python."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(data) + deflate.flush()
    return _GZIP_HEADER + body + struct.pack("<2I", zlib.crc32(data), len(data))


def changelog(version: str, epoch: int) -> bytes:
    """The Debian changelog of a package that is made from its own source: one entry."""
    date = format_datetime(datetime.fromtimestamp(epoch, UTC))
    maintainer = next(
        line.removeprefix("Maintainer: ")
        for line in (PACKAGING / "debian" / "control").read_text().splitlines()
        if line.startswith("Maintainer: ")
    )
    entry = f"{PACKAGE} ({version}) trixie; urgency=medium\n\n  * Built from its source; see CHANGELOG there.\n\n"
    return compressed(f"{entry} -- {maintainer}  {date}\n".encode())


def stage(tree: Tree, version: str, epoch: int) -> None:
    """All files of the package."""
    table = project()
    for name, data in python_files().items():
        tree.add(f"{DIST_PACKAGES}/{name}", data)
    info = f"{DIST_PACKAGES}/medvouch-{version}.dist-info"
    tree.add(f"{info}/METADATA", metadata(table).encode())
    scripts = "".join(f"{name} = {target}\n" for name, target in table["scripts"].items())
    tree.add(f"{info}/entry_points.txt", f"[console_scripts]\n{scripts}".encode())
    tree.add(f"{info}/top_level.txt", b"medvouch\n")
    tree.add(f"{info}/INSTALLER", b"dpkg\n")
    tree.add("usr/bin/medvouch", PROGRAM.encode(), 0o755)
    for source, target in FILES.items():
        tree.add(target, (PACKAGING / source).read_bytes())
    tree.add(f"{DOC}/changelog.gz", changelog(version, epoch))


def control(tree: Tree, version: str) -> None:
    """DEBIAN/: what dpkg is told of the package."""
    files = {path.relative_to(tree.root).as_posix(): path.read_bytes() for path in tree.files()}
    size = sum(-(-len(data) // 1024) for data in files.values())
    text = (PACKAGING / "debian" / "control").read_text(encoding="utf-8")
    sums = "".join(f"{_md5(data)}  {name}\n" for name, data in files.items() if not name.startswith("etc/"))
    tree.add("DEBIAN/control", text.format(version=version, size=size).encode())
    tree.add("DEBIAN/conffiles", "".join(f"/{name}\n" for name in files if name.startswith("etc/")).encode())
    tree.add("DEBIAN/md5sums", sums.encode())
    for script in SCRIPTS:
        tree.add(f"DEBIAN/{script}", (PACKAGING / "debian" / script).read_bytes(), 0o755)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def build(folder: Path) -> Path:
    """Make the package in `folder`."""
    version, epoch = project()["version"], source_date_epoch()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{PACKAGE}_{version}_all.deb"
    with tempfile.TemporaryDirectory() as name:
        tree = Tree(Path(name) / "tree", epoch)
        stage(tree, version, epoch)
        control(tree, version)
        tree.seal()
        command = [
            "dpkg-deb",
            "--root-owner-group",
            "-Zxz",
            "--uniform-compression",
            "--build",
            str(tree.root),
            str(target),
        ]
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8"}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return target


def main() -> int:
    """Build it, and say where it is."""
    if shutil.which("dpkg-deb") is None:
        print("deb: dpkg-deb is missing; build the package on Debian, or install dpkg", file=sys.stderr)
        return EXIT_MISSING
    target = build(ROOT / "build" / "deb")
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    print(f"{target.relative_to(ROOT)}  {target.stat().st_size} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
