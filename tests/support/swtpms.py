"""Real (software) TPMs for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medvouch.adapters.tss import TssTpm
from medvouch_sim.swtpm import SwTpm


@contextmanager
def powered(state_dir: Path) -> Iterator[tuple[SwTpm, TssTpm]]:
    """A TPM with power, and the port to it."""
    with SwTpm(state_dir) as chip, TssTpm(chip.tcti()) as tpm:
        yield chip, tpm
