"""`medvouch verify`: judge evidence, or check a result, with nothing but a trust document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medvouch.attestation import refusals
from medvouch.attestation.appraisal import Anchors, Appraisal, Expectation, appraise
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.policy import RELEASE_POLICY
from medvouch.attestation.reference import verify_references
from medvouch.attestation.replay import ReplayRefusal, Status, Table
from medvouch.attestation.results import verify_signed
from medvouch.cli.output import aligned, moment
from medvouch.cli.trusting import keys_at, role_of
from medvouch.crypto.keys import PublicKey
from medvouch.errors import MedvouchError, Refusal
from medvouch.formats.cose import TAG_SIGN1
from medvouch.formats.trust import TrustDocument

Verified = tuple[dict[str, Any], list[str]]
"""Document for --json with its `status`, and lines for people."""
_SIGN1_HEAD = bytes([0xC0 | TAG_SIGN1])
"""An attestation result begins with the tag of COSE_Sign1; evidence is an untagged map."""


def verify_file(data: bytes, trust: TrustDocument, *, nonce: bytes | None, device: str | None, at: int) -> Verified:
    """Judge what `data` holds at time `at` (s since 1970); ConfigFault where the trust document cannot serve."""
    if data[:1] == _SIGN1_HEAD:
        return _result(data, keys_at(trust, "appraiser", at), nonce, device)
    expected = Expectation(appraiser=trust.appraiser, device=device, nonce=nonce)
    releases = keys_at(trust, "release", at)
    try:
        references = verify_references(trust.references, releases, role_of(trust, "release").threshold)
        anchors = Anchors(trust.certificates["enrolment-ca"], references)
        appraisal = appraise(UnverifiedEvidence.parse(data), expected, anchors, RELEASE_POLICY, at)
    except MedvouchError as error:
        return _refused("evidence", error)
    return _affirmed(appraisal, fresh=nonce is not None)


def _result(data: bytes, appraisers: Sequence[PublicKey], nonce: bytes | None, device: str | None) -> Verified:
    try:
        ear = verify_signed(data, appraisers).ear
        if nonce is not None and ear.nonce != nonce:
            raise Refusal(refusals.RESULT_NONCE_MISMATCH, f"it answers {ear.nonce.hex()}")
        if device is not None and ear.device != device:
            raise Refusal(refusals.RESULT_DEVICE_MISMATCH, f"it is about {ear.device}")
    except MedvouchError as error:
        return _refused("result", error)
    status = ear.status.name.lower()
    reasons = [{"code": reason.code, "place": reason.place, "detail": reason.detail} for reason in ear.reasons]
    document = {
        "kind": "result",
        "status": status,
        "device": ear.device,
        "nonce": ear.nonce.hex(),
        "policy": ear.policy_id,
        "issued_at": ear.issued_at,
        "reasons": reasons,
    }
    lines = aligned({**document, "issued_at": moment(ear.issued_at), "reasons": None})
    return document, lines + [f"  {reason['code']}: {reason['detail']} ({reason['place']})" for reason in reasons]


def _affirmed(appraisal: Appraisal, *, fresh: bool) -> Verified:
    rows = _rows(appraisal.replay.table)
    document: dict[str, Any] = {
        "kind": "evidence",
        "status": "affirming",
        "device": appraisal.device,
        "release": appraisal.release,
        "secure_boot": appraisal.boot.secure_boot.value,
        "boot_count": appraisal.boot_clock.reset_count,
        "freshness": "answers the nonce" if fresh else "not judged (no --nonce)",
        "clock_safe": appraisal.clock_safe,
    }
    return {**document, "pcrs": rows}, [*aligned(document), "", *_lines(rows)]


def _refused(kind: str, error: MedvouchError) -> Verified:
    document: dict[str, Any] = {
        "kind": kind,
        "status": "contraindicated",
        "code": error.code,
        "detail": error.detail,
        "place": error.place,
        "remedy": error.remedy,
    }
    lines = aligned(document)
    if isinstance(error, ReplayRefusal):
        document["pcrs"] = _rows(error.table)
        lines += ["", *_lines(document["pcrs"])]
    return document, lines


def _rows(table: Table) -> list[dict[str, Any]]:
    return [
        {"bank": row.bank.label, "pcr": row.pcr, "status": row.status.value, "events": row.events}
        for row in table.rows
        if row.status is not Status.NOT_QUOTED
    ]


def _lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{row['bank']}:{row['pcr']:<3} {row['status']:<11} {row['events']:>4} events" for row in rows]
