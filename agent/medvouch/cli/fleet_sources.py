"""Where a command learns what became of devices: ledgers that it verifies itself, or what a collector keeps."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from medvouch.adapters.files import read_bounded
from medvouch.adapters.store import SqliteStore
from medvouch.assurance.bundle import VerifiedLife
from medvouch.assurance.lineage import Installation, trace
from medvouch.assurance.reports import DeviceReport, report_of
from medvouch.cli.tracing import makers_at
from medvouch.cli.trusting import read_trust
from medvouch.cli.verifying import verified_life
from medvouch.collector.claims import report
from medvouch.collector.registry import Registry
from medvouch.errors import ConfigFault, InputError, Refusal, UsageFault
from medvouch.formats.enrolment import device_id
from medvouch.formats.fleet import MAX_FLEET_BYTES, Fleet
from medvouch.formats.ledger import MAX_BUNDLE_BYTES, Bundle
from medvouch.formats.release import ReleaseRecord
from medvouch.formats.trust import TrustDocument


@dataclass
class Ledgers:
    """Of a folder: lives by UEID, each with its installations; of those that do not hold why, by device or file."""

    lives: dict[bytes, tuple[VerifiedLife, tuple[Installation, ...]]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


def read_fleet(path: Path) -> Fleet:
    """A fleet file. Raises StorageFault, InputError `fleet-*`."""
    try:
        return Fleet.parse(read_bounded(path, MAX_FLEET_BYTES))
    except InputError as error:
        remedy = f"mend {path}, or name the right file"
        raise InputError(error.code, f"{path}: {error.detail}", place=error.place, remedy=remedy) from error


def read_ledgers(path: Path, trust: TrustDocument, at: int, records: Collection[ReleaseRecord] = ()) -> Ledgers:
    """All of a folder, judged at `at` (s since 1970); of several of one device the longest that holds.

    `records` are those of releases that were published.
    Raises ConfigFault where the trust document cannot serve.
    """
    found, makers = Ledgers(), makers_at(trust, at)
    for file in sorted(path.glob("*.cbor")):
        data = read_bounded(file, MAX_BUNDLE_BYTES)
        try:
            life = verified_life(data, trust, device=None, at=at)
        except ConfigFault:
            raise
        except (Refusal, InputError) as error:
            found.broken[_claimant(data) or file.name] = f"{error.code} ({error.place})" if error.place else error.code
            continue
        known = found.lives.get(life.ueid)
        if known is None or len(known[0].entries) < len(life.entries):
            found.lives[life.ueid] = (life, trace(life, makers, records))
    for ueid in found.lives:
        found.broken.pop(device_id(ueid), None)
    return found


def _claimant(data: bytes) -> str:
    """The device that a ledger says it is of, or nothing."""
    try:
        return Bundle.parse(data).device
    except InputError:
        return ""


@dataclass(frozen=True)
class Sources:
    """What is known of devices by UEID, and which ledgers do not hold."""

    reports: dict[bytes, DeviceReport]
    broken: dict[str, str]


def read_sources(options: argparse.Namespace, devices: Iterable[bytes], now: int) -> Sources:
    """Of these devices, from all sources that are named; where two know of one, what was heard last.

    Raises UsageFault where none is named.
    """
    if options.bundles is None and options.collector is None:
        remedy = "name the collector's database (--collector), or exported ledgers (--bundles DIR --trust FILE)"
        raise UsageFault("usage", "nothing tells what became of the devices", remedy=remedy)
    ledgers = Ledgers()
    if options.bundles is not None:
        if options.trust is None:
            raise UsageFault("usage", "--bundles without --trust", remedy="name the trust document that they hold by")
        ledgers = read_ledgers(options.bundles, read_trust(options.trust), now)
    told = collected(options.collector, devices) if options.collector is not None else {}
    for ueid, (life, installations) in ledgers.lives.items():
        mine = report_of(life, installations)
        if ueid not in told or told[ueid].heard_at <= mine.heard_at:
            told[ueid] = mine
    return Sources(told, ledgers.broken)


def collected(path: Path, devices: Iterable[bytes]) -> dict[bytes, DeviceReport]:
    """What a collector keeps of these devices. Raises StorageFault."""
    store = SqliteStore(path)
    try:
        registry = Registry(store)
        return {ueid: report(registry, device_id(ueid)) for ueid in devices}
    finally:
        store.close()
