"""What `medvouch release rollout` does: what became of devices in, directives and a log out.

A step that directs publishes first and writes the rollout then: where it is interrupted in between, the next one finds
the directives there and writes. A halt is written first and withdrawn then: it holds from that instant, and the next
step withdraws what still stands. Whatever stands is compared with what should at each step.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medvouch.adapters.files import read_bounded
from medvouch.adapters.metadata import FileMetadataStore
from medvouch.adapters.rollouts import RolloutFolder
from medvouch.assurance.rollout import Decision, Orders, halt, orders, resume, step
from medvouch.assurance.rollout_planning import check_apart, plan_recovery, plan_rollout, set_apart
from medvouch.cli.fleet_sources import Sources, read_fleet, read_sources
from medvouch.cli.output import show
from medvouch.cli.publishing import alone, opened, published_manifest
from medvouch.cli.rollout_tables import described, lines
from medvouch.errors import InputError, Refusal
from medvouch.formats.directive import RECOVERY, UPDATE, Directive
from medvouch.formats.enrolment import device_id
from medvouch.formats.rollout import HALTED, RUNNING, STARTED, WHOLE, Note, Rollout, Target, Terms
from medvouch.formats.rollout_plan import (
    DEFAULT_SILENT_HOURS,
    MAX_PLAN_BYTES,
    Plan,
)
from medvouch.release.repository import AuthoredRepository
from medvouch.release.tuf_signing import RepositoryKeys
from medvouch.update import refusals

_HOUR, _DAY = 3600, 86_400
_NO_REASON = "no reason given"
NOTHING = Sources({}, {})


@dataclass(frozen=True)
class Done:
    """What one action came to with one rollout; `orders` None where nothing was published."""

    rollout: Rollout
    decision: Decision | None = None
    orders: Orders | None = None

    def document(self, sources: Sources | None, now: int) -> dict[str, Any]:
        """For --json, and for the text."""
        reports = None if sources is None else sources.reports
        return described(self.rollout, reports, now, decision=self.decision, orders=self.orders)


def start(options: argparse.Namespace) -> int:
    """`medvouch release rollout start`."""
    plan, fleet, now = _plan(options.plan), read_fleet(options.fleet), _now()
    target = _target(_readable(options.repository), plan.release, UPDATE)
    return _started(options, lambda: plan_rollout(plan, target, fleet, now, _actor(), options.reason or _NO_REASON))


def recover(options: argparse.Namespace) -> int:
    """`medvouch release rollout recover`."""
    fleet, now = read_fleet(options.fleet), _now()
    target = _target(_readable(options.repository), options.release, RECOVERY)
    sources = read_sources(options, (device.ueid for device in fleet.devices), now)
    reasons = {ueid: reason for ueid, report in sources.reports.items() if (reason := report.quarantined)}
    found = [device.ueid for device in fleet.devices if device.ueid in reasons]
    if not found:
        show({"rollouts": [], "quarantined": 0}, ["no device is in quarantine"], as_json=options.json)
        return 0
    terms = Terms(now + options.days * _DAY, DEFAULT_SILENT_HOURS * _HOUR, 0, 0, WHOLE, 1)
    name = options.name or f"recovery-{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"
    note = Note(now, _actor(), STARTED, options.reason or _NO_REASON)
    return _started(options, lambda: plan_recovery(name, target, found, terms, note))


def _started(options: argparse.Namespace, make: Callable[[], Rollout]) -> int:
    folder = _folder(options)
    rollout = set_apart(make(), folder.all())
    folder.write(rollout)
    return _shown(options, [Done(rollout)], None, ["", "the first wave is directed by `medvouch release rollout step`"])


def step_all(options: argparse.Namespace) -> int:
    """`medvouch release rollout step`: 1 where a rollout halts, or is halted and was asked for by name."""
    folder, now = _folder(options), _now()
    chosen = [each for each in _chosen(folder, options.name) if each.stage in (RUNNING, HALTED)]
    sources = read_sources(options, _devices(chosen), now)
    with opened(options) as repository:
        done = [_stepped(each, folder, repository, sources, now) for each in chosen]
    halted = [each for before, each in zip(chosen, done, strict=True) if each.rollout.stage == HALTED
              and (options.name or before.stage != HALTED)]  # fmt: skip
    return _shown(options, done, sources) or int(bool(halted))


def _stepped(
    rollout: Rollout, folder: RolloutFolder, repository: AuthoredRepository, sources: Sources, now: int
) -> Done:
    moved, decision = step(rollout, sources.reports, now, _actor())
    return Done(moved, decision, _carried_out(rollout, moved, folder, repository, sources, now))


def _carried_out(
    before: Rollout,
    moved: Rollout,
    folder: RolloutFolder,
    repository: AuthoredRepository,
    sources: Sources,
    now: int,
) -> Orders:
    """Repository and file say what `moved` does; of a halt the file first, of all else the repository."""
    if moved != before and moved.stage == HALTED:
        folder.write(moved)
    given = orders(moved, sources.reports, now, _published(repository, moved.devices))
    for directive in given.direct:
        repository.direct(device_id(directive.ueid), directive.encode())
    for ueid in given.withdraw:
        repository.withdraw(device_id(ueid))
    if given.direct or given.withdraw:
        repository.publish(now)
    if moved != before and moved.stage != HALTED:
        folder.write(moved)
    return given


def halt_one(options: argparse.Namespace) -> int:
    """`medvouch release rollout halt`."""
    folder, now = _folder(options), _now()
    rollout = folder.read(options.name)
    sources = read_sources(options, rollout.devices, now) if _told(options) else NOTHING
    moved, decision = halt(rollout, now, _actor(), options.reason)
    folder.write(moved)
    with opened(options) as repository:
        done = Done(moved, decision, _carried_out(moved, moved, folder, repository, sources, now))
    return _shown(options, [done], sources if sources.reports else None)


def resume_one(options: argparse.Namespace) -> int:
    """`medvouch release rollout resume`."""
    folder, now = _folder(options), _now()
    rollout = folder.read(options.name)
    sources = read_sources(options, rollout.devices, now)
    moved = resume(rollout, sources.reports, now, _actor(), options.reason)
    check_apart(moved, folder.all())
    folder.write(moved)
    return _shown(
        options, [Done(moved)], sources, ["", "devices are directed again by `medvouch release rollout step`"]
    )


def status(options: argparse.Namespace) -> int:
    """`medvouch release rollout status`: 1 where one is halted."""
    chosen, now = _chosen(_folder(options), options.name), _now()
    sources = read_sources(options, _devices(chosen), now) if _told(options) else None
    done = [Done(each, step(each, sources.reports, now, _actor())[1] if sources else None) for each in chosen]
    return _shown(options, done, sources) or int(any(each.stage == HALTED for each in chosen))


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "start": alone(start),
    "step": alone(step_all),
    "status": status,
    "halt": alone(halt_one),
    "resume": alone(resume_one),
    "recover": alone(recover),
}


def _shown(options: argparse.Namespace, done: Sequence[Done], sources: Sources | None, more: Sequence[str] = ()) -> int:
    now = _now()
    documents = [each.document(sources, now) for each in done]
    broken = sources.broken if sources else {}
    text = [line for document in documents for line in ("", *lines(document))][1:] or ["no rollout"]
    text += [f"the ledger of {device} does not hold: {why}" for device, why in sorted(broken.items())]
    show({"rollouts": documents, "broken_ledgers": broken}, [*text, *more], as_json=options.json)
    return 0


def _plan(path: Path) -> Plan:
    try:
        return Plan.parse(read_bounded(path, MAX_PLAN_BYTES))
    except InputError as error:
        remedy = f"mend {path}; docs/how-to/publish-a-release.md shows a plan"
        raise InputError(error.code, f"{path}: {error.detail}", place=error.place, remedy=remedy) from error


def _target(repository: AuthoredRepository, name: str, purpose: str) -> Target:
    """What devices are directed to. Refusal `target-unknown`, `manifest-incomplete`; InputError where it is none."""
    listed = repository.release(name)
    if listed is None:
        raise Refusal(refusals.TARGET_UNKNOWN, f"there is no {name}", place=name)
    manifest = published_manifest(name, repository.contents(listed))
    if manifest.version is None:
        raise Refusal(refusals.MANIFEST_INCOMPLETE, "it says no version", place=name)
    version = ".".join(map(str, manifest.version))
    digest = bytes.fromhex(listed.hashes["sha256"])
    return Target(name, digest, listed.length, manifest.sequence_number, version, purpose)


def _published(repository: AuthoredRepository, ueids: Iterable[bytes]) -> dict[bytes, Directive]:
    """The directives that stand; one that no device could read stands for none."""
    found: dict[bytes, Directive] = {}
    for ueid in ueids:
        with suppress(InputError):
            found[ueid] = Directive.parse(repository.directive(device_id(ueid)) or b"")
    return found


def _told(options: argparse.Namespace) -> bool:
    """Whether a source is named of what became of devices."""
    return options.collector is not None or options.bundles is not None


def _chosen(folder: RolloutFolder, name: str | None) -> list[Rollout]:
    return folder.all() if name is None else [folder.read(name)]


def _devices(rollouts: Iterable[Rollout]) -> set[bytes]:
    return {ueid for rollout in rollouts for ueid in rollout.devices}


def _folder(options: argparse.Namespace) -> RolloutFolder:
    """Beside the repository, which is served to whoever asks."""
    repository = options.repository.absolute()
    return RolloutFolder(repository.with_name(f"{repository.name}.rollouts"))


def _readable(path: Path) -> AuthoredRepository:
    return AuthoredRepository.open(FileMetadataStore(path), RepositoryKeys())


def _actor() -> str:
    return f"user {os.getuid()}"


def _now() -> int:
    return int(time.time())
