"""Tools that are not ours, in virtual environments of their own; where one cannot be made, its tests are skipped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def environment(name: str, *packages: str) -> Path:
    """Python of `build/venv-NAME`, made with these packages where it is not there yet; skips where that fails."""
    folder = ROOT / "build" / f"venv-{name}"
    python = folder / "bin" / "python"
    stamp = folder / "made"
    if not stamp.exists() or stamp.read_text() != " ".join(packages):
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
        ):
            made = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if made.returncode:
                pytest.skip(f"{name} cannot be installed: {made.stderr.strip().rpartition(chr(10))[2][:200]}")
        stamp.write_text(" ".join(packages))
    return python
