"""How updates are put together for one device: where from, into what, on whose word, and what comes in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from medvouch.daemon.consenting import Consent
from medvouch.daemon.data_migration import DataMigration
from medvouch.daemon.delivery import Delivery
from medvouch.daemon.floor import security_epoch
from medvouch.daemon.health import Health
from medvouch.daemon.holding import Holding
from medvouch.daemon.mirrors import Mirrors
from medvouch.daemon.parts import PartsWay, PlacedFetcher
from medvouch.daemon.recording import Recorder
from medvouch.daemon.refreshing import Refreshing
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.self_check import SelfCheck
from medvouch.daemon.staging import Staging
from medvouch.daemon.standing import Standing
from medvouch.daemon.surroundings import Surroundings, Updates
from medvouch.daemon.trust_adoption import TrustAdoption, TrustedTime
from medvouch.daemon.update_source import UpdateSource
from medvouch.daemon.updating import Updating
from medvouch.daemon.versions import VersionMemory
from medvouch.daemon.worker import Worker
from medvouch.daemon.workload import Workload
from medvouch.formats.identity import DeviceIdentity
from medvouch.ports import Store


@dataclass(frozen=True)
class UpdateAssembly:
    """What stands around an update; `evidence` makes some for the self-check, in the boot `boot_count`."""

    around: Surroundings
    parts: Updates
    worker: Worker
    identity: DeviceIdentity
    standing: Standing
    store: Store
    health: Health
    recorder: Recorder
    reporter: Reporter
    evidence: Callable[[bytes, str], Awaitable[bytes]]
    boot_count: int

    def updating(self) -> Updating:
        """All of it."""
        parts, time = self.parts, TrustedTime(self.around.clock, self.standing, self.parts.built)
        mirrors = Mirrors(lambda base, floor: parts.repository(base, time.now, floor), parts.places)
        holding, check = self._holding(time), self._check(time)
        return Updating(
            self._source(mirrors, time),
            Staging(Delivery(parts.slots, parts.fetcher, self.store, parts.places), self.reporter, holding.restart),
            self._parts_way(check),
            check,
            self.standing,
            self.recorder,
            self.reporter,
            self.health,
            self._repository(mirrors),
            Consent(self.standing, self.recorder, self.reporter, holding),
            self._data(),
            lambda: self.worker.run(lambda: security_epoch(self.around.tpm, self.identity)),
            lambda: parts.jitter_s * int.from_bytes(self.around.entropy.bytes(4)) / 2**32,
        )

    def _parts_way(self, check: SelfCheck) -> PartsWay:
        fetcher, places = self.parts.fetcher, self.parts.places
        return PartsWay(
            self.parts.parts, lambda only: PlacedFetcher(fetcher, places, only), check, self.standing, self.store
        )

    def _source(self, mirrors: Mirrors, time: TrustedTime) -> UpdateSource:
        parts = self.parts
        return UpdateSource(
            mirrors=mirrors,
            ueid=self.identity.ueid,
            device=self.identity.device_id,
            release=parts.release,
            quality=parts.quality,
            device_class=parts.device_class,
            allowed=parts.allowed,
            now=time.now,
            parts=parts.parts.here,
        )

    def _check(self, time: TrustedTime) -> SelfCheck:
        return SelfCheck(
            device=self.identity.device_id,
            boot_count=self.boot_count,
            roots=self.parts.enrolment_roots,
            release=self.parts.release,
            make=self.evidence,
            now=time.now,
            entropy=self.around.entropy,
        )

    def _holding(self, time: TrustedTime) -> Holding:
        parts, workload = self.parts, Workload(self.parts.busy, self.health)
        return Holding(
            self.standing, self.recorder, self.reporter, self.health, time, parts.windows, workload, parts.reboot
        )

    def _repository(self, mirrors: Mirrors) -> Refreshing:
        version, check = self.parts.trust_version, self.parts.check_trust
        trust = TrustAdoption(mirrors, version, check, self.standing, self.store, self.recorder, self.reporter)
        return Refreshing(mirrors, VersionMemory(self.around.tpm, self.worker, self.identity), trust)

    def _data(self) -> DataMigration:
        migrate, slots = self.parts.migrate, self.parts.slots
        return DataMigration(migrate, slots, self.store, self.standing, self.recorder, self.reporter, self.health)
