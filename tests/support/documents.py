"""What the documents have between fences: commands, each marked with whether the tests run it, and programs."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

RUN = "<!-- run -->"
NOT_RUN = re.compile(r"<!-- not run here: \S.* -->")


@dataclass(frozen=True)
class Command:
    """A fenced `sh` block: the line before its fence, its text, the number of its first line (from 1)."""

    marker: str
    script: str
    line: int

    @property
    def marked(self) -> bool:
        """Whether its marker says, in one of the two ways, what the tests do with it."""
        return self.marker == RUN or NOT_RUN.fullmatch(self.marker) is not None


def commands(markdown: str) -> Iterator[Command]:
    """Every block fenced as sh, bash, shell or console; a fence may be indented."""
    lines = [line.strip() for line in markdown.splitlines()]
    for line, script in blocks("\n".join(lines), "sh", "bash", "shell", "console"):
        yield Command(lines[line - 3] if line > 2 else "", script, line)


def blocks(markdown: str, *languages: str) -> Iterator[tuple[int, str]]:
    """Every block fenced as one of these languages: number of its first line (from 1), text."""
    lines = markdown.splitlines()
    fences = [number for number, line in enumerate(lines) if line.startswith("```")]
    for start, end in zip(fences[::2], fences[1::2], strict=True):
        if lines[start].removeprefix("```").strip() in languages:
            yield start + 2, "\n".join(lines[start + 1 : end])


def anchors(markdown: str) -> set[str]:
    """What links into a page may name: its headings, as forges write them."""
    outside = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def example(name: str) -> ModuleType:
    """A program of examples/, as a module."""
    path = Path(__file__).resolve().parents[2] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
