"""`medvouch ledger lineage`: what a device was made to run, by whom, what it fixed, and what proved it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from medvouch.adapters.files import read_bounded
from medvouch.assurance.bundle import Verdict, VerifiedLife
from medvouch.assurance.lineage import Installation, Makers, delivered, trace
from medvouch.cli.gating import read_record
from medvouch.cli.output import aligned, moment, show
from medvouch.cli.parsing import judged_at
from medvouch.cli.trusting import keys_at, read_trust, role_of
from medvouch.cli.verifying import verified_life
from medvouch.formats.ledger import MAX_BUNDLE_BYTES
from medvouch.formats.trust import TrustDocument
from medvouch.update.verification import RoleKeys

Row = dict[str, Any]


def lineage(options: argparse.Namespace) -> int:
    """`medvouch ledger lineage`. A ledger that does not hold is refused: see `medvouch ledger verify`."""
    data, trust = read_bounded(options.file, MAX_BUNDLE_BYTES), read_trust(options.trust)
    at = judged_at(options)
    records = [read_record(path) for path in options.record]
    life = verified_life(data, trust, device=options.device, at=at)
    document = described(life, trace(life, makers_at(trust, at), records))
    show(document, _lines(document), as_json=options.json)
    return 0


def makers_at(trust: TrustDocument, at: int) -> Makers:
    """Who signs releases at a time (s since 1970). Raises ConfigFault where the trust document cannot serve."""
    release, quality = (
        RoleKeys(keys_at(trust, role, at), role_of(trust, role).threshold) for role in ("release", "quality")
    )
    return Makers(release, quality)


def described(life: VerifiedLife, installations: Sequence[Installation]) -> Row:
    """All of it as JSON has it."""
    first = delivered(life, installations)
    return {
        "device": life.device,
        "owner": life.owner,
        "delivered": first and {"version": first.ear.release, **_verdict(first)},
        "installations": [_row(life, each) for each in installations],
    }


def _verdict(verdict: Verdict) -> Row:
    ear = verdict.ear
    return {
        "entry": verdict.entry,
        "issued_at": ear.issued_at,
        "evidence": ear.evidence_digest.hex(),
        "boot_count": ear.boot_count,
    }


def _row(life: VerifiedLife, found: Installation) -> Row:
    signed, last = found.authorised, found.steps[-1].entry
    if found.verdict:
        last = max(last, found.verdict.entry)
    return {
        "version": signed.version if signed else None,
        "sequence": signed.sequence if signed else None,
        "envelope": found.envelope.hex(),
        "image": found.image.hex(),
        "release_signers": [name.hex() for name in signed.release_signers] if signed else [],
        "quality_signers": [name.hex() for name in signed.quality_signers] if signed else [],
        "unproven": found.unproven or None,
        "directive": found.directive.release if found.directive else None,
        "purpose": found.purpose or None,
        "fixes": None if found.fixes is None else [sorted(fix.names) for fix in found.fixes],
        "outcome": found.outcome,
        "verdict": found.verdict and _verdict(found.verdict),
        "steps": [vars(step) for step in found.steps],
        "until_installed_ms": found.until_installed_ms,
        "until_attested_ms": found.until_attested_ms,
        "confirmed_by_tpm": last < life.by_tpm,
        "confirmed_by_appraiser": last < life.by_appraiser,
        "detail": found.detail,
    }  # fmt: skip


def _lines(document: Row) -> list[str]:
    found, first = document["installations"], document["delivered"]
    count = f"{len(found)} release" + ("" if len(found) == 1 else "s")
    lines = [f"{document['device']}: {count} since it was enrolled"]
    if first:
        lines += ["", f"{first['version']}: as it was delivered", f"  proven by  {_proof(first)}"]
    for row in found:
        lines += ["", f"{row['version'] or 'a release that no trusted maker signed'}: {row['outcome']}"]
        lines += [f"  {line}" for line in aligned(_told(row))]
    return lines


def _told(row: Row) -> dict[str, object]:
    verdict, begun, fixes = row["verdict"], row["steps"][0], row["fixes"]
    confirmed = [who for who in ("tpm", "appraiser") if row[f"confirmed_by_{who}"]]
    return {
        "released by": ", ".join(row["release_signers"]),
        "approved by": ", ".join(row["quality_signers"]),
        "not proven": row["unproven"],
        "directed to": row["directive"],
        "as a": row["purpose"],
        "fixes": None if fixes is None else "; ".join(", ".join(names) for names in fixes) or "nothing",
        "begun": moment(begun["time_ms"] // 1000) + ("" if begun["clock_ok"] else " (by a clock that is not believed)"),
        "installed": _after(row["until_installed_ms"]),
        "attested": _after(row["until_attested_ms"]),
        "proven by": verdict and _proof(verdict),
        "confirmed": ", ".join(confirmed) or "by nobody but the device yet",
        "last": row["detail"],
    }


def _proof(verdict: Row) -> str:
    return f"the verdict of {moment(verdict['issued_at'])} on boot {verdict['boot_count']}"


def _after(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else f"after {milliseconds / 1000:.1f} s"
