"""Appraisal of evidence (RFC 9334): step by step, each a typed refusal, signatures before logs are parsed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from medvouch.attestation import quote_refusals, refusals
from medvouch.attestation.evidence import EAT_CONTENT_TYPE, QuoteRecord, UnverifiedEvidence, qualifying_data
from medvouch.attestation.key_roles import check_device_key
from medvouch.attestation.ledger_heads import LedgerExpectation, consistent_head
from medvouch.attestation.log_rules import check_log
from medvouch.attestation.policy import Policy
from medvouch.attestation.policy_checks import Judged, check_policy
from medvouch.attestation.quotes import PcrValues, check_nonce, signed_quote, verified_values
from medvouch.attestation.reference import VerifiedReference, match
from medvouch.attestation.replay import Logs, Replay, replay
from medvouch.attestation.semantics import Boot, SecureBoot, understand
from medvouch.crypto import cose, tpm
from medvouch.crypto.keys import PublicKey
from medvouch.crypto.x509 import verify_lak_certificate
from medvouch.errors import Refusal
from medvouch.formats import eventlog, ima, systemd
from medvouch.formats.eat import Eat, LedgerHead
from medvouch.formats.enrolment import device_id
from medvouch.formats.reference import ReferenceValues
from medvouch.formats.suit_report import SuitReport
from medvouch.formats.tpm import Attest, CertifyInfo
from medvouch.formats.tpm_public import Public


@dataclass(frozen=True, order=True)
class BootClock:
    """How far a TPM has come (TPMS_CLOCK_INFO, Part 2, 10.11.1); compared in this order."""

    reset_count: int
    restart_count: int
    clock_ms: int


@dataclass(frozen=True)
class Expectation:
    """What the appraiser knows of the device before it looks at evidence.

    `nonce` None: an offline verifier that issued no challenge, so freshness is not judged. `attestation_key` and
    `client_key_thumbprint` None: no enrolment record at hand, the certificates alone say whose keys these are.
    `last_clock`: of the last evidence accepted from this device. `ledger` None: nothing is known of its ledger, and
    nothing is said of it. `floor` is the security epoch below which it may run no release. `qualified_name`: of the
    attestation key in its TPM, where it was noted.
    """

    appraiser: str
    device: str | None = None
    nonce: bytes | None = None
    attestation_key: PublicKey | None = None
    client_key_thumbprint: bytes | None = None
    last_clock: BootClock | None = None
    ledger: LedgerExpectation | None = None
    floor: int = 0
    qualified_name: bytes | None = None


@dataclass(frozen=True)
class Anchors:
    """What the appraiser trusts: enrolment authorities, what they revoked (both DER), and verified reference values."""

    enrolment_roots: Sequence[bytes]
    references: Sequence[VerifiedReference]
    revocations: Sequence[bytes] = ()


@dataclass(frozen=True)
class Appraisal:
    """Evidence that passed every step, and what it says; `ledger_head` is one that was found consistent, or None.

    `release` and `security_epoch` are None where the policy asks for no release, or for some PCRs of one only. `quirks`
    are those that the policy allows and the log needed, by name.
    """

    device: str
    claims: Eat
    boot_clock: BootClock
    clock_safe: bool
    replay: Replay
    boot: Boot
    release: str | None
    security_epoch: int | None
    ledger_head: LedgerHead | None = None
    suit_report: SuitReport | None = None
    quirks: tuple[str, ...] = ()


def appraise(
    evidence: UnverifiedEvidence, expected: Expectation, anchors: Anchors, policy: Policy, judged_at: int
) -> Appraisal:
    """Judge evidence at `judged_at` (seconds since 1970). Raises Refusal or InputError at the first step that fails.

    1.  The LAK certificate chains to the enrolment authority and holds at the judged time: `certificate-*`,
        `revocation-unknown`.
    2.  It names the device that was asked, and its key is the one enrolled: `identity-mismatch`, `signer-not-enrolled`.
    3.  That key signed the quote, a TPM generated it, and it is a quote; the key stands where it was enrolled:
        `quote-signature-invalid`, `quote-not-generated`, `quote-type-wrong`, `signer-elsewhere`.
    4.  That key, standing there too, certified (TPM2_Certify) exactly the key that signs the claims:
        `eat-key-not-certified`, `signer-elsewhere`, `key-attributes-wrong`, `key-not-tpm-bound`.
    5.  The claims' signature holds; only now are they parsed: `eat-signature-invalid`.
    6.  They answer this challenge, for this appraiser, from this connection key and this device: `nonce-*`,
        `audience-mismatch`, `client-key-mismatch`, `ueid-mismatch`.
    7.  The quote is bound to these claims: `binding-mismatch`.
    8.  The quote covers exactly the required PCRs, of banks that are believed; the values stand under their numbers:
        `pcr-selection-*`, `bank-untrusted`, `pcr-values-*`, `pcr-value-size`.
    9.  The values are the ones quoted: `pcr-digest-mismatch`.
    10. The TPM's clock rose since the last accepted evidence: `tpm-cleared`, `clock-went-back`.
    11. The claims are of this boot: `boot-count-mismatch`.
    12. The event log is the one the claims name, and so is the report of the last update, made for this challenge:
        `log-digest-mismatch`, `report-digest-mismatch`, `report-nonce-mismatch`.
    13. Every quoted PCR is explained by replaying the logs; boot_aggregate is recomputed; the firmware's log keeps
        the rules that replaying does not (`log_rules.check_log`), but for quirks that the policy allows:
        `bank-unsupported`, `pcr-mismatch`, `pcr-unexplained`, `ima-template-mismatch`, `boot-aggregate-*`.
    14. The ledger continues the one known, and the TPM confirms its last checkpoint: `ledger-*`, `checkpoint-*`.
    15. Only verified events are interpreted, and Secure Boot is as the policy demands: `secure-boot-off`.
    16. The boot chain is that of a reference, as far as the policy asks for one: `reference-missing`,
        `event-unexpected`, `event-missing`.
    17. That release's security epoch is not closed, for the device or by the policy: `release-below-floor`.
    18. All else that the policy demands (`policy_checks`).
    """
    return _judge(verify_evidence(evidence, expected, anchors, policy, judged_at), evidence, expected, anchors, policy)


@dataclass(frozen=True)
class VerifiedEvidence:
    """Evidence that passed steps 1 to 12: the PCR values are this TPM's, now; its logs were not looked into yet."""

    device: str
    attestation_key: PublicKey
    claims: Eat
    quote: Attest
    pcrs: PcrValues
    clock: BootClock
    suit_report: SuitReport | None = None


def verify_evidence(
    evidence: UnverifiedEvidence, expected: Expectation, anchors: Anchors, policy: Policy, judged_at: int
) -> VerifiedEvidence:
    """Steps 1 to 12 of `appraise`."""
    record = evidence.quote
    device, attestation_key = _attestation_key(record, expected, anchors, judged_at)  # 1, 2
    signed = signed_quote(record.quote, attestation_key, expected.qualified_name)  # 3
    quote = signed.attest
    eat_key = _certified_eat_key(record, attestation_key, quote.qualified_signer)  # 4
    payload = _verified_claims(evidence.eat, eat_key)  # 5
    claims = Eat.parse(payload)
    _check_addressing(claims, device, expected)  # 6
    if quote.extra_data != qualifying_data(claims.audience, claims.nonce, payload):  # 7
        raise Refusal(refusals.BINDING_MISMATCH, "the quote's qualifyingData is not made from these claims")
    pcrs = verified_values(signed, record.pcrs, policy.selection).pcrs  # 8, 9
    clock = _risen_clock(quote, expected.last_clock)  # 10
    if claims.boot_count != clock.reset_count:  # 11
        detail = f"claims say boot {claims.boot_count}, the quote {clock.reset_count}"
        raise Refusal(refusals.BOOT_COUNT_MISMATCH, detail)
    if hashlib.sha256(evidence.uefi).digest() != claims.uefi_log_digest:  # 12
        raise Refusal(refusals.LOG_DIGEST_MISMATCH, "the claims name another event log", place="uefi")
    report = _suit_report(evidence.suit_report, claims)
    return VerifiedEvidence(device, attestation_key, claims, quote, pcrs, clock, report)


def _judge(
    verified: VerifiedEvidence, evidence: UnverifiedEvidence, expected: Expectation, anchors: Anchors, policy: Policy
) -> Appraisal:
    """Steps 13 to 18 of `appraise`."""
    claims, quote = verified.claims, verified.quote
    logs, pcrs = parsed_logs(evidence), verified.pcrs
    replayed = replay(logs, pcrs)  # 13
    quirks = check_log(logs.uefi, replayed.events, quoted_pcrs(pcrs), policy.quirks or ())
    head = None
    if expected.ledger is not None:  # 14
        head = consistent_head(evidence.checkpoint, claims, quote, verified.attestation_key, expected.ledger)
    boot, reference = judge_boot(
        replayed,
        anchors.references,
        policy,
        floor=expected.floor,
        challenged=expected.nonce is not None,
        clock_safe=quote.clock_info.safe,
        ledger_held=head is not None,
    )  # 15 to 18
    whole = policy.reference_pcrs is None
    return Appraisal(
        device=verified.device,
        claims=claims,
        boot_clock=verified.clock,
        clock_safe=quote.clock_info.safe,
        replay=replayed,
        boot=boot,
        release=reference.release if reference and whole else None,
        security_epoch=reference.security_epoch if reference and whole else None,
        ledger_head=head,
        suit_report=verified.suit_report,
        quirks=tuple(quirk.name for quirk in quirks),
    )


def judge_boot(
    replayed: Replay,
    references: Sequence[VerifiedReference],
    policy: Policy,
    *,
    floor: int = 0,
    challenged: bool,
    clock_safe: bool,
    ledger_held: bool,
) -> tuple[Boot, ReferenceValues | None]:
    """Steps 15 to 18 of `appraise`: the boot that a replay explains, and the reference it matches, if one is wanted."""
    texts = [text for reference in references for text in reference.values.command_lines]
    boot = understand(replayed.events, command_lines=texts)  # 15
    if policy.require_secure_boot and boot.secure_boot is not SecureBoot.ON:
        raise Refusal(refusals.SECURE_BOOT_OFF, f"by verified events it is {boot.secure_boot.value}", place="PCR 7")
    reference = None
    if policy.match_reference:  # 16
        reference = match(replayed.events, references, policy.reference_pcrs)
        _check_floor(reference, max(floor, policy.floor))  # 17
    check_policy(policy, Judged(boot, replayed.events, challenged, clock_safe, ledger_held))  # 18
    return boot, reference


def _check_floor(reference: ReferenceValues, floor: int) -> None:
    if reference.security_epoch < floor:
        detail = f"release {reference.release} is of epoch {reference.security_epoch}, the floor is {floor}"
        raise Refusal(refusals.RELEASE_BELOW_FLOOR, detail)


def quoted_pcrs(pcrs: PcrValues) -> frozenset[int]:
    """Of any bank."""
    return frozenset(pcr for values in pcrs.values() for pcr in values)


def _suit_report(data: bytes | None, claims: Eat) -> SuitReport | None:
    digest = None if data is None else hashlib.sha256(data).digest()
    if digest != claims.suit_report_digest:
        raise Refusal(refusals.REPORT_DIGEST_MISMATCH, "the claims name another report, or none", place="suit-report")
    report = None if data is None else SuitReport.parse(data)
    if report is not None and report.nonce != claims.nonce:
        raise Refusal(refusals.REPORT_NONCE_MISMATCH, "it was made for another challenge", place="suit-report")
    return report


def parsed_logs(evidence: UnverifiedEvidence) -> Logs:
    """The logs as they came; what of them the quote confirms, a replay tells. Raises InputError."""
    return Logs(
        uefi=eventlog.parse(evidence.uefi),
        systemd=systemd.parse(evidence.systemd) if evidence.systemd is not None else (),
        ima=ima.parse_binary(evidence.ima) if evidence.ima is not None else (),
    )


def _attestation_key(
    record: QuoteRecord, expected: Expectation, anchors: Anchors, judged_at: int
) -> tuple[str, PublicKey]:
    certificate = verify_lak_certificate(
        record.lak_certificate, anchors.enrolment_roots, judged_at, revocations=anchors.revocations
    )
    device, key = certificate.device_id, certificate.public_key
    if expected.device is not None and device != expected.device:
        raise Refusal(refusals.IDENTITY_MISMATCH, f"{expected.device} was asked, {device} answered")
    if expected.attestation_key is not None and key != expected.attestation_key:
        raise Refusal(refusals.SIGNER_NOT_ENROLLED, "the LAK certificate is of a key that is not the enrolled one")
    return device, key


def _certified_eat_key(record: QuoteRecord, attestation_key: PublicKey, signer: bytes) -> PublicKey:
    try:
        attest = tpm.verify_attest(record.ldevid_certify, attestation_key).attest
    except Refusal as error:
        raise Refusal(refusals.EAT_KEY_NOT_CERTIFIED, error.detail) from error
    if attest.qualified_signer != signer:
        detail = f"the quote is by {signer.hex()}, TPM2_Certify by {attest.qualified_signer.hex()}"
        raise Refusal(quote_refusals.SIGNER_ELSEWHERE, detail, place="TPM2_Certify")
    public = Public.parse(record.ldevid_public)
    name = tpm.name_of(public, record.ldevid_public)
    if not isinstance(attest.attested, CertifyInfo) or attest.attested.name != name:
        raise Refusal(refusals.EAT_KEY_NOT_CERTIFIED, "TPM2_Certify is over another object")
    check_device_key(public, name="LDevID")
    return tpm.public_key(public)


def _verified_claims(eat: bytes, key: PublicKey) -> bytes:
    try:
        return cose.verify1(eat, key, content_type=EAT_CONTENT_TYPE).payload
    except Refusal as error:
        raise Refusal(refusals.EAT_SIGNATURE_INVALID, error.detail) from error


def _check_addressing(claims: Eat, device: str, expected: Expectation) -> None:
    if expected.nonce is not None and claims.nonce != check_nonce(expected.nonce):
        raise Refusal(refusals.NONCE_MISMATCH, f"{expected.nonce.hex()} was asked, {claims.nonce.hex()} answered")
    if claims.audience != expected.appraiser:
        raise Refusal(refusals.AUDIENCE_MISMATCH, f"it was made for {claims.audience!r}, we are {expected.appraiser!r}")
    thumbprint = expected.client_key_thumbprint
    if thumbprint is not None and claims.client_key_thumbprint != thumbprint:
        raise Refusal(refusals.CLIENT_KEY_MISMATCH, f"enrolled {thumbprint.hex()}")
    if device_id(claims.ueid) != device:
        raise Refusal(refusals.UEID_MISMATCH, f"the claims name {claims.ueid.hex()}")


def _risen_clock(quote: Attest, last: BootClock | None) -> BootClock:
    info = quote.clock_info
    clock = BootClock(info.reset_count, info.restart_count, info.clock)
    if last is not None and clock.reset_count < last.reset_count:
        detail = f"resetCount {clock.reset_count} follows {last.reset_count}"
        raise Refusal(refusals.TPM_CLEARED, detail)
    if last is not None and clock <= last:
        raise Refusal(refusals.CLOCK_WENT_BACK, f"{clock} does not follow {last}")
    return clock
