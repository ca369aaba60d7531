"""What holds for the repository as a whole."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (ROOT / "agent" / "medvouch", ROOT / "simulator" / "medvouch_sim", ROOT / "tools")
MODULES = sorted(path for folder in SOURCES for path in folder.rglob("*.py"))

# Written apart, so that this file does not find itself.
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "deb." + "debian.org", "index" + "-url", "find" + "-links")
MACHINE_PATHS = tuple(f"/{name}/" for name in ("work", "root", "home", "Users"))

BASE_INSTALL = """
import importlib.metadata, pathlib, pkgutil, re, sys

def closure(name):
    yield name
    if importlib.metadata.files(name) is None:
        print("no records")
        raise SystemExit
    for text in importlib.metadata.requires(name) or ():
        if "extra ==" not in text:
            required = re.match("[A-Za-z0-9._-]+", text)[0]
            try:
                yield from closure(required)
            except importlib.metadata.PackageNotFoundError:
                pass

roots = {"medvouch"}
for distribution in (*closure("cryptography"), *closure("cbor2")):
    roots |= {re.split("[./]", str(path))[0] for path in importlib.metadata.files(distribution)}

class OnlyTheBase:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in roots and root not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"{name} is not part of a base install", name=name)

sys.meta_path.insert(0, OnlyTheBase())
sys.path.insert(0, sys.argv[1])
import medvouch
imported = [__import__("medvouch.attestation")]
for core in ("formats", "crypto", "attestation", "ledger", "lifecycle", "assurance", "messages"):
    package = __import__(f"medvouch.{core}", fromlist=["x"])
    for module in pkgutil.walk_packages(package.__path__, f"medvouch.{core}."):
        __import__(module.name)
try:
    import pytest
except ModuleNotFoundError:
    print("base install ok")
"""


def tracked() -> Iterator[tuple[str, bytes]]:
    """(name, contents) of every file under version control."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            yield name, (ROOT / name).read_bytes()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    here = () if ROOT.parent == Path("/") else (f"{ROOT.parent}/",)
    unwanted = [text.encode() for text in (*REGISTRIES, *MACHINE_PATHS, *here)]
    found = [f"{name}: {text.decode()}" for name, data in tracked() for text in unwanted if text in data]
    assert found == []


def test_constraints_are_plain_pins() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line)] == []


def test_the_base_needs_cryptography_and_cbor2_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "dependencies" not in project.get("dynamic", [])
    assert {re.split(r"[^a-z0-9-]", text)[0] for text in project["dependencies"]} == {"cryptography", "cbor2"}


def test_the_cores_import_where_only_the_base_is_installed() -> None:
    run = subprocess.run(
        [sys.executable, "-I", "-c", BASE_INSTALL, str(ROOT / "agent")], capture_output=True, text=True, check=False
    )
    if run.stdout == "no records\n":
        pytest.skip("packages of a distribution do not say what they brought")
    assert (run.stdout, run.returncode) == ("base install ok\n", 0), run.stderr


def test_make_alone_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    phony = re.findall(r"^\.PHONY: ([a-z]+)$", makefile, re.MULTILINE)
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^  make ([a-z]+) +\S", shown, re.MULTILINE)
    assert listed == targets == phony
    assert {"help", "setup", "demo", "test", "lint", "bench", "fixtures", "clean"} <= set(listed)


def test_update_knows_nothing_of_tuf_but_its_pure_api() -> None:
    """The client in tuf.ngclient reads clock and disk by itself; import-linter cannot tell the two apart."""
    for path in sorted((ROOT / "agent" / "medvouch" / "update").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            foreign = [name for name in named if name.split(".")[0] in {"tuf", "securesystemslib"}]
            assert all(name.startswith(("tuf.api", "securesystemslib.exceptions")) for name in foreign), path
