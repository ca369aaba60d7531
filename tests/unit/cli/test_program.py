"""`medvouch` as a program of its own: its streams, its signals, and what it needs to be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medvouch.formats.ledger import Bundle
from support.boots import SHA256, BootBuilder

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "agent")}
WITHOUT_EXTRAS = """
import sys

class NoExtras:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("paho", "tpm2_pytss"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoExtras())
from medvouch.cli.main import main
sys.exit(main())
"""


def run(
    *arguments: object, how: tuple[str, ...] = ("-m", "medvouch"), **options: object
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *how, *map(str, arguments)]
    settings = {"env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": 60} | options
    return subprocess.run(command, check=False, **settings)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    boot = BootBuilder(banks=(SHA256,))
    for number in range(500):
        boot.event(8, 0xD, b"\xc3\xa4 event %d" % number)
    path = tmp_path / "log"
    path.write_bytes(boot.log.encode())
    return path


def test_it_is_a_module_too(log: Path) -> None:
    ran = run("inspect", "eventlog", log)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("firmware event log: 500 events")
    assert run("frobnicate").returncode == 2


def test_most_of_it_works_in_the_base_install(config: Path, log: Path, tmp_path: Path) -> None:
    how = ("-c", WITHOUT_EXTRAS)
    assert run("inspect", "eventlog", log, how=how).returncode == 0
    assert run("config", "show", "--config", config, how=how).returncode == 0
    assert run("config", "check", "--config", config, how=how).returncode == 0
    life = tmp_path / "life.cbor"
    life.write_bytes(Bundle("a" * 32, (), (), b"", b"", b"").encode())
    assert run("ledger", "show", life, how=how).returncode == 0
    assert run("ledger", "verify", life, "--trust", tmp_path / "site/trust.cbor", how=how).returncode == 1
    verified = run("verify", log, "--trust", tmp_path / "site/trust.cbor", how=how)
    assert (verified.returncode, verified.stderr) == (1, "")
    asked = run("status", "--config", config, how=how)
    assert (asked.returncode, asked.stderr.split(": ")[1]) == (5, "agent-not-running")
    refused = run("run", "--config", config, how=how)
    assert refused.returncode == 7
    assert refused.stderr.startswith("medvouch: part-missing: No module named ")
    assert refused.stderr.endswith("; install what this needs: `pip install 'medvouch[agent]'`\n")


def test_without_a_tpm_nothing_but_one_line(config: Path) -> None:
    """Nothing of the TSS libraries either, which write to stderr by themselves."""
    ran = run("run", "--config", config)
    assert ran.returncode == 4
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("medvouch: tpm-unreachable: ")


@pytest.mark.parametrize("tcti", ["swtpm:host=127.0.0.1,port=1", "nonsense", "device", "nonsense:x=1", "mssim:port=x"])
def test_no_tpm_behind_this_tcti(config: Path, tcti: str) -> None:
    config.write_text(config.read_text().replace("device:/nowhere/tpmrm0", tcti))
    ran = run("run", "--config", config)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (4, "", 1)
    assert ran.stderr.startswith("medvouch: tpm-unreachable: ")
    assert "the TCTI in the configuration" in ran.stderr


def test_a_reader_that_leaves_early_changes_no_verdict(log: Path) -> None:
    shell = f"{sys.executable} -m medvouch inspect eventlog {log} | head -1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", shell], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_output_that_finds_no_room(log: Path, options: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        ran = run("inspect", "eventlog", log, *options, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert ran.returncode == 6
    expected = "medvouch: output-not-written: standard output: No space left on device; free space there"
    assert ran.stderr.startswith("" if options else expected)
    assert "Traceback" not in ran.stderr


def test_a_terminal_without_unicode(log: Path) -> None:
    ran = run("inspect", "eventlog", log, env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"})
    assert (ran.returncode, ran.stderr) == (0, "")
    assert r"\xe4 event 499" in ran.stdout
