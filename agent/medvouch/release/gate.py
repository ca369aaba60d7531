"""The gate: what must be true of a release before it is published (CRA, Annex I, part II; ADR 42). No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from medvouch.errors import InputError, Refusal
from medvouch.formats.csaf import ADVISORY, VEX, Csaf
from medvouch.formats.cyclonedx import Sbom
from medvouch.formats.openeox import SupportStatement
from medvouch.formats.release import DUTIES, MIXED, RECORD_NAME, SECURITY, Duty, Fix, ReleaseRecord
from medvouch.formats.suit import Envelope
from medvouch.formats.suit_manifest import Manifest
from medvouch.formats.version import parse_version
from medvouch.release import refusals
from medvouch.release.draft import Claimed, Draft


@dataclass(frozen=True)
class Documents:
    """What goes out with the release, as bytes; None where there is none."""

    envelope: bytes
    sbom: bytes
    vex: bytes
    advisory: bytes | None = None
    support: bytes | None = None


def pass_gate(
    draft: Draft,
    documents: Documents,
    known_exploited: Collection[str],
    previous: ReleaseRecord | None,
    now: int,
) -> ReleaseRecord:
    """The record of a release that may go out; `previous` is the one published before, `now` in s since 1970.

    1. The version is higher than the one before, and the epoch not lower.
    2. Envelope and SBOM are of this version; fixes and features name components that the SBOM has.
    3. It is what it calls itself, and holds no fix back for a feature.
    4. The VEX knows the product, calls it affected by nothing that is known to be exploited, and each fix fixed.
    5. The advisory tells of each fix, and what is said of when its maker knew has been.
    6. Security support has an end that is announced and not over.
    7. There are a contact and a policy for whoever finds a vulnerability.
    8. Each duty has an owner, a deputy and a day of review to come.

    Raises InputError where a document is malformed, Refusal `release-*`.
    """
    _check_rise(draft, previous)  # 1
    _check_contents(draft, Envelope.parse(documents.envelope), Sbom.parse(documents.sbom))  # 2
    _check_kind(draft)  # 3
    _check_vex(draft, Csaf.parse(documents.vex, VEX), known_exploited)  # 4
    fixes = tuple(_fixes(draft))
    advisory = documents.advisory if fixes else None
    _check_advised(fixes, None if advisory is None else Csaf.parse(advisory, ADVISORY))  # 5
    _check_aware(fixes, now)
    support, support_end = _support(documents.support, now)  # 6
    _check_remediation(draft)  # 7
    return ReleaseRecord(
        version=draft.version,
        security_epoch=draft.security_epoch,
        kind=draft.kind,
        fixes=fixes,
        envelope=_sha256(documents.envelope),
        sbom=_sha256(documents.sbom),
        vex=_sha256(documents.vex),
        advisory=None if advisory is None else _sha256(advisory),
        support=_sha256(support),
        support_end=support_end,
        contact=draft.contact,
        cvd_policy=draft.cvd_policy,
        duties=dict(_duties(draft, now)),  # 8
    )


def check_published(version: str, files: Mapping[str, bytes]) -> None:
    """That files to be published as `version` are what passed the gate: each envelope, and all of a release record.

    What is no envelope may go out without one: no device installs it. Raises InputError `release-*`, Refusal
    `release-record-missing`, `release-document-mismatch`.
    """
    record = ReleaseRecord.parse(files[RECORD_NAME]) if RECORD_NAME in files else None
    for name, data in files.items():
        if _is_envelope(data) and (record is None or record.envelope != _sha256(data)):
            raise Refusal(refusals.RELEASE_RECORD_MISSING, f"{version} has no record of it", place=name)
    if record is None:
        return
    if record.version != version:
        detail = f"the record is of {record.version}"
        raise Refusal(refusals.RELEASE_DOCUMENT_MISMATCH, detail, place=RECORD_NAME)
    digests = {_sha256(data): name for name, data in files.items() if name != RECORD_NAME}
    if missing := set(record.documents) - set(digests):
        detail = f"{len(missing)} of the {len(record.documents)} documents that the record names are not there"
        raise Refusal(refusals.RELEASE_DOCUMENT_MISMATCH, detail, place=RECORD_NAME)


def check_kept(version: str, files: Mapping[str, bytes], published: Mapping[str, bytes]) -> None:
    """That no envelope takes the place of another: `published` are SHA-256 digests by target.

    Raises Refusal `release-envelope-replaced`.
    """
    for name, data in files.items():
        was = published.get(f"releases/{version}/{name}", _sha256(data))
        if was != _sha256(data) and _is_envelope(data):
            raise Refusal(refusals.RELEASE_REPLACED, f"{version} was published with {was.hex()[:16]}", place=name)


def _is_envelope(data: bytes) -> bool:
    """As a device would read it."""
    try:
        Envelope.parse(data)
    except InputError:
        return False
    return True


def _check_rise(draft: Draft, previous: ReleaseRecord | None) -> None:
    version = parse_version(draft.version)
    if previous is None:
        return
    if version <= parse_version(previous.version):
        raise Refusal(refusals.RELEASE_VERSION_BACK, f"{draft.version} after {previous.version}")
    if draft.security_epoch < previous.security_epoch:
        raise Refusal(refusals.RELEASE_EPOCH_BACK, f"epoch {draft.security_epoch} after {previous.security_epoch}")


def _check_contents(draft: Draft, envelope: Envelope, sbom: Sbom) -> None:
    found = Manifest.parse(envelope.manifest).version
    if found != parse_version(draft.version):
        raise Refusal(refusals.RELEASE_ENVELOPE_OTHER, f"the manifest is of {_dotted(found)}, not {draft.version}")
    if sbom.version != draft.version:
        raise Refusal(refusals.RELEASE_SBOM_OTHER, f"it is of {sbom.name} {sbom.version}, not {draft.version}")
    for claimed in (*draft.fixes, *draft.features):
        if unknown := claimed.components - sbom.components:
            raise Refusal(refusals.RELEASE_COMPONENT_UNKNOWN, f"no component {min(unknown)!r}", place=claimed.words)


def _dotted(version: tuple[int, ...] | None) -> str:
    return ".".join(map(str, version or ())) or "no version"


def _check_kind(draft: Draft) -> None:
    brings = (bool(draft.fixes), bool(draft.features))
    if brings != (draft.kind in (SECURITY, MIXED), draft.kind != SECURITY):
        detail = f"{draft.kind!r} with {len(draft.fixes)} fixes and {len(draft.features)} features"
        raise Refusal(refusals.RELEASE_KIND, detail)
    if draft.kind == MIXED and (why := _separable(draft.fixes, draft.features, draft.inseparable)):
        raise Refusal(refusals.RELEASE_SEPARABLE, why)


def _separable(fixes: Collection[Claimed], features: Collection[Claimed], reason: str) -> str:
    """Why the fixes could go out alone, or nothing: a feature that touches what no fix does can be left out."""
    fixed = frozenset().union(*(fix.components for fix in fixes))
    apart = next((feature.words for feature in features if not feature.components & fixed), "")
    if apart:
        return f"the feature {apart!r} changes no component that a fix changes"
    return "" if reason else "nothing says why they cannot"


def _check_vex(draft: Draft, vex: Csaf, known_exploited: Collection[str]) -> None:
    if draft.product_id not in vex.products:
        raise Refusal(refusals.RELEASE_VEX_OTHER, f"{vex.tracking_id} has no product {draft.product_id!r}")
    for vulnerability in vex.affecting(draft.product_id):
        if exploited := sorted({name.strip().upper() for name in vulnerability.names} & set(known_exploited)):
            raise Refusal(refusals.RELEASE_AFFECTED, f"{draft.version} is affected", place=exploited[0])
    for fix in _fixes(draft):
        if not vex.fixes(draft.product_id, fix.names):
            raise Refusal(refusals.RELEASE_FIX_UNCONFIRMED, f"not in {vex.tracking_id}", place=min(fix.names))


def _fixes(draft: Draft) -> Iterator[Fix]:
    return (claimed.fix for claimed in draft.fixes if claimed.fix)


def _check_advised(fixes: Collection[Fix], advisory: Csaf | None) -> None:
    for fix in fixes:
        if advisory is None or not advisory.names(fix.names):
            where = advisory.tracking_id if advisory else "there is no advisory"
            raise Refusal(refusals.RELEASE_FIX_NOT_ADVISED, where, place=min(fix.names))


def _check_aware(fixes: Collection[Fix], now: int) -> None:
    for fix in fixes:
        if fix.aware is not None and fix.aware > now:
            detail = f"{fix.aware - now} seconds from now"
            raise Refusal(refusals.RELEASE_AWARE_LATER, detail, place=min(fix.names))


def _support(statement: bytes | None, now: int) -> tuple[bytes, int]:
    """The statement, and the end of security support that it announces."""
    end = None if statement is None else SupportStatement.parse(statement).end_of_security_support
    if statement is None or end is None:
        detail = "there is no statement" if statement is None else "it is to be announced"
        raise Refusal(refusals.RELEASE_SUPPORT_UNKNOWN, detail)
    if end <= now:
        raise Refusal(refusals.RELEASE_SUPPORT_ENDED, f"{now - end} seconds ago")
    return statement, end


def _check_remediation(draft: Draft) -> None:
    if not draft.contact:
        raise Refusal(refusals.RELEASE_CONTACT_MISSING, "no contact")
    if not draft.cvd_policy:
        raise Refusal(refusals.RELEASE_CVD_MISSING, "no policy")


def _duties(draft: Draft, now: int) -> Iterator[tuple[str, Duty]]:
    for duty in DUTIES:
        person = draft.duties[duty]
        if not person.owner:
            raise Refusal(refusals.RELEASE_OWNER_MISSING, "no owner", place=duty)
        if person.deputy.casefold() in ("", person.owner.casefold()):
            raise Refusal(refusals.RELEASE_DEPUTY_MISSING, f"beside {person.owner}", place=duty)
        if person.review is None or person.review <= now:
            detail = "no date" if person.review is None else "the date is over"
            raise Refusal(refusals.RELEASE_REVIEW_MISSING, detail, place=duty)
        yield duty, Duty(person.owner, person.deputy, person.review)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
