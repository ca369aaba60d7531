"""Figures of a fleet: what a gateway of many takes of memory, and whether many take longer each than few."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import medvouch
import medvouch_sim
from medvouch.errors import EnvironmentFault
from medvouch_sim.bench.figures import LINEAR, MEMORY, Effort, Figure
from medvouch_sim.fleet.run import REPORT

PROCESSES = 2
STOP_S = 60.0
_MAIN = "import sys; from medvouch_sim.cli import main; sys.exit(main())"
"""What the installed program `medvouch-sim` does; this also runs from a source tree."""


def measure(names: Sequence[str], effort: Effort, say: Callable[[str], None]) -> list[Figure]:
    """The figures of these names, in the order of FLEET; each fleet is a run of `medvouch-sim fleet`.

    Small ones run before and after the large one, so that a machine that grows slower or faster meanwhile weighs less.
    """

    def run(devices: int) -> dict[str, Any]:
        say(f"a fleet of {devices}")
        return _run(devices)

    small = effort.small_fleet
    linear = LINEAR in names
    before = [run(small)] if linear else []
    large = run(effort.large_fleet)
    after = [run(small)] if linear else []
    figures = [Figure(MEMORY, large["mib_per_gateway"], "MiB")] if MEMORY in names else []
    if linear:
        value, few = large["ms_per_gateway"], mean(report["ms_per_gateway"] for report in (*before, *after))
        reference = f"a gateway of {small}, where it is one of {effort.large_fleet}"
        figures.append(Figure(LINEAR, value, "ms", reference, round(few, 2), round(value / few, 3)))
    return figures


def _run(devices: int) -> dict[str, Any]:
    """The report of one fleet, all of which is gone afterwards. Raises EnvironmentFault where it did not do well."""
    with tempfile.TemporaryDirectory(prefix="medvouch-bench-") as folder:
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-c", _MAIN, "fleet", "--devices", str(devices),
                   "--processes", str(PROCESSES), "--out", folder]  # fmt: skip
        sources = ":".join(str(Path(str(package.__file__)).parents[1]) for package in (medvouch, medvouch_sim))
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env=os.environ | {"PYTHONPATH": sources},
        )  # fmt: skip
        try:
            said, _ = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
            raise
        if process.returncode:
            raise EnvironmentFault("fleet-failed", said.strip(), remedy=f"run `medvouch-sim fleet --devices {devices}`")
        report: dict[str, Any] = json.loads((Path(folder) / REPORT).read_bytes())
        return report
