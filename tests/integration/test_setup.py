"""tools/setup.sh on machines that lack something: chosen by what stands on its PATH, and by who runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INPUTS = ("pyproject.toml", "simulator/pyproject.toml", "constraints.txt", "tools/setup.sh")
BARE = ("bash", "cat", "dirname", "env", "flock", "id", "mkdir", "mv", "pwd", "sha256sum", "tail")
NOBODY = 65534


@pytest.fixture
def checkout() -> Iterator[Path]:
    """What setup.sh reads of the project, and `bin` with the few programs of a bare system; others may read it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for path in INPUTS:
            (folder / path).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
        (folder / "bin").mkdir()
        provide(folder, *BARE)
        yield folder


def provide(checkout: Path, *programs: str) -> None:
    """Put programs of this machine on the PATH of the bare one."""
    for program in programs:
        found = shutil.which(program)
        assert found is not None, program
        (checkout / "bin" / program).symlink_to(found)


def setup(checkout: Path, *, user: int | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "bin" / "bash", "tools/setup.sh"],
        cwd=checkout, env={"PATH": str(checkout / "bin"), **environment}, user=user,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_where_there_is_no_apt_it_names_what_is_missing_and_exits_7(checkout: Path) -> None:
    run = setup(checkout)
    assert run.returncode == 7
    assert len(run.stderr.splitlines()) == 1
    for package in ("swtpm", "tpm2-tools", "libtss2-dev", "gcc", "python3", "python3-venv"):
        assert package in run.stderr
    assert "Install your system's equivalents" in run.stderr


def test_without_root_and_sudo_it_says_what_root_would_run(checkout: Path) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("not a Debian")
    provide(checkout, "apt-get")
    run = setup(checkout, user=NOBODY if os.geteuid() == 0 else None)
    assert run.returncode == 7
    assert len(run.stderr.splitlines()) == 1
    assert "There is no sudo; as root, run: apt-get install --no-install-recommends gcc libc6-dev" in run.stderr
    assert not (checkout / "build").exists()


def test_an_installation_that_fails_leaves_no_stamp_and_says_so(checkout: Path) -> None:
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to("/bin/true")
    (venv / ".setup-stamp").write_text("an older one\n")
    run = subprocess.run(
        ["bash", "tools/setup.sh"],
        cwd=checkout, env=os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 7
    assert "pip could not install the project" in run.stderr
    assert list(venv.glob(".setup-stamp*")) == []


@pytest.mark.parametrize("path", [[], [str(ROOT / ".venv" / "bin")]], ids=["plain", "activated"])
def test_a_second_run_installs_nothing_and_is_quick(path: list[str]) -> None:
    if not (ROOT / ".venv" / ".setup-stamp").exists():
        pytest.skip("this checkout was not set up by tools/setup.sh")
    system = [folder for folder in os.environ["PATH"].split(os.pathsep) if not folder.startswith(str(ROOT))]
    start = time.monotonic()
    run = subprocess.run(
        [ROOT / "tools" / "setup.sh"],
        env=os.environ | {"PATH": os.pathsep.join([*path, *system])},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert time.monotonic() - start < 2
