"""The package is really built, twice, and looked into."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import build_deb
from medvouch import __version__

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb builds packages")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1793000000")
        return build_deb.build(tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in it, control files in DEBIAN."""
    folder = tmp_path_factory.mktemp("tree") / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, folder], check=True)
    return folder


def test_the_same_input_makes_the_same_bytes(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1793000000")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")
    mask = os.umask(0o077)
    try:
        again = build_deb.build(tmp_path / "again")
    finally:
        os.umask(mask)
    assert again.name == package.name == f"medvouch-agent_{__version__}_all.deb"
    assert again.read_bytes() == package.read_bytes()


def test_the_time_is_the_last_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (build_deb.ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    shown = subprocess.run(
        ["git", "show", "-s", "--format=%ct"], cwd=build_deb.ROOT, capture_output=True, text=True, check=True
    )
    assert build_deb.source_date_epoch() == int(shown.stdout)


def test_all_belongs_to_root_and_nobody_else_may_write(package: Path) -> None:
    listed = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    assert {row[1] for row in rows} == {"root/root"}
    assert {row[0] for row in rows} == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x"}
    assert [row[5] for row in rows if row[0] == "-rwxr-xr-x"] == ["./usr/bin/medvouch"]


def test_a_gateway_gets_the_agent_and_nothing_else(tree: Path) -> None:
    library = tree / build_deb.DIST_PACKAGES
    assert {path.name for path in library.iterdir()} == {"medvouch", f"medvouch-{__version__}.dist-info"}
    shipped = {path.name for path in (library / "medvouch").iterdir() if path.is_dir()}
    source = build_deb.ROOT / "agent" / "medvouch"
    packages = {path.name for path in source.iterdir() if (path / "__init__.py").exists()}
    assert shipped == packages - {"collector", "release"}
    assert (library / "medvouch" / "ports.py").read_bytes() == (source / "ports.py").read_bytes()


def test_what_is_installed_imports_and_knows_its_name(tree: Path) -> None:
    program = (
        "import importlib.metadata as m, medvouch.daemon.agent, medvouch.cli.wiring, medvouch.cli.main\n"
        "d = m.distribution('medvouch')\n"
        "print(medvouch.__file__, d.version, d.entry_points['medvouch'].value, len(d.requires))"
    )
    library = tree / build_deb.DIST_PACKAGES
    run = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(library)}, capture_output=True, text=True, check=True
    )
    expected = f"{library}/medvouch/__init__.py {__version__} medvouch.cli.main:main 5\n"
    assert run.stdout == expected


def test_without_releasing_its_commands_say_so(tree: Path, tmp_path: Path) -> None:
    envelope = tmp_path / "release.suit"
    envelope.touch()
    for step in (["init", "--repository", tmp_path, "--keys", tmp_path], ["sign", envelope, "--key", envelope]):
        run = subprocess.run(
            [sys.executable, "-m", "medvouch", "release", *step],
            env={"PYTHONPATH": str(tree / build_deb.DIST_PACKAGES)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 7
        assert run.stderr.startswith("medvouch: part-missing: No module named 'medvouch.release'; install what this ")


def test_dpkg_knows_what_is_configuration_and_what_all_else_should_be(tree: Path, package: Path) -> None:
    control = tree / "DEBIAN"
    assert (control / "conffiles").read_text() == "/etc/medvouch/conf.d/10-installer.toml\n"
    subprocess.run(["md5sum", "--check", "--quiet", "DEBIAN/md5sums"], cwd=tree, check=True)
    summed = {line.split("  ")[1] for line in (control / "md5sums").read_text().splitlines()}
    listed = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
    files = {row.split()[5].removeprefix("./") for row in listed.splitlines() if row.startswith("-")}
    assert summed == {name for name in files if not name.startswith("etc/")}


def test_it_depends_on_all_that_the_project_says_an_agent_needs(tree: Path) -> None:
    control = (tree / "DEBIAN" / "control").read_text()
    (depends,) = [line for line in control.splitlines() if line.startswith("Depends: ")]
    table = build_deb.project()
    for text in (*table["dependencies"], *table["optional-dependencies"]["agent"], f"python{table['requires-python']}"):
        name, _, least = text.partition(">=")
        package = "python3" if name == "python" else f"python3-{name}"
        assert f"{package} (>= {least})" in depends


def test_the_changelog_is_one_that_dpkg_reads(tree: Path) -> None:
    text = gzip.decompress((tree / build_deb.DOC / "changelog.gz").read_bytes()).decode()
    assert text.startswith(f"medvouch-agent ({__version__}) trixie; urgency=medium\n\n  * ")
    assert text.endswith("\n -- The medvouch project <medvouch@example.org>  Mon, 26 Oct 2026 07:33:20 +0000\n")


def test_the_version_is_one() -> None:
    assert build_deb.project()["version"] == __version__


def test_without_dpkg_it_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert build_deb.main() == 7
    assert capsys.readouterr().err.startswith("deb: dpkg-deb is missing; ")
