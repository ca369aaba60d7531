"""Explanations: the verdict is the appraisal's, each PCR and event stands as the quote and the release have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from medvouch.attestation import refusals
from medvouch.attestation.appraisal import appraise
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.explanation import Explanation, Moment, PcrExplanation, State, explain
from medvouch.attestation.policy import RELEASE_POLICY, STATIC_PCRS, Policy, shipped
from medvouch.attestation.semantics import SecureBoot
from medvouch.errors import MedvouchError
from medvouch.formats.eventlog import EventType
from medvouch.formats.uefi import GLOBAL_VARIABLE, Variable
from support.authorities import NOW, key
from support.boots import SHA256, SHA384, BootBuilder, full_boot
from support.evidence import DEVICE, anchors, evidence, expectation, fields, fix

GOOD = evidence()


def explained(data: bytes, policy: Policy = RELEASE_POLICY, **known: Any) -> Explanation:
    return explain(data, expectation(**known), anchors(), policy, NOW)


def pcr(explanation: Explanation, number: int) -> PcrExplanation:
    (found,) = (each for each in explanation.pcrs if each.pcr == number)
    return found


def states(explanation: Explanation, number: int) -> list[State]:
    return [each.state for each in explanation.moments if each.pcr == number]


def test_good_evidence() -> None:
    made = explained(GOOD)
    assert made.affirming
    assert made.quoted
    assert (made.device, made.release, made.policy) == (DEVICE, "1.0.0", RELEASE_POLICY.id)
    assert (made.code, made.detail, made.place, made.action) == (None, None, None, "nothing")
    assert made.boot is not None
    assert made.boot.secure_boot is SecureBoot.ON
    assert {each.status for each in made.pcrs} == {"match", "unextended"}
    assert [each.pcr for each in made.pcrs] == list(range(16))
    assert {each.state for each in made.moments} == {State.CONFIRMED}
    assert pcr(made, 7).meaning == "Secure Boot policy"


def test_events_stand_in_the_order_of_their_logs() -> None:
    moments = explained(GOOD).moments
    assert [each.log for each in moments] == ["uefi"] * 19 + ["ima"] * 2 + ["systemd"] * 3
    assert moments[0] == Moment(
        "uefi",
        1,
        0,
        "event 1 EV_S_CRTM_VERSION: 1.2.3",
        f"sha256:{full_boot().events[0].digests[SHA256].hex()}",
        State.CONFIRMED,
    )


def with_kernel(data: bytes) -> BootBuilder:
    """A full boot with another image in PCR 4."""
    boot = BootBuilder()
    for event in full_boot().events:
        changed = event.type == EventType.EV_EFI_BOOT_SERVICES_APPLICATION
        digests = boot.digests(data) if changed else dict(event.digests)
        boot.events.append(event._replace(digests=digests))
        boot.extend(event.pcr, digests)
    return boot.system()


def test_another_kernel() -> None:
    data = evidence(fix("boot", with_kernel(b"evil")))
    made = explained(data)
    assert not made.affirming
    assert made.quoted
    assert (made.code, made.place, made.release) == ("event-unexpected", "PCR 4, uefi event 14", "1.0.0")
    assert made.action == refusals.EVENT_UNEXPECTED.remedy
    differing = pcr(made, 4)
    assert differing.status == "differs"
    assert differing.code == "event-unexpected"
    assert (differing.event or "").startswith("event 14 EV_EFI_BOOT_SERVICES_APPLICATION: ")
    assert differing.expected == BootBuilder().digests(b"the image")[SHA256].hex()
    assert differing.found == BootBuilder().digests(b"evil")[SHA256].hex()
    assert differing.action == refusals.EVENT_UNEXPECTED.remedy
    assert states(made, 4) == [State.CONFIRMED, State.CONFIRMED, State.DIFFERS]
    assert pcr(made, 7).status == "match"


def test_what_follows_from_another_pcr_says_so() -> None:
    aggregate = pcr(explained(evidence(fix("boot", with_kernel(b"evil")))), 10)
    assert (aggregate.event, aggregate.code) == ("ima entry 0 ima-ng boot_aggregate", "event-unexpected")
    assert aggregate.action == "nothing by itself: it is a hash over PCRs 0 to 9, and PCR 4 differs"


def test_an_event_that_is_missing() -> None:
    boot = BootBuilder()
    for event in full_boot().events[:-1]:  # the last one is PCR 9's only one
        boot.events.append(event)
        boot.extend(event.pcr, dict(event.digests))
    missing = pcr(explained(evidence(fix("boot", boot.system()))), 9)
    assert (missing.code, missing.found, missing.status) == ("event-missing", None, "differs")
    assert missing.expected == full_boot().events[-1].digests[SHA256].hex()
    assert (missing.event or "").startswith("event 19 EV_EVENT_TAG")


def test_a_log_that_leads_elsewhere() -> None:
    wrong = ("pcrs", lambda banks: {bank: {**values, 4: bytes(32)} for bank, values in banks.items()})
    made = explained(evidence(wrong))
    assert (made.code, made.place) == ("pcr-mismatch", "sha256 PCR 4")
    assert made.quoted
    row = pcr(made, 4)
    assert (row.status, row.code, row.action) == ("mismatch", "pcr-mismatch", refusals.PCR_MISMATCH.remedy)
    assert row.expected == bytes(32).hex()
    assert row.found == full_boot().pcrs[SHA256][4].hex()
    assert (row.event or "").startswith("event 14 ")
    assert set(states(made, 4)) == {State.UNCONFIRMED}
    assert set(states(made, 7)) == {State.CONFIRMED}
    assert made.release == "1.0.0"


def test_a_pcr_without_events() -> None:
    extended = ("pcrs", lambda banks: {bank: {**values, 13: b"\1" * 32} for bank, values in banks.items()})
    row = pcr(explained(evidence(extended)), 13)
    assert (row.status, row.code, row.found) == ("no-events", "pcr-unexplained", bytes(32).hex())
    assert (row.expected, row.event) == ((b"\1" * 32).hex(), None)


def test_events_after_the_quote() -> None:
    later = full_boot()
    pcrs = later.pcrs[SHA256].copy()
    later.record(11, "sysinit")
    quoted = ("pcrs", lambda _: {SHA256: {number: pcrs[number] for number in range(16)}})
    made = explained(evidence(fix("boot", later), quoted))
    assert made.affirming
    assert states(made, 11)[-2:] == [State.CONFIRMED, State.AFTER]


def test_nothing_is_believed_where_the_quote_does_not_hold() -> None:
    made = explained(evidence(fix("quote_key", key("other"))))
    assert not made.quoted
    assert (made.code, made.boot, made.release, made.device) == ("quote-signature-invalid", None, None, None)
    assert {each.state for each in made.moments} == {State.UNCONFIRMED}
    assert made.moments
    assert made.action == refusals.QUOTE_SIGNATURE_INVALID.remedy


def test_banks_that_nobody_quoted_are_left_out_where_another_is() -> None:
    boot = full_boot(SHA256, SHA384)
    only = ("pcrs", lambda banks: {SHA256: banks[SHA256]})
    made = explained(evidence(fix("boot", boot), only))
    assert made.affirming
    assert {each.bank for each in made.pcrs} == {"sha256"}
    assert all(each.digest.startswith("sha256:") for each in made.moments)
    debug = explained(evidence(fix("boot", full_boot().event(16, EventType.EV_EFI_ACTION, b"debug"))))
    assert (pcr(debug, 16).status, states(debug, 16)) == ("not-quoted", [State.UNCONFIRMED])


@pytest.mark.parametrize("data", [b"", b"\xa0", GOOD[:-1], GOOD[:1000]])
def test_what_cannot_be_read_is_explained_too(data: bytes) -> None:
    made = explained(data)
    assert not made.affirming
    assert (made.quoted, made.pcrs, made.moments) == (False, (), ())
    assert made.action


def test_logs_that_cannot_be_read() -> None:
    made = explained(evidence(("systemd", lambda log: b"no log")))
    assert made.quoted
    assert (made.pcrs, made.moments, made.code) == ((), (), "systemd-malformed")


def test_a_policy_that_asks_for_no_release() -> None:
    made = explained(evidence(fix("boot", with_kernel(b"evil"))), shipped("secure-boot"))
    assert made.affirming
    assert made.release is None
    off = BootBuilder().firmware(secure_boot=b"\0").system()
    made = explained(evidence(fix("boot", off)), shipped("secure-boot"))
    assert (made.code, made.release) == ("secure-boot-off", None)
    assert {each.status for each in made.pcrs} == {"match", "unextended"}


def test_only_the_pcrs_of_the_policy_differ() -> None:
    policy = Policy("files", STATIC_PCRS, reference_pcrs=frozenset({10}))
    made = explained(evidence(fix("boot", with_kernel(b"evil"))), policy)
    assert [each.pcr for each in made.pcrs if each.status == "differs"] == [10]


def test_without_references() -> None:
    bare = replace(anchors(), references=())
    made = explain(GOOD, expectation(), bare, RELEASE_POLICY, NOW)
    assert (made.code, made.release) == ("reference-missing", None)
    assert {each.status for each in made.pcrs} == {"match", "unextended"}


@pytest.mark.parametrize(
    "change",
    [
        fields("claims", nonce=bytes(32)),
        fix("boot", with_kernel(b"evil")),
        ("uefi", lambda log: log[:-1]),
        fix("boot", full_boot().event(7, EventType.EV_EFI_VARIABLE_BOOT, Variable(GLOBAL_VARIABLE, "x", b"").encode())),
    ],
)
def test_the_verdict_is_that_of_the_appraisal(change: Any) -> None:
    data = evidence(change)
    with pytest.raises(MedvouchError) as caught:
        appraise(UnverifiedEvidence.parse(data), expectation(), anchors(), RELEASE_POLICY, NOW)
    made = explained(data)
    assert (made.code, made.detail) == (caught.value.code, caught.value.detail)
    assert not made.affirming
