"""What the repository says beside releases: whom to trust from the next start on, and what time it is at least."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from medvouch.daemon.mirrors import Mirrors
from medvouch.daemon.recording import Circumstances, Recorder
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import TIME_KEY, TRUST_KEY, Change, Standing
from medvouch.daemon.worker import in_thread
from medvouch.formats.ledger import Transition
from medvouch.ports import Clock, Store
from medvouch.update.repository import Repository
from medvouch.update.trusted_time import trusted_now


@dataclass(frozen=True)
class TrustedTime:
    """Time that never falls below what has passed: the build (s since 1970), the last verified metadata and verdict."""

    clock: Clock
    standing: Standing
    built: int

    def now(self) -> int:
        """Seconds since 1970."""
        verdict = self.standing.last_verdict
        floor = max(self.built, self.standing.testified_time, verdict.issued_at if verdict else 0)
        return trusted_now(self.clock.now(), floor)


@dataclass(frozen=True)
class TrustAdoption:
    """Keeps the trust document of the repository where it is newer than `in_use`, the version this agent runs with."""

    mirrors: Mirrors
    in_use: int
    check: Callable[[bytes], int]
    standing: Standing
    store: Store
    recorder: Recorder
    reporter: Reporter

    async def refreshed(self, testified: int) -> None:
        """After a refresh that testified a time. Raises as downloading does; ConfigFault where it cannot be used."""
        if testified > self.standing.testified_time:
            self.store.put({TIME_KEY: str(testified).encode()})
        data = await in_thread(self.mirrors.ask, Repository.trust)
        used = self.standing.trust
        if data == used:
            return
        version, before = self.check(data), self.check(used) if used else self.in_use
        if version <= max(before, self.in_use):
            return
        change = Change(Transition("trust-document", str(before), str(version), "publish"), {TRUST_KEY: data})
        around = Circumstances("update repository", self.standing.owner, {"trust": data})
        message = self.reporter.event_message("trust-adopted", {"version": version})
        await self.recorder.record(change, around, [message])
