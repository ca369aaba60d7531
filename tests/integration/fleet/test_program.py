"""`medvouch-sim fleet` as a program: small fleets end to end, and what is left of one that is ended early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medvouch_sim.cli import main
from medvouch_sim.fleet.memory import descendants
from support.processes import PATIENCE_S, belonging_to, until

PROGRAM = "medvouch_sim.cli"
ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT / 'agent'}:{ROOT / 'simulator'}"}


def command(out: Path, *options: object) -> list[str]:
    return [sys.executable, "-m", PROGRAM, "fleet", "--out", str(out), *map(str, options)]


def run(out: Path, *options: object) -> subprocess.CompletedProcess[str]:
    environment = ENVIRONMENT | {"TMPDIR": str(out.parent)}
    done = subprocess.run(
        command(out, *options), capture_output=True, text=True, timeout=PATIENCE_S, env=environment, check=False
    )
    assert belonging_to(out, PROGRAM) == []
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name]
    assert sorted(path.name for path in out.iterdir()) == ["fleet.json", "site"]
    return done


def test_a_small_fleet_in_two_processes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(out, "--devices", 5, "--processes", 2, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((out / "fleet.json").read_text())
    assert [document[name] for name in ("devices", "enrolled", "affirming", "failed")] == [5, 5, 5, 0]
    assert document["processes"] == 2
    assert [gateway["index"] for gateway in document["gateways"]] == list(range(5))
    assert len({gateway["device"] for gateway in document["gateways"]}) == 5
    assert document["mib_per_gateway"] > 1, "a TPM alone takes about that"
    assert "built 5/5" in done.stderr
    assert "attested 5/5" in done.stderr


def test_a_failing_gateway_is_reported(tmp_path: Path) -> None:
    done = run(tmp_path / "out", "--devices", 3, "--processes", 2, "--rogues", 1)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[1:4] == ["2 enrolled", "2 affirming", "1 failed"]
    assert lines[4].startswith("1 enrolment-refused, number 2: ek-chain-untrusted")
    assert "attested 3/3, 1 failed" in done.stderr


def _well_under_way(out: Path) -> bool:
    running = belonging_to(out, PROGRAM)
    return len(running) > 10 and any("mosquitto" in line for line in running)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGKILL", -signal.SIGKILL)])
def test_ended_early_it_leaves_nothing_running(tmp_path: Path, name: str, code: int) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(command(out, "--devices", 60), env=ENVIRONMENT, start_new_session=True) as process:
        try:
            until(lambda: _well_under_way(out))
            started = descendants(process.pid)
            if name == "SIGINT":
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
            else:
                process.kill()
            assert process.wait(PATIENCE_S) == code
        finally:
            process.kill()
    until(lambda: not any(alive(pid) for pid in started) and not belonging_to(out, PROGRAM))
    assert (name == "SIGKILL") == (out / "gateways").exists()


def test_what_an_earlier_fleet_left_in_its_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "gateways").mkdir()
    (tmp_path / "gateways" / "left-behind").touch()
    done = subprocess.run(command(tmp_path, "--devices", 1), timeout=PATIENCE_S, env=ENVIRONMENT, check=False)
    assert done.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet.json", "site"]


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fleet", "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "example:\n  medvouch-sim fleet --devices" in shown
    assert all(option in shown for option in ("--devices", "--processes", "--rogues", "--out", "--json"))


@pytest.mark.parametrize("arguments", [("--devices", "0"), ("--processes", "many"), ("--rogues", "-1")])
def test_a_wrong_number_is_a_usage_error(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", *arguments]) == 2
    assert "is not a whole number" in capsys.readouterr().err


def alive(pid: int) -> bool:
    """A zombie whose parent has not looked yet is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False
