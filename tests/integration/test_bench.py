"""`make bench` in its quick form: what it writes, and that it leaves nothing behind. How fast is not tested here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from medvouch.errors import EnvironmentFault, MissingPart
from medvouch_sim.bench import figures as bench
from medvouch_sim.bench import fleet, logs, rauc
from medvouch_sim.bench.program import main
from support.processes import belonging_to, until

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {"name", "value", "unit", "reference", "reference_value", "ratio"}


def test_quick_bench_writes_all_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "build" / "bench.json"
    assert main(["--quick", "--out", str(out)]) == 0
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    names = [name for name in bench.ABRIDGED if name in rows or name != bench.KEYLIME]
    assert list(rows) == names
    assert all(row.keys() == FIELDS and row["value"] > 0 for row in rows.values())
    for name in (bench.RESPONSE, bench.VERIFY):
        row = rows[name]
        assert row["unit"] == "ms"
        assert row["ratio"] == pytest.approx(row["value"] / row["reference_value"], abs=1e-2)
    assert rows[bench.RESPONSE]["reference"].endswith("PCR_Read, PCR_Read, Quote, Sign")
    assert [rows[name]["unit"] for name in (bench.START, bench.IDLE)] == ["ms", "MiB"]
    assert rows[bench.START]["reference"] is rows[bench.START]["ratio"] is rows[bench.IDLE]["ratio"] is None
    assert [rows[name]["unit"] for name in (bench.MEMORY, bench.LINEAR)] == ["MiB", "ms"]
    assert rows[bench.MEMORY]["reference"] is rows[bench.MEMORY]["ratio"] is None
    linear = rows[bench.LINEAR]
    assert linear["reference"] == "a gateway of 2, where it is one of 4"
    assert linear["ratio"] == pytest.approx(linear["value"] / linear["reference_value"], abs=1e-2)
    updates = [rows[name] for name in bench.OTA if name in rows]
    assert [row["unit"] for row in updates] == ["ms", "MiB", "bytes", "bytes", "ms"]
    assert [row["ratio"] is not None for row in updates] == [True, True, True, False, False]
    assert rows[bench.DELTA]["ratio"] < 0.02
    assert rows[bench.RESUME]["value"] <= 1 << 20
    captured = capsys.readouterr()
    assert "agent.idle_pss" in captured.out
    assert "verify.evidence: 3 distinct ones" in captured.err
    assert bench.KEYLIME in captured.err, "measured, or why not"


def test_only_some_figures_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--json", "--only", bench.RESPONSE, "--out", str(tmp_path / "bench.json")]
    assert main(arguments) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == bench.RESPONSE


def test_the_figures_of_logs_need_no_published_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(logs.VECTORS, raising=False)
    rows = logs.measure_logs(bench.LOGS, bench.QUICK, print)
    assert [row.name for row in rows] == list(bench.LOGS)
    assert all(row.unit == "ms" and row.value > 0 and row.reference_value and row.ratio for row in rows)
    assert "1 logs that it can read, of at least 40000 bytes: made by" in str(rows[0].reference)


def test_published_logs_are_taken_where_there_are_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = logs._large_log(tmp_path / "disk").encode()
    folder = tmp_path / "vectors" / "eventlogs"
    folder.mkdir(parents=True)
    for name, data in (
        ("a.log", made),
        ("b.bin", made),
        ("small.bin", made[:1000]),
        ("c.yaml", made),
        ("cut.log", made[:-1]),
    ):
        (folder / name).write_bytes(data)
    monkeypatch.setenv(logs.VECTORS, str(tmp_path / "vectors"))
    (row,) = logs.measure_logs([bench.EVENTLOG], bench.QUICK, print)
    assert "2 logs that it can read, of at least 40000 bytes: published" in str(row.reference)


def test_no_figure_without_the_tool_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPart, match="tpm2_eventlog"):
        logs.measure_logs([bench.EVENTLOG], bench.QUICK, print)


@pytest.mark.skipif(bool(rauc.missing()), reason=f"not installed: {', '.join(rauc.missing())}")
def test_beside_rauc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--json", "--only", bench.RAUC, "--out", str(tmp_path / "bench.json")]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["reference"].startswith("rauc 1.")
    assert row["ratio"] > 0


def test_without_rauc_its_figure_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rauc, "missing", lambda: ["rauc"])
    assert main(["--quick", "--only", bench.RAUC, "--out", str(tmp_path / "bench.json")]) == 7
    assert "rauc-missing: not installed: rauc" in capsys.readouterr().err


def test_an_unknown_figure_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--only", "speed"])
    assert stopped.value.code == 2


def test_a_fleet_that_does_not_do_well_is_no_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fleet, "_MAIN", fleet._MAIN.replace("main()", "main([*sys.argv[1:], '--rogues', '1'])"))
    with pytest.raises(EnvironmentFault, match="enrolment-refused") as caught:
        fleet.measure([bench.MEMORY], bench.QUICK, print)
    assert caught.value.code == "fleet-failed"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("figure", "awaited"), [(bench.IDLE, "medvouch.cli.main"), (bench.MEMORY, "swtpm socket")])
def test_ctrl_c_leaves_nothing_running(tmp_path: Path, figure: str, awaited: str) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": f"{ROOT}/agent:{ROOT}/simulator"}
    command = [sys.executable, "-m", "medvouch_sim.bench", "--only", figure, "--out", str(tmp_path / "bench.json")]
    with subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE) as process:
        until(lambda: any(awaited in line for line in belonging_to(tmp_path, "medvouch_sim.bench")))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert belonging_to(tmp_path, "medvouch_sim.bench") == []
    assert list(tmp_path.iterdir()) == []
