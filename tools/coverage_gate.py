"""The coverage gate: each core package by itself, and everything together, from the JSON of `coverage json`.

Lines and branches are held to the limit separately, so that neither hides behind the other. A source file that the
report does not know counts as a failure, not as nothing. Which packages are cores is read from the layers contract in
pyproject.toml: all from `formats` up to `assurance`.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORE_LIMIT = 90.0
OVERALL_LIMIT = 85.0
SOURCES = {"medvouch": Path("agent/medvouch"), "medvouch_sim": Path("simulator/medvouch_sim")}


class GateError(Exception):
    """The report cannot be judged; str() says why."""


@dataclass(frozen=True)
class Figure:
    """What was reached of what there is, in counts of lines and of branches."""

    lines: int = 0
    lines_hit: int = 0
    branches: int = 0
    branches_hit: int = 0

    def __add__(self, other: Figure) -> Figure:
        return Figure(
            self.lines + other.lines,
            self.lines_hit + other.lines_hit,
            self.branches + other.branches,
            self.branches_hit + other.branches_hit,
        )

    @property
    def line_percent(self) -> float:
        """Lines reached, 0 to 100; nothing to reach is all reached."""
        return 100 * self.lines_hit / self.lines if self.lines else 100.0

    @property
    def branch_percent(self) -> float:
        """Branches reached, 0 to 100; nothing to reach is all reached."""
        return 100 * self.branches_hit / self.branches if self.branches else 100.0

    def reaches(self, limit: float) -> bool:
        """Whether lines and branches each reach `limit` per cent, unrounded."""
        return min(self.line_percent, self.branch_percent) >= limit


@dataclass(frozen=True)
class Row:
    """One line of the gate's table."""

    name: str
    figure: Figure
    limit: float

    @property
    def passed(self) -> bool:
        """Whether this row holds its limit."""
        return self.figure.reaches(self.limit)

    def __str__(self) -> str:
        lines, branches = self.figure.line_percent, self.figure.branch_percent
        verdict = "ok" if self.passed else "BELOW"
        return f"{self.name:24} {lines:8.2f} {branches:9.2f} {self.limit:7.0f}  {verdict}"


def core_packages(pyproject: Mapping[str, Any]) -> tuple[str, ...]:
    """The modules of the layers contract from medvouch.formats up to medvouch.assurance."""
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    names = [tuple(part.strip(" ()") for part in layer.split("|")) for layer in layers]
    top = next(i for i, layer in enumerate(names) if "medvouch.assurance" in layer)
    bottom = next(i for i, layer in enumerate(names) if "medvouch.formats" in layer)
    return tuple(name for layer in reversed(names[top : bottom + 1]) for name in layer)


def source_files(root: Path) -> Iterator[tuple[str, str]]:
    """(module name, path below `root` with forward slashes) of every Python file of the two distributions."""
    for package, folder in SOURCES.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            module = ".".join((package, *(part for part in parts if part != "__init__")))
            yield module, path.relative_to(root).as_posix()


def figure_of(entry: Mapping[str, Any]) -> Figure:
    """The counts of one file's entry in the report."""
    summary = entry["summary"]
    return Figure(
        summary["num_statements"], summary["covered_lines"], summary["num_branches"], summary["covered_branches"]
    )


def judge(report: Mapping[str, Any], sources: Iterable[tuple[str, str]], cores: Iterable[str]) -> list[Row]:
    """One row per core that has sources, and one for everything.

    Raises GateError where branches were not measured, a source file is not in the report, or there is nothing at all.
    """
    if not report["meta"]["branch_coverage"]:
        raise GateError("branches were not measured; run pytest with --cov-branch")
    figures = {}
    for module, path in sources:
        if path not in report["files"]:
            raise GateError(f"{path} is not in the report; every source file has to be measured")
        figures[module] = figure_of(report["files"][path])
    if not sum(figures.values(), Figure()).lines_hit:
        raise GateError("nothing was measured")
    rows = []
    for core in cores:
        inside = [figure for module, figure in figures.items() if f"{module}.".startswith(f"{core}.")]
        if inside:
            rows.append(Row(core, sum(inside, Figure()), CORE_LIMIT))
    return [*rows, Row("everything", sum(figures.values(), Figure()), OVERALL_LIMIT)]


def main(arguments: list[str]) -> int:
    """`coverage_gate.py REPORT`, from the project's folder: 0 where the gate holds, else 1."""
    root = Path()
    report = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    cores = core_packages(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")))
    try:
        rows = judge(report, source_files(root), cores)
    except GateError as error:
        print(f"coverage gate: {error}", file=sys.stderr)
        return 1
    print(f"{'coverage, %':24} {'lines':>8} {'branches':>9} {'limit':>7}")
    for row in rows:
        print(row)
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
