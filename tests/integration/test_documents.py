"""What the documents tell people to type works, and their links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.documents import Command, commands

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS = [
    pytest.param(command, id=f"{document.relative_to(ROOT)}:{command.line}")
    for document in DOCUMENTS
    for command in commands(document.read_text(encoding="utf-8"))
]
LINK = re.compile(r"\]\((?!\w+:)([^)#]+)[^)]*\)")
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
    assert any(isinstance(command, Command) and command.marker == "<!-- run -->" for command in found)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_a_document_runs_or_says_why_not(command: Command) -> None:
    assert command.marked, "put <!-- run --> or <!-- not run here: reason --> on the line before the fence"
    if command.marker == "<!-- run -->":
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.script],
            cwd=ROOT, env=os.environ | {"PATH": path}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr


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
    assert [link for link in links if not (document.parent / link).exists()] == []
