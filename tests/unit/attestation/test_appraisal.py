"""Appraisal: good evidence is affirmed, and each lie is refused at its own step, before any later one is looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from medvouch.attestation import policy as policies
from medvouch.attestation.appraisal import Appraisal, BootClock, appraise
from medvouch.attestation.evidence import EAT_CONTENT_TYPE, UnverifiedEvidence
from medvouch.attestation.policy import RELEASE_POLICY, Policy
from medvouch.attestation.semantics import SecureBoot
from medvouch.crypto import cose, tpm
from medvouch.crypto.certificates import DEVICE_ID
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import MedvouchError, Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import AttestType, PcrSelection
from medvouch.formats.tpm_public import ObjectAttribute
from support.attacks import A_QUOTE, OTHER, REPORT, STEPS, certifies, insecure, on_pcrs
from support.authorities import ALWAYS, NOW, issuing
from support.boots import SHA256, SHA384, BootBuilder, full_boot
from support.evidence import (
    CLOCK,
    DEVICE,
    LAK,
    LDEVID,
    NONCE,
    QUALIFIED_SIGNER,
    Change,
    anchors,
    certificate,
    evidence,
    expectation,
    fields,
    fix,
    public_of,
    reference,
)


def judged(*changes: Change, at: int = NOW, policy: Policy = RELEASE_POLICY, **known: Any) -> Appraisal:
    parsed = UnverifiedEvidence.parse(evidence(*changes))
    return appraise(parsed, expectation(**known), anchors(), policy, at)


def code(*changes: Change, **given: Any) -> str:
    with pytest.raises(MedvouchError) as caught:
        judged(*changes, **given)
    return caught.value.code


def test_the_report_of_an_update_is_bound_to_the_claims_and_the_challenge() -> None:
    assert judged().suit_report is None
    assert judged(fix("suit_report", REPORT.encode())).suit_report == REPORT
    for changes, expected in (
        ([fix("suit_report", REPORT.encode()), fields("claims", suit_report_digest=None)], "report-digest-mismatch"),
        ([fix("suit_report", replace(REPORT, nonce=None).encode())], "report-nonce-mismatch"),
        ([fix("suit_report", b"no report")], "cbor-truncated"),
    ):
        with pytest.raises(MedvouchError) as caught:
            judged(*changes)
        assert caught.value.code == expected


def test_good_evidence_is_affirmed() -> None:
    appraisal = judged()
    assert appraisal.device == DEVICE
    assert appraisal.claims.nonce == NONCE
    assert appraisal.boot_clock == BootClock(CLOCK.reset_count, CLOCK.restart_count, CLOCK.clock)
    assert appraisal.clock_safe
    assert appraisal.boot.secure_boot is SecureBoot.ON
    assert appraisal.boot.root_hash == b"\xab" * 32, "the reference gives the text of the command line"
    assert appraisal.release == "1.0.0"
    assert len(appraisal.replay.events) == len(full_boot().events) + 5


@pytest.mark.parametrize("step", STEPS)
def test_each_lie_alone_is_refused_at_its_step(step: str) -> None:
    assert code(STEPS[step]) == step


@pytest.mark.parametrize("step", STEPS)
def test_the_first_step_decides_whatever_comes_after_it(step: str) -> None:
    """Everything from this step on is wrong: a change that comes first is made last, over those of later steps."""
    names = list(STEPS)
    later = names[names.index(step) :]
    assert code(*(STEPS[name] for name in reversed(later))) == step


def test_a_certificate_holds_at_the_judged_time() -> None:
    assert code(at=ALWAYS.not_after + 1) == "certificate-expired"
    assert code(at=ALWAYS.not_before - 1) == "certificate-not-yet-valid"


@pytest.mark.parametrize(
    "lak_certificate",
    [certificate(LAK, profile=DEVICE_ID), certificate(LAK, device="no device's name")],
    ids=["of-a-device-key", "of-no-device"],
)
def test_what_is_not_an_attestation_keys_certificate(lak_certificate: bytes) -> None:
    """Also where nothing is known of the device: the LDevID signs anything, quotes among it."""
    assert code(fix("lak_certificate", lak_certificate), device=None) == "certificate-purpose"


@pytest.mark.parametrize(
    "change",
    [
        certifies(name=QUALIFIED_SIGNER),
        certifies(name=tpm.name(public_of(OTHER).encode())),
        fields("certify", type=AttestType.QUOTE, attested=A_QUOTE),
    ],
    ids=["of-nothing", "of-another-key", "not-a-certification"],
)
def test_the_certification_is_of_the_key_that_signs_the_claims(change: Change) -> None:
    assert code(change) == "eat-key-not-certified"


def test_an_attestation_key_signs_no_claims() -> None:
    restricted = replace(public_of(LAK), attributes=public_of(LAK).attributes | ObjectAttribute.RESTRICTED)
    assert code(fix("ldevid", LAK), fix("ldevid_public", restricted)) == "key-attributes-wrong"


def test_claims_are_signed_as_claims() -> None:
    assert code(fix("eat_type", "application/cbor")) == "eat-signature-invalid"


def test_quote_and_certification_are_by_the_key_in_one_place() -> None:
    """Also where it was not noted at enrolment where that is."""
    elsewhere = fields("certify", qualified_signer=b"\x00\x0b" + bytes(31) + b"\1")
    assert code(elsewhere) == code(elsewhere, qualified_name=None) == "signer-elsewhere"


def test_a_challenge_that_is_none() -> None:
    assert code(fields("claims", nonce=bytes(32)), nonce=bytes(32)) == "nonce-constant"


def test_evidence_without_the_growing_logs() -> None:
    boot = BootBuilder().firmware()
    bare = (fix("boot", boot), fix("systemd", None), fix("ima", None))
    parsed = UnverifiedEvidence.parse(evidence(*bare))
    assert parsed.systemd is parsed.ima is None
    appraisal = appraise(parsed, expectation(), anchors(reference(boot)), RELEASE_POLICY, NOW)
    assert len(appraisal.replay.events) == len(boot.events)
    assert code(fix("systemd", None)) == "pcr-mismatch", "an extended PCR needs its log"
    assert code(fix("ima", None)) == "pcr-unexplained"


def test_growing_logs_may_have_grown() -> None:
    pcrs = full_boot().pcrs
    grown = full_boot().record(11, "sysinit").entry("/late", b"\1" * 32)
    quoted = on_pcrs("pcrs", lambda _: {pcr: pcrs[SHA256][pcr] for pcr in range(16)})
    appraisal = judged(fix("boot", grown), quoted)
    assert appraisal.replay.table.dropped == {"systemd": 1, "ima": 1}


def test_an_ima_list_of_another_boot() -> None:
    boot = BootBuilder().firmware().entry("boot_aggregate", bytes(32))
    assert code(fix("boot", boot)) == "boot-aggregate-mismatch"


def test_offline_nothing_is_known_of_the_device() -> None:
    """The certificates alone say whose keys these are; what was asked, nobody can tell."""
    offline = {
        "nonce": None,
        "device": None,
        "attestation_key": None,
        "client_key_thumbprint": None,
        "last_clock": None,
    }
    other = "ab" * 16
    ueid = bytes.fromhex(other) + bytes(17)
    changes = (
        fix("lak", OTHER),
        fix("lak_certificate", certificate(OTHER, device=other)),
        fields("claims", nonce=b"any nonce", ueid=ueid, client_key_thumbprint=bytes(32)),
    )
    assert judged(*changes, **offline).device == other
    for step in ("certificate-untrusted", "quote-signature-invalid", "eat-signature-invalid", "audience-mismatch"):
        assert code(STEPS[step], **offline) == step
    assert code(STEPS["ueid-mismatch"], **offline) == "ueid-mismatch"
    assert code(STEPS["binding-mismatch"], **offline) == "binding-mismatch"


@pytest.mark.parametrize(
    "last", [BootClock(7, 2, 59_999), BootClock(7, 1, 2**63), BootClock(6, 2**31, 2**63), None], ids=str
)
def test_clocks_that_the_evidence_follows(last: BootClock | None) -> None:
    assert judged(last_clock=last).boot_clock == BootClock(7, 2, 60_000)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (BootClock(7, 2, 60_000), "clock-went-back"),
        (BootClock(7, 3, 0), "clock-went-back"),
        (BootClock(8, 0, 0), "tpm-cleared"),
    ],
    ids=str,
)
def test_clocks_that_it_does_not_follow(last: BootClock, expected: str) -> None:
    assert code(last_clock=last) == expected


def test_a_clock_after_a_power_cut_is_accepted_and_said() -> None:
    assert not judged(fields("quote", clock_info=replace(CLOCK, safe=False))).clock_safe


@pytest.mark.parametrize(
    ("pcrs", "expected"),
    [
        ({}, "pcr-selection-empty"),
        ({SHA256: {pcr: bytes(32) for pcr in range(17)}}, "pcr-selection-mismatch"),
        ({SHA384: {pcr: bytes(48) for pcr in range(16)}}, "pcr-selection-partial"),
        ({bank: {pcr: bytes(bank.size) for pcr in range(16)} for bank in (SHA256, SHA384)}, "pcr-selection-mismatch"),
    ],
    ids=["no-bank", "one-more", "another-bank", "a-bank-more"],
)
def test_the_quote_covers_what_is_required(pcrs: dict[HashAlg, dict[int, bytes]], expected: str) -> None:
    assert code(fix("pcrs", pcrs)) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (on_pcrs("shown", lambda pcrs: {pcr: pcrs[pcr] for pcr in pcrs if pcr}), "pcr-values-incomplete"),
        (on_pcrs("shown", lambda pcrs: pcrs | {16: bytes(32)}), "pcr-values-unquoted"),
        (("shown", lambda pcrs: pcrs | {SHA384: {}}), "pcr-values-unquoted"),
    ],
    ids=["one-less", "one-more", "an-empty-bank-more"],
)
def test_the_values_stand_under_what_was_quoted(shown: Change, expected: str) -> None:
    assert code(shown) == expected


def test_two_banks_in_any_order() -> None:
    boot = full_boot(SHA256, SHA384)
    changes = (fix("boot", boot), ("pcrs", lambda pcrs: {bank: pcrs[bank] for bank in (SHA384, SHA256)}))
    both = Policy("both", PcrSelection.of({SHA384: range(16), SHA256: range(16)}), require_secure_boot=True)
    parsed = UnverifiedEvidence.parse(evidence(*changes))
    appraisal = appraise(parsed, expectation(), anchors(reference(boot)), both, NOW)
    assert appraisal.release == "1.0.0"


def test_secure_boot_is_the_policys_demand() -> None:
    lenient = Policy("lenient", policies.STATIC_PCRS, require_secure_boot=False)
    parsed = UnverifiedEvidence.parse(evidence(fix("boot", insecure())))
    appraisal = appraise(parsed, expectation(), anchors(reference(insecure())), lenient, NOW)
    assert appraisal.boot.secure_boot is SecureBoot.OFF


def test_secure_boot_that_nothing_shows_is_off() -> None:
    parsed = UnverifiedEvidence.parse(evidence(fix("boot", BootBuilder().separators())))
    with pytest.raises(MedvouchError, match="secure-boot-off: by verified events it is unknown"):
        appraise(parsed, expectation(), anchors(), RELEASE_POLICY, NOW)


def test_a_log_that_replays_and_breaks_the_rules_is_refused() -> None:
    twice = BootBuilder().firmware().separators()
    assert code(fix("boot", twice)) == "separator-doubled"


def test_claims_that_are_no_claims() -> None:
    """Well signed and bound, but not of the profile: malformed, not refused."""

    signer = SoftwareSigner(LDEVID)
    assert code(fix("eat", cose.sign1(b"\xa0", signer, content_type=EAT_CONTENT_TYPE))) == "eat-malformed"


def test_a_release_of_a_closed_epoch_is_refused_last() -> None:
    assert judged(floor=1).security_epoch == 1
    assert code(floor=2) == "release-below-floor"
    assert code(STEPS["event-unexpected"], floor=2) == "event-unexpected"


def test_a_revoked_attestation_key_vouches_for_nothing() -> None:
    authority = issuing("enrolment")
    issuer, lak = (x509.load_der_x509_certificate(der) for der in (authority.certificate, certificate(LAK)))
    moment = datetime.fromtimestamp(NOW - 1, UTC)
    entry = x509.RevokedCertificateBuilder().serial_number(lak.serial_number).revocation_date(moment).build()
    builder = x509.CertificateRevocationListBuilder().add_revoked_certificate(entry)
    builder = builder.issuer_name(issuer.subject).last_update(moment).next_update(moment + timedelta(days=1))
    revoked = builder.sign(authority.private_key, hashes.SHA256()).public_bytes(Encoding.DER)
    parsed = UnverifiedEvidence.parse(evidence(fields("record", lak_certificate=lak.public_bytes(Encoding.DER))))
    with pytest.raises(Refusal) as refused:
        appraise(parsed, expectation(), replace(anchors(), revocations=[revoked]), RELEASE_POLICY, NOW)
    assert refused.value.code == "certificate-revoked"
