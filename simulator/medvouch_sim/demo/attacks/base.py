"""What a row of the demo is: an attack or a fault, what sets it off, and what it is expected to meet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from medvouch.errors import MedvouchError
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway
from medvouch_sim.site import APPRAISER

Provoke = Callable[[], Awaitable[object]]
Plan = Callable[[Stage, Gateway], AsyncIterator[Provoke]]
Play = Callable[[Stage, Gateway], Awaitable[str | MedvouchError]]


@dataclass(frozen=True)
class Attack:
    """`code` is what it must be refused with; `plan` prepares it, yields what sets it off, and repairs the damage.

    A `fault` is nobody's intent, and is told of with a code like an attack.
    """

    name: str
    code: str
    plan: Plan
    kind: Literal["attack", "fault"] = "attack"

    @property
    def expected(self) -> str:
        """What has to be seen."""
        return self.code


@dataclass(frozen=True)
class Trial:
    """`expected` is what must come of it; `play` does it and tells what came: an outcome, or the error at its end."""

    name: str
    expected: str
    play: Play
    kind: Literal["attack", "fault"] = "fault"


async def carry_out(row: Attack | Trial, stage: Stage, gateway: Gateway) -> None:
    """Do it and record what came of it; what takes too long went unnoticed."""
    try:
        await stage.quiet(gateway)
        if isinstance(row, Attack):
            await _attack(row, stage, gateway)
        else:
            await _try(row, stage, gateway)
    except TimeoutError:
        stage.record(gateway.name, row.kind, row.name, row.expected, "unnoticed")


async def _attack(attack: Attack, stage: Stage, gateway: Gateway) -> None:
    """Prepare, provoke, record what the observer heard on MQTT, repair."""
    async with asynccontextmanager(attack.plan)(stage, gateway) as provoke:
        try:
            heard = await stage.refused_with(gateway, attack.name, provoke)
        except TimeoutError:
            stage.record(gateway.name, attack.kind, attack.name, attack.code, "unnoticed")
            return
        fields = heard.payload.fields if heard.payload else {}
        place, detail = fields.get("place") or "", fields.get("detail") or ""
        told = f"{place}: {detail}" if place else str(detail)
        actual = heard.code if heard.topic.device in {gateway.device, APPRAISER} else f"{heard.code} elsewhere"
        stage.record(gateway.name, attack.kind, attack.name, attack.code, actual, code=heard.code, detail=told)


async def _try(trial: Trial, stage: Stage, gateway: Gateway) -> None:
    came = await trial.play(stage, gateway)
    actual, code, detail = (came, "", "") if isinstance(came, str) else (came.code, came.code, came.detail)
    stage.record(gateway.name, trial.kind, trial.name, trial.expected, actual, code=code, detail=detail)
