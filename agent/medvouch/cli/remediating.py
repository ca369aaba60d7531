"""`medvouch ledger remediation`: what became of an advisory in a fleet, offline, from what was signed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medvouch.adapters.files import read_bounded, write_durably
from medvouch.adapters.folder import FolderFetcher
from medvouch.adapters.metadata import FileMetadataStore, MemoryMetadataStore
from medvouch.assurance.affectedness import Affectedness, PublishedRelease
from medvouch.assurance.remediation import OPEN, OUTCOMES, DeviceRecord, Remediation, remediate
from medvouch.assurance.remediation_case import Advised, Heard, aware_of
from medvouch.cli.fleet_sources import Ledgers, collected, read_fleet, read_ledgers
from medvouch.cli.output import aligned, columns, moment, show
from medvouch.cli.parsing import judged_at, part
from medvouch.cli.trusting import read_trust
from medvouch.errors import InputError
from medvouch.formats.csaf import ADVISORY, Csaf
from medvouch.formats.fleet import Fleet
from medvouch.formats.json_object import MAX_DOCUMENT_BYTES
from medvouch.formats.openeox import MAX_STATEMENT_BYTES, SupportStatement

Row = dict[str, Any]
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def remediation(options: argparse.Namespace) -> int:
    """`medvouch ledger remediation`: 0 where the advisory is closed, 1 where it is not."""
    at = judged_at(options)
    fleet, advisory = read_fleet(options.fleet), _advisory(options.advisory)
    releases, as_of = _releases(options.repository, options.root, at)
    affectedness = Affectedness(advisory, releases)
    said = aware_of(affectedness)
    advised = Advised(affectedness, options.aware if said is None else said, _support_end(options.support, releases))
    records = [release.record for release in releases]
    ledgers = read_ledgers(options.bundles, read_trust(options.trust), at, records)
    found = remediate(advised, fleet, _heard(ledgers, options.collector, fleet))
    document = {
        "kind": "medvouch-remediation",
        "advisory": advisory.tracking_id,
        "vulnerabilities": [sorted(each.names) for each in advisory.vulnerabilities],
        "judged_at": at,
        "repository_as_of": as_of,
        "releases": [_release(each) for each in affectedness.releases],
        "support_end": advised.support_end,
        "aware_from": None if advised.aware is None else "argument" if said is None else "release",
        **described(found),
        "broken_ledgers": ledgers.broken,
    }
    if options.out is not None:
        write_durably(options.out, (json.dumps(document, indent=2) + "\n").encode())
    show(document, lines(document), as_json=options.json)
    return 0 if found.closed else 1


def _advisory(path: Path) -> Csaf:
    try:
        return Csaf.parse(read_bounded(path, MAX_DOCUMENT_BYTES), ADVISORY)
    except InputError as error:
        remedy = f"mend {path}, or name the right file"
        raise InputError(error.code, f"{path}: {error.detail}", place=error.place, remedy=remedy) from error


def _releases(folder: Path, anchor: Path, at: int) -> tuple[list[PublishedRelease], int]:
    """What a copy of the repository proves was published by `at`, and when it was last signed (s since 1970).

    It is judged at that time, not now: an archive says what was so when it was made, and its signatures hold for ever.
    """
    with part("release"):
        from medvouch.release.published import published_releases  # noqa: PLC0415 - needs tuf
        from medvouch.release.repository import AuthoredRepository  # noqa: PLC0415
        from medvouch.release.tuf_signing import RepositoryKeys  # noqa: PLC0415
        from medvouch.update.repository import MAX_ROOT_BYTES, Repository  # noqa: PLC0415

    authored = AuthoredRepository.open(FileMetadataStore(folder), RepositoryKeys())
    as_of, root = authored.issued or at, read_bounded(anchor, MAX_ROOT_BYTES)
    base = folder.absolute().as_uri()
    repository = Repository(base, FolderFetcher(), MemoryMetadataStore(), lambda: as_of, root)
    repository.refresh()
    found = published_releases(repository, [target.path for target in authored.releases()])
    return [each for each in found if each.available is None or each.available <= at], as_of


def _support_end(statement: Path | None, releases: list[PublishedRelease]) -> int | None:
    """As the statement says, or else the newest release."""
    if statement is not None:
        return SupportStatement.parse(read_bounded(statement, MAX_STATEMENT_BYTES)).end_of_security_support
    newest = max(releases, key=lambda release: release.number, default=None)
    return newest.record.support_end if newest else None


def _heard(ledgers: Ledgers, collector: Path | None, fleet: Fleet) -> dict[bytes, Heard]:
    """Of each device that a ledger or a collector knows of, on the list or not."""
    told = collected(collector, [each.ueid for each in fleet.devices]) if collector else {}
    heard = {ueid: Heard(life, installations) for ueid, (life, installations) in ledgers.lives.items()}
    for device in fleet.devices:
        at = told[device.ueid].heard_at if device.ueid in told else 0
        broken = ledgers.broken.get(device.device, "")
        heard[device.ueid] = replace(heard.get(device.ueid, Heard()), at=at, broken=broken)
    return heard


# --- shown -----------------------------------------------------------------------------------------------------------


def described(found: Remediation) -> Row:
    """All of it as JSON has it; times in s since 1970, latencies in s."""
    return {
        "aware": found.aware,
        "public": found.public,
        "closed": found.closed,
        "closed_at": found.closed_at,
        "totals": {"known": len(found.devices), "affected_supported": found.concerned, "outcomes": dict(found.counts)},
        "latencies": [vars(each) for each in found.latencies],
        "devices": [_device(each) for each in found.devices],
    }


def _device(record: DeviceRecord) -> Row:
    device = record.device
    return {
        "ueid": device.ueid.hex(),
        "device": device.device,
        "serial": device.serial,
        "model": device.model,
        "delivered": device.version,
        "running": record.running or None,
        "fixed_by": record.fixed_by or None,
        "outcome": None if record.outcome == OPEN else record.outcome,
        "reason": record.reason,
        "times": vars(record.times),
    }


def _release(release: PublishedRelease) -> Row:
    return {
        "version": release.record.version,
        "envelope": release.record.envelope.hex(),
        "available": release.available,
        "fixes": [sorted(fix.names) for fix in release.record.fixes],
    }


def lines(document: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    totals = document["totals"]
    concerned, fixed = totals["affected_supported"], totals["outcomes"]["attested_fixed"]
    closed = f"closed: {fixed} of {concerned} affected and supported devices proved that they run a fix"
    still = f"not closed: {concerned - fixed} of {concerned} affected and supported devices have not proved a fix"
    told = {
        "about": "; ".join(", ".join(names) for names in document["vulnerabilities"]),
        "aware": _when(document["aware"]),
        "public": _when(document["public"]),
        "available": _available(document["releases"]),
        "support until": _when(document["support_end"]),
        "devices": f"{totals['known']} known, {concerned} of them affected and supported",
    }
    result = [f"{document['advisory']}: {closed if document['closed'] else still}", ""]
    result += [*aligned(told), "", *_outcomes(totals), "", *_latencies(document["latencies"])]
    broken = [f"the ledger of {device} does not hold: {why}" for device, why in document["broken_ledgers"].items()]
    return [*result, "", *_devices(document["devices"]), *([""] if broken else []), *broken]


def _when(seconds: int | None) -> str:
    return "not known" if seconds is None else moment(seconds)


def _available(releases: list[Row]) -> str:
    told = [f"{each['version']} {_when(each['available'])}" for each in releases if each["fixes"]]
    return "; ".join(told) or "no release fixes anything"


def _outcomes(totals: Mapping[str, Any]) -> list[str]:
    counts = totals["outcomes"]
    rows = [(name, f"{counts[name]} of {totals['known']}") for name in (*OUTCOMES, OPEN) if counts[name]]
    return columns(("outcome", "devices"), rows)


def _latencies(found: list[Row]) -> list[str]:
    heads = ("from", "to", "median", "90 %", "longest", "devices")
    rows = [
        (
            each["start"],
            each["end"],
            *(_span(each[name]) for name in ("median", "p90", "longest")),
            f"{each['known']} of {each['of']}",
        )
        for each in found
    ]
    return columns(heads, rows)


def _devices(found: list[Row]) -> list[str]:
    """Times since a fix was available."""
    heads = ("device", "model", "runs", "outcome", "notified", "downloaded", "installed", "attested", "because")
    rows = [
        (
            each["serial"] or each["device"],
            each["model"],
            each["running"] or "?",
            each["outcome"] or OPEN,
            *(_since(each["times"], name) for name in heads[4:8]),
            each["reason"],
        )
        for each in found
    ]
    return columns(heads, rows)


def _since(times: Mapping[str, int | None], name: str) -> str:
    start, end = times["available"], times[name]
    if end is None:
        return "-"
    return moment(end) if start is None else f"+{_span(max(0, end - start))}"


def _span(seconds: int | None) -> str:
    """Two units at most."""
    if seconds is None:
        return "-"
    for unit, name, below, lesser in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min"), (_MINUTE, "min", 1, "s")):
        if seconds >= unit:
            return f"{seconds // unit} {name} {seconds % unit // below} {lesser}"
    return f"{seconds} s"
