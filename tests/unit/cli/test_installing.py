"""`medvouch installer`: how it is started, and what it leaves out."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

from support.cli import Caller

ROOT = Path(__file__).resolve().parents[3]
LOADED = """
import sys
import medvouch.cli.installing, medvouch.cli.main
foreign = {"paho", "tpm2_pytss", "tuf", "securesystemslib", "sqlite3", "http.client", "urllib.request"}
print(sorted(foreign & sys.modules.keys()))
"""


def test_it_loads_nothing_that_talks_to_the_network_or_keeps_state() -> None:
    run = subprocess.run(
        [sys.executable, "-c", LOADED],
        env={"PYTHONPATH": str(ROOT / "agent")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == "[]\n"


def test_without_a_socket_it_says_how_it_is_started(medvouch: Caller, config: Path) -> None:
    called = medvouch("installer", "--config", config, "--user", pwd.getpwuid(os.getuid()).pw_name)
    assert (called.code, called.out) == (2, "")
    assert called.err.startswith("medvouch: usage: no socket was handed over; start medvouch-installer.socket, or ")


def test_a_user_who_does_not_exist(medvouch: Caller, config: Path, tmp_path: Path) -> None:
    called = medvouch("installer", "--config", config, "--user", "no-such-user", "--socket", tmp_path / "s")
    assert called.code == 3
    assert called.err.startswith("medvouch: user-unknown: there is no user 'no-such-user'; name the agent's user")
    assert not (tmp_path / "s").exists()


def test_a_socket_that_cannot_be_made(medvouch: Caller, config: Path, tmp_path: Path) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    called = medvouch("installer", "--config", config, "--user", user, "--socket", tmp_path / "none" / "s")
    assert called.code == 6
    assert called.err.startswith("medvouch: helper-socket: ")
