"""`medvouch verify`: judge evidence or a whole ledger, or check a result, with nothing but a trust document."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from medvouch.assurance.bundle import BundleTrust, VerifiedLife, verify_bundle
from medvouch.assurance.refusals import BUNDLE_OTHER_DEVICE
from medvouch.assurance.release_references import release_references
from medvouch.attestation import refusals
from medvouch.attestation.appraisal import Anchors, Appraisal, Expectation, appraise
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.explanation import ASK_AGAIN, Explanation, explain
from medvouch.attestation.policy import RELEASE_POLICY, Policy
from medvouch.attestation.reference import verify_references
from medvouch.attestation.replay import ReplayRefusal, Status, Table
from medvouch.attestation.results import VerifiedEar, verify_signed, verify_signed_jwt
from medvouch.cli import ledgering
from medvouch.cli.output import aligned, moment
from medvouch.cli.trusting import keys_at, role_of
from medvouch.crypto.keys import PublicKey
from medvouch.errors import ConfigFault, InputError, MedvouchError, Refusal, UsageFault
from medvouch.formats.cose import TAG_SIGN1
from medvouch.formats.ledger import Bundle, is_bundle
from medvouch.formats.trust import TrustDocument
from medvouch.update.verification import RoleKeys

Verified = tuple[dict[str, Any], list[str]]
"""Document for --json with its `status`, and lines for people."""
_SIGN1_HEAD = bytes([0xC0 | TAG_SIGN1])
"""An attestation result begins with the tag of COSE_Sign1; evidence is an untagged map."""
_JWS_HEAD = b"eyJ"
"""Or it is a JWT: base64url of {\"."""


@dataclass(frozen=True)
class Basis:
    """What evidence is judged by besides the trust document: a policy, and envelopes of releases."""

    policy: Policy = RELEASE_POLICY
    releases: tuple[bytes, ...] = ()

    def anchors(self, trust: TrustDocument, at: int) -> Anchors:
        """Raises ConfigFault where the trust document cannot serve, else as the checks of references do."""
        release = role_of(trust, "release")
        keys = RoleKeys(keys_at(trust, "release", at), release.threshold)
        references = list(verify_references(trust.references, keys.keys, keys.threshold))
        if self.releases:
            quality = RoleKeys(keys_at(trust, "quality", at), role_of(trust, "quality").threshold)
            for envelope in self.releases:
                references += release_references(envelope, keys, quality)
        return Anchors(trust.certificates["enrolment-ca"], references)


def explain_evidence(
    data: bytes, trust: TrustDocument, *, nonce: bytes | None, device: str | None, at: int, basis: Basis
) -> Explanation:
    """Why evidence is judged as it is. Raises as `Basis.anchors`."""
    expected = Expectation(appraiser=trust.appraiser, device=device, nonce=nonce)
    return explain(data, expected, basis.anchors(trust, at), basis.policy, at)


def verify_file(
    data: bytes,
    trust: TrustDocument,
    *,
    nonce: bytes | None,
    device: str | None,
    at: int,
    basis: Basis = Basis(),
) -> Verified:
    """Judge what `data` holds at time `at` (s since 1970); ConfigFault where the trust document cannot serve."""
    if is_bundle(data):
        if nonce is not None:
            raise UsageFault("usage", "a ledger answers no challenge", remedy="leave out --nonce")
        return verify_ledger(data, trust, device=device, at=at)
    if data[:1] == _SIGN1_HEAD or data.startswith(_JWS_HEAD):
        return _result(data, keys_at(trust, "appraiser", at), nonce, device)
    expected = Expectation(appraiser=trust.appraiser, device=device, nonce=nonce)
    try:
        anchors = basis.anchors(trust, at)
        appraisal = appraise(UnverifiedEvidence.parse(data), expected, anchors, basis.policy, at)
    except ConfigFault:
        raise
    except MedvouchError as error:
        return _refused("evidence", error)
    return _affirmed(appraisal, fresh=nonce is not None)


def verified_life(data: bytes, trust: TrustDocument, *, device: str | None, at: int) -> VerifiedLife:
    """What a bundle proves at `at`. Raises as `verify_bundle`, ConfigFault, Refusal `bundle-other-device`."""
    believed = BundleTrust(
        enrolment=keys_at(trust, "enrolment", at),
        enrolment_roots=trust.certificates["enrolment-ca"],
        appraisers=keys_at(trust, "appraiser", at),
        commanders=keys_at(trust, "commander", at),
    )
    life = verify_bundle(data, believed, at)
    if device not in (None, life.device):
        raise Refusal(BUNDLE_OTHER_DEVICE, f"it is of {life.device}")
    return life


def verify_ledger(data: bytes, trust: TrustDocument, *, device: str | None, at: int) -> Verified:
    """Judge a bundle at `at`: its `status` is `holds` or `broken`. Raises as `verify_file`."""
    try:
        life = verified_life(data, trust, device=device, at=at)
    except ConfigFault:
        raise
    except MedvouchError as error:
        return _broken(data, error)
    shown, judged = ledgering.document(Bundle.parse(data)), _judged(life)
    return {**judged, **shown}, [*ledgering.lines(shown), "", *aligned(_summary(life, judged))]


def _judged(life: VerifiedLife) -> dict[str, Any]:
    return {
        "kind": "bundle",
        "status": "holds",
        "device": life.device,
        "serial": life.serial,
        "owner": life.owner,
        "states": life.states,
        "entries_confirmed_by_tpm": life.by_tpm,
        "entries_confirmed_by_appraiser": life.by_appraiser,
        "sanitised_at": life.sanitisation.certificate.time_ms // 1000 if life.sanitisation else None,
    }


def _summary(life: VerifiedLife, judged: dict[str, Any]) -> dict[str, object]:
    of = f"of {len(life.entries)} entries"
    return {
        **{name: judged[name] for name in ("status", "device", "serial", "owner")},
        "now": ", ".join(f"{machine} {state}" for machine, state in life.states.items()),
        "TPM": f"confirms {life.by_tpm} {of}",
        "appraiser": f"confirms {life.by_appraiser} {of}" + (", with a receipt on all of it" if life.receipt else ""),
        "sanitised": moment(judged["sanitised_at"]) if life.sanitisation else None,
    }


def _broken(data: bytes, error: MedvouchError) -> Verified:
    """With the ledger as it presents itself, where that can be read."""
    document, lines = _refused("bundle", error)
    document["status"] = "broken"
    lines[:] = aligned(document)
    with suppress(InputError):
        shown = ledgering.document(Bundle.parse(data))
        return {**document, **shown}, [*ledgering.lines(shown, error.place), "", *lines]
    return document, lines


def _result(data: bytes, appraisers: Sequence[PublicKey], nonce: bytes | None, device: str | None) -> Verified:
    try:
        ear = (_jwt if data.startswith(_JWS_HEAD) else verify_signed)(data, appraisers).ear
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
        "quirks": list(ear.quirks),
        "reasons": reasons,
    }
    shown = {"issued_at": moment(ear.issued_at), "quirks": ", ".join(ear.quirks) or None, "reasons": None}
    lines = aligned({**document, **shown})
    return document, lines + [f"  {reason['code']}: {reason['detail']} ({reason['place']})" for reason in reasons]


def _jwt(data: bytes, appraisers: Sequence[PublicKey]) -> VerifiedEar:
    return verify_signed_jwt(data.decode("ascii", "replace").strip(), appraisers)


def _affirmed(appraisal: Appraisal, *, fresh: bool) -> Verified:
    rows = pcr_rows(appraisal.replay.table)
    document: dict[str, Any] = {
        "kind": "evidence",
        "status": "affirming",
        "device": appraisal.device,
        "release": appraisal.release,
        "secure_boot": appraisal.boot.secure_boot.value,
        "boot_count": appraisal.boot_clock.reset_count,
        "freshness": "answers the nonce" if fresh else "not judged (no --nonce)",
        "clock_safe": appraisal.clock_safe,
        "quirks": ", ".join(appraisal.quirks) or None,
    }
    lines = [*aligned(document), "", *pcr_lines(rows)]
    return {**document, "quirks": list(appraisal.quirks), "pcrs": rows}, lines


def _refused(kind: str, error: MedvouchError) -> Verified:
    document: dict[str, Any] = {
        "kind": kind,
        "status": "contraindicated",
        "code": error.code,
        "detail": error.detail,
        "place": error.place,
        "remedy": error.remedy or (ASK_AGAIN if kind == "evidence" else "get the whole file again, unaltered"),
    }
    lines = aligned(document)
    if isinstance(error, ReplayRefusal):
        document["pcrs"] = pcr_rows(error.table)
        lines += ["", *pcr_lines(document["pcrs"])]
    return document, lines


def pcr_rows(table: Table) -> list[dict[str, Any]]:
    """Each quoted (bank, PCR), for --json."""
    return [
        {"bank": row.bank.label, "pcr": row.pcr, "status": row.status.value, "events": row.events}
        for row in table.rows
        if row.status is not Status.NOT_QUOTED
    ]


def pcr_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The same for people."""
    return [
        f"{row['bank']}:{row['pcr']:<3} {row['status']:<11} {row['events']:>4} event{'s' * (row['events'] != 1)}"
        for row in rows
    ]
