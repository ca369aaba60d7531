"""What a figure is, which there are, and how much effort goes into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

RESPONSE, VERIFY, START, IDLE = ONE_GATEWAY = ("attest.response", "verify.evidence", "agent.start", "agent.idle_pss")
EVENTLOG, IMA, SCALE = LOGS = ("eventlog.replay", "ima.replay", "verify.scale")
MEMORY, LINEAR = FLEET = ("fleet.memory", "fleet.linear")
INSTALL, OTA_MEMORY, DELTA, RESUME, REFUSE, RAUC = OTA = (
    "ota.install",
    "ota.memory",
    "ota.delta",
    "ota.resume",
    "ota.refuse",
    "ota.rauc",
)
KEYLIME = "verify.keylime"
NAMES = (*ONE_GATEWAY, *LOGS, *FLEET, *OTA, KEYLIME)
ABRIDGED = tuple(name for name in NAMES if name != RAUC)
"""What `--quick` looks at: RAUC is a package that only this needs."""


@dataclass(frozen=True)
class Figure:
    """One row of `bench.json`. `reference` says what was measured in turn with it, in the same unit."""

    name: str
    value: float
    unit: str
    reference: str | None = None
    reference_value: float | None = None
    ratio: float | None = None

    @classmethod
    def of_pairs(cls, name: str, pairs: Sequence[tuple[float, float]], reference: str) -> Figure:
        """The medians of (seconds, seconds of the reference)."""
        value, least = (median(seconds) * 1e3 for seconds in zip(*pairs, strict=True))
        return cls(name, round(value, 4), "ms", reference, round(least, 4), round(value / least, 3))


@dataclass(frozen=True)
class Effort:
    """How often things are repeated, how long an agent rests before its memory is looked at, how many are a fleet."""

    responses: int = 300
    evidences: int = 200
    rounds: int = 5
    starts: int = 7
    rest_s: float = 5.0
    log_runs: int = 60
    ima_entries: int = 5000
    small_fleet: int = 50
    large_fleet: int = 500
    comparisons: int = 40
    install_mib: int = 1024
    installs: int = 3
    memory_mib: tuple[int, int] = (64, 4096)
    delta_mib: int = 256
    resume_mib: int = 256
    refusals: int = 200
    rauc_mib: int = 256
    raucs: int = 3


QUICK = Effort(
    responses=3,
    evidences=3,
    rounds=1,
    starts=1,
    rest_s=0.1,
    log_runs=3,
    ima_entries=50,
    small_fleet=2,
    large_fleet=4,
    comparisons=2,
    install_mib=8,
    installs=1,
    memory_mib=(4, 16),
    delta_mib=4,
    resume_mib=16,
    refusals=3,
    rauc_mib=4,
    raucs=1,
)
"""To see whether it works; its figures mean little."""
