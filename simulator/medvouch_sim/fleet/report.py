"""How a fleet fared: what became of each gateway, and what it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

AFFIRMING = "affirming"
FAILED = "failed"
"""There is no verdict: it did not come up, enrol or answer; `code` says why."""


@dataclass(frozen=True)
class Fate:
    """One gateway, by its number. `status`: of the verdict, or FAILED; `seconds` from power-on to there."""

    index: int
    device: str
    enrolled: bool
    status: str
    code: str
    detail: str
    seconds: float

    @property
    def affirming(self) -> bool:
        """Whether it came through."""
        return self.status == AFFIRMING


@dataclass(frozen=True)
class Report:
    """A whole run. `seconds` are those from the first power-on to the last verdict, `building` those before.

    `memory_kib` is the PSS of all processes with everything up; `processes` counts those that ran the agents.
    """

    fates: Sequence[Fate]
    processes: int
    building: float
    seconds: float
    memory_kib: int

    @property
    def passed(self) -> bool:
        """Whether all are affirming."""
        return all(fate.affirming for fate in self.fates)

    @property
    def ms_per_gateway(self) -> float:
        """Wall time, divided."""
        return self.seconds * 1e3 / len(self.fates)

    @property
    def mib_per_gateway(self) -> float:
        """Memory, divided."""
        return self.memory_kib / 1024 / len(self.fates)

    @property
    def codes(self) -> dict[str, int]:
        """How many did not come through, by code, the most frequent first."""
        return dict(Counter(fate.code for fate in self.fates if not fate.affirming).most_common())

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "devices": len(self.fates),
            "enrolled": sum(fate.enrolled for fate in self.fates),
            "affirming": sum(fate.affirming for fate in self.fates),
            "failed": sum(not fate.affirming for fate in self.fates),
            "codes": self.codes,
            "processes": self.processes,
            "building_s": round(self.building, 3),
            "seconds": round(self.seconds, 3),
            "ms_per_gateway": round(self.ms_per_gateway, 2),
            "mib_per_gateway": round(self.mib_per_gateway, 3),
            "gateways": [asdict(fate) | {"seconds": round(fate.seconds, 3)} for fate in self.fates],
        }

    def lines(self) -> list[str]:
        """For people; of each code its first detail."""
        sums = self.document()
        first = {fate.code: fate for fate in reversed(self.fates)}
        codes = [
            f"  {count:7} {code}, number {first[code].index}: {first[code].detail}"
            for code, count in self.codes.items()
        ]
        return [
            f"{sums['devices']} gateways in {self.processes} processes, built in {self.building:.1f} s",
            f"  {sums['enrolled']:5} enrolled",
            f"  {sums['affirming']:5} affirming",
            f"  {sums['failed']:5} failed",
            *codes,
            f"{self.seconds:.1f} s from the first power-on to the last verdict, {self.ms_per_gateway:.1f} ms a gateway",
            f"{self.mib_per_gateway:.2f} MiB a gateway (PSS of all processes: agents, TPMs, broker, collector)",
        ]
