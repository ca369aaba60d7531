"""The gate is judged on reports made here, and on the project's own layers and sources."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import coverage_gate
from coverage_gate import GateError, core_packages, judge, source_files

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [("medvouch.formats.x", "x.py"), ("medvouch.formatsx", "y.py"), ("medvouch.cli", "z.py")]
CORES = ("medvouch.formats", "medvouch.update")


def entry(lines: int, lines_hit: int, branches: int = 0, branches_hit: int = 0) -> dict[str, Any]:
    return {
        "summary": {
            "num_statements": lines,
            "covered_lines": lines_hit,
            "num_branches": branches,
            "covered_branches": branches_hit,
        }
    }


def report(x: dict[str, Any], y: dict[str, Any], z: dict[str, Any]) -> dict[str, Any]:
    return {"meta": {"branch_coverage": True}, "files": {"x.py": x, "y.py": y, "z.py": z}}


FULL = entry(100, 100, 100, 100)


def verdicts(x: dict[str, Any], y: dict[str, Any] = FULL, z: dict[str, Any] = FULL) -> dict[str, bool]:
    return {row.name: row.passed for row in judge(report(x, y, z), SOURCES, CORES)}


def test_a_core_without_sources_has_no_row() -> None:
    assert verdicts(FULL) == {"medvouch.formats": True, "everything": True}


@pytest.mark.parametrize(
    ("core", "held"),
    [
        (entry(100, 90, 100, 90), True),
        (entry(1000, 899, 100, 100), False),
        (entry(100, 100, 1000, 899), False),
        (entry(100_000, 89_999, 100, 100), False),
        (entry(100, 100), True),
    ],
)
def test_a_core_is_held_in_lines_and_in_branches_unrounded(core: dict[str, Any], *, held: bool) -> None:
    assert verdicts(core)["medvouch.formats"] is held


def test_a_package_whose_name_only_begins_alike_is_not_the_core() -> None:
    assert verdicts(FULL, y=entry(100, 80))["medvouch.formats"]


@pytest.mark.parametrize(("hit", "held"), [(55, True), (54, False)])
def test_everything_is_held_together(hit: int, *, held: bool) -> None:
    assert verdicts(FULL, z=entry(100, hit, 100, hit))["everything"] is held


def test_a_source_file_that_was_not_measured_fails() -> None:
    missing = report(FULL, FULL, FULL)
    del missing["files"]["z.py"]
    with pytest.raises(GateError, match=r"z\.py is not in the report"):
        judge(missing, SOURCES, CORES)


def test_lines_alone_are_not_enough() -> None:
    without = report(FULL, FULL, FULL) | {"meta": {"branch_coverage": False}}
    with pytest.raises(GateError, match="--cov-branch"):
        judge(without, SOURCES, CORES)


def test_nothing_measured_fails() -> None:
    with pytest.raises(GateError, match="nothing was measured"):
        judge(report(entry(0, 0), entry(0, 0), entry(5, 0)), SOURCES, CORES)


def test_the_cores_are_the_layers_from_formats_to_assurance() -> None:
    cores = core_packages(tomllib.loads((ROOT / "pyproject.toml").read_text()))
    assert set(cores) == {
        f"medvouch.{name}"
        for name in ("formats", "crypto", "ports", "attestation", "update", "ledger", "lifecycle", "assurance")
    }


def test_every_source_file_of_both_distributions_is_asked_for() -> None:
    found = dict(source_files(ROOT))
    assert found["medvouch"] == "agent/medvouch/__init__.py"
    assert found["medvouch.formats.cursor"] == "agent/medvouch/formats/cursor.py"
    assert found["medvouch_sim"] == "simulator/medvouch_sim/__init__.py"


@pytest.mark.parametrize(("hit", "status", "said"), [(10, 0, "ok"), (0, 1, "BELOW")])
def test_the_status_is_the_verdict(
    hit: int,
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for folder in coverage_gate.SOURCES.values():
        (tmp_path / folder / "formats").mkdir(parents=True)
        (tmp_path / folder / "formats" / "x.py").touch()
    files = {path: entry(10, 10) for _, path in source_files(tmp_path)}
    files["agent/medvouch/formats/x.py"] = entry(10, 10, 10, hit)
    (tmp_path / "coverage.json").write_text(json.dumps({"meta": {"branch_coverage": True}, "files": files}))
    monkeypatch.chdir(tmp_path)
    assert coverage_gate.main(["coverage.json"]) == status
    assert said in capsys.readouterr().out
    (tmp_path / "agent/medvouch/late.py").touch()
    assert coverage_gate.main(["coverage.json"]) == 1
    assert "agent/medvouch/late.py is not in the report" in capsys.readouterr().err
