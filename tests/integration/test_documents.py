"""What the documents tell people to type works, and their links lead somewhere."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from medvouch.adapters.metadata import FileMetadataStore
from medvouch.attestation.reference import verify_references
from medvouch.cli.config import load
from medvouch.crypto.keys import load_private_pem
from medvouch.daemon.mirrors import Mirrors, Places
from medvouch.daemon.update_source import Present, UpdateSource
from medvouch.errors import UsageFault
from medvouch.formats.enrolment import device_id
from medvouch.formats.update import InstalledRelease
from medvouch.lifecycle.roles import TrustedRole
from medvouch.update.processor import DeviceClass
from medvouch.update.repository import Repository
from medvouch_sim.vendor import DEVICE_CLASS, VENDOR_DOMAIN
from support.authoring import BASE, FromFiles
from support.documents import RUN, Command, anchors, blocks, commands
from support.tufs import Shelf
from support.typed import all_parsers, examples, parsed, parsers, typed

ROOT = Path(__file__).resolve().parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "publish-a-release.md"
DELIVERING = HOW_TO.with_name("deliver-updates.md")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "firmware_fixtures").rglob("*.md")])
COMMANDS = [
    pytest.param(command, id=f"{document.relative_to(ROOT)}:{command.line}")
    for document in DOCUMENTS
    for command in commands(document.read_text(encoding="utf-8"))
]
LINK = re.compile(r"\]\((?!\w+:)([^)#]*)(?:#([^)]+))?\)")
TEST = re.compile(r"tests/[\w/]+\.py")
PARSERS = parsers()
HELPS = [found for parser in PARSERS.values() for found in all_parsers(parser)]
SAMPLE = """
<!-- run -->
```sh
true
```
```
text
```
  <!-- not run here: needs a TPM -->
  ```sh
  medvouch run
  ```
<!-- not run here: -->
```bash
false
```
"""


def test_there_are_commands_and_some_are_run() -> None:
    found = [command.values[0] for command in COMMANDS]
    assert any(isinstance(command, Command) and command.marker == RUN for command in found)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_a_document_runs_or_says_why_not(command: Command) -> None:
    assert command.marked, "put <!-- run --> or <!-- not run here: reason --> on the line before the fence"
    if command.marker == RUN:
        run(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_who_is_said_to_run_a_command_is_there(command: Command) -> None:
    assert [test for test in TEST.findall(command.marker) if not (ROOT / test).is_file()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_document_types_is_a_command_line(command: Command) -> None:
    for call in typed(command.script):
        parsed(PARSERS, call)


@pytest.mark.parametrize("parser", [parser for _, parser in HELPS], ids=[name for name, _ in HELPS])
def test_examples_in_a_help_text_are_command_lines(parser: argparse.ArgumentParser) -> None:
    found = list(examples(parser))
    assert found
    for call in found:
        parsed(PARSERS, call)


def test_an_option_that_is_not_there_is_seen() -> None:
    (call,) = typed("true && sudo .venv/bin/medvouch \\\n  status --jason   # how it is")
    assert call == ["medvouch", "status", "--jason"]
    with pytest.raises(UsageFault):
        parsed(PARSERS, call)


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=f"{line}") for line, text in blocks(DELIVERING.read_text(encoding="utf-8"), "toml")]
)
def test_settings_in_a_document_are_settings(text: str, tmp_path: Path) -> None:
    path = tmp_path / "medvouch.toml"
    path.write_text((ROOT / "examples" / "medvouch.toml").read_text(encoding="utf-8"), encoding="utf-8")
    before = load(path)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "shown.toml").write_text(text, encoding="utf-8")
    assert load(path) != before


def test_the_description_of_a_release_is_that_of_the_example() -> None:
    ((_, text),) = blocks(HOW_TO.read_text(encoding="utf-8"), "toml")
    shown = tomllib.loads(text)
    whole = tomllib.loads((ROOT / "examples" / "release-1.1.0" / "release.toml").read_text(encoding="utf-8"))
    (fix,) = shown["fixes"]
    del fix["aware"]
    shown["duties"] |= {duty: whole["duties"][duty] for duty in whole["duties"] if duty not in shown["duties"]}
    assert shown == whole


def run(command: Command) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command.script],
        cwd=ROOT, env=os.environ | {"PATH": path}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_the_how_to_publishes_is_what_a_device_installs() -> None:
    for command in commands(HOW_TO.read_text(encoding="utf-8")):
        if command.marker == RUN:
            run(command)
    folder, now = ROOT / "build" / "how-to", int(time.time())
    root = (folder / "root.json").read_bytes()
    files = FromFiles(FileMetadataStore(folder / "repository"))
    mirrors = Mirrors(lambda base, _: Repository(base, files, Shelf(), lambda: now, root), Places(BASE))
    mirrors.refresh()
    release, quality = (
        TrustedRole(role, [load_private_pem((folder / name / "key.pem").read_bytes()).public_key() for name in names],
                    now + 60, now + 60, len(names))
        for role, names in (("release", ("release-1", "release-2")), ("quality", ("quality",)))
    )  # fmt: skip
    ueid = b"\1" + hashlib.sha256(b"the EK of a gateway").digest()
    kind = DeviceClass.named(VENDOR_DOMAIN, DEVICE_CLASS)
    allowed = ["https://updates.devices.example/images/"]
    source = UpdateSource(mirrors, ueid, device_id(ueid), release, quality, kind, allowed, lambda: now)
    offer = source.look(Present(InstalledRelease("1.0.0", 1, 1), None, None, 1))
    assert offer is not None
    assert (offer.plan.version, offer.plan.security_epoch, offer.plan.sequence) == ("1.1.0", 2, 2)
    assert offer.image.digest == hashlib.sha256((folder / "gateway-1.1.0.img").read_bytes()).digest()
    index = (folder / "1.1.0.img.blocks").read_bytes()
    assert offer.index is not None
    assert (offer.index.uri, offer.index.digest) == (f"{offer.image.uri}.blocks", hashlib.sha256(index).digest())
    verify_references([offer.reference], release.keys, release.threshold)


def test_an_unmarked_command_is_seen_and_a_reason_is_asked_for() -> None:
    found = list(commands(SAMPLE))
    assert [(command.script, command.line, command.marked) for command in found] == [
        ("true", 4, True),
        ("medvouch run", 11, True),
        ("false", 15, False),
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_into_the_repository_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link, _ in links if not (document.parent / link).exists()] == []
    within = [(document.parent / link if link else document, anchor) for link, anchor in links if anchor]
    assert [(page, anchor) for page, anchor in within if anchor not in anchors(page.read_text(encoding="utf-8"))] == []
