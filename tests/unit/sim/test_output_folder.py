"""Where a run writes, its own leftovers go, and nobody else's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medvouch.errors import StorageFault, UsageFault
from medvouch_sim.cli import main
from medvouch_sim.output_folder import emptied


def test_what_a_run_left_is_removed_and_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    (out / "site" / "state").mkdir(parents=True)
    (out / "report.html").write_text("old")
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("kept")
    (out / "gateways").symlink_to(elsewhere)
    emptied(out, {"site", "gateways", "report.html"})
    assert list(out.iterdir()) == []
    assert (elsewhere / "mine").read_text() == "kept"


def test_a_folder_is_made(tmp_path: Path) -> None:
    emptied(tmp_path / "a" / "b", ())
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("command", ["demo", "fleet"])
def test_what_nobody_left_there_is_not_removed(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "thesis.odt").write_text("years")
    assert main([command, "--out", str(tmp_path)]) == UsageFault.exit_code
    said = capsys.readouterr().err
    assert said.startswith("medvouch-sim: out-in-use: ")
    assert "`thesis.odt`" in said
    assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", "thesis.odt"]


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "out")]) == StorageFault.exit_code
    assert capsys.readouterr().err.count("\n") == 1


def test_a_wrong_command_line_is_one_line_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "--devices", "0"]) == UsageFault.exit_code
    assert capsys.readouterr().err == (
        "medvouch-sim: usage: argument --devices: '0' is not a whole number from 1 on; "
        "see `medvouch-sim fleet --help`\n"
    )
    assert main(["fleet", "--devices", "0", "--json"]) == UsageFault.exit_code
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"
