from __future__ import annotations

from pathlib import Path

from medvouch.daemon.recording import COMPONENT
from support.enrolling import World
from support.lives import life


async def test_a_checkpoint_that_fails_is_a_problem_also_where_not_even_that_can_be_told(
    everybody: World, tmp_path: Path
) -> None:
    """The disk takes nothing more, not the number of the event's message either."""
    with life(everybody, tmp_path) as one:
        one.store._db.execute("PRAGMA query_only = 1")
        await one.recorder.checkpoint()
        assert [(problem.component, problem.code) for problem in one.health] == [(COMPONENT, "state-unusable")]
        one.store._db.execute("PRAGMA query_only = 0")
