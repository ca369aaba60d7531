"""Boots held against reference values: what is the same, and which difference is named."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from medvouch.attestation import refusals
from medvouch.attestation.reference import match, sign_corim, verify_references
from medvouch.attestation.replay import VerifiedEvent, VerifiedEvents, replay
from medvouch.crypto import cose
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import InputError, Refusal
from medvouch.formats import ima
from medvouch.formats.corim_reference import to_corim
from medvouch.formats.cose import Sign1
from medvouch.formats.eventlog import EventType
from medvouch.formats.reference import CONTENT_TYPE, MAX_EVENTS, Mode, PcrReference, ReferenceEvent, ReferenceValues
from support.authorities import key
from support.boots import SHA1, SHA256, SHA384, BootBuilder, full_boot
from support.evidence import RELEASE, reference, verified
from support.refusing import assert_refused

ACTION = EventType.EV_EFI_ACTION


def events(boot: BootBuilder) -> VerifiedEvents:
    return replay(boot.logs, boot.pcrs).events


def booted(*texts: str, pcr: int = 5) -> BootBuilder:
    boot = BootBuilder()
    for text in texts:
        boot.event(pcr, ACTION, text.encode())
    return boot


def mode(boot: BootBuilder, mode: Mode, pcr: int = 5) -> ReferenceValues:
    return reference(boot, modes={pcr: mode})


def refused(boot: BootBuilder, *references: ReferenceValues) -> Refusal:
    with pytest.raises(Refusal) as caught:
        match(events(boot), verified(*references))
    return caught.value


@pytest.mark.parametrize("kind", Mode)
def test_the_same_boot(kind: Mode) -> None:
    values = mode(booted("a", "b"), kind)
    assert match(events(booted("a", "b")), verified(values)) == values


def test_the_first_that_agrees() -> None:
    one, two, three = (replace(mode(booted(text), Mode.EXACT), release=text) for text in ("1.0", "1.1", "1.1"))
    assert match(events(booted("1.1")), verified(one, two, replace(three, release="other"))).release == "1.1"


def test_exact_is_all_of_them() -> None:
    values = mode(booted("a", "b"), Mode.EXACT)
    missing = refused(booted("a"), values)
    assert (missing.kind, missing.place) == (refusals.EVENT_MISSING, "PCR 5")
    assert missing.detail == "release 1.0.0 also measures event 2 EV_EFI_ACTION: b"
    assert refused(booted(), values).kind == refusals.EVENT_MISSING


def test_exact_is_in_order_and_no_more() -> None:
    values = mode(booted("a", "b"), Mode.EXACT)
    assert refused(booted("b", "a"), values).kind == refusals.EVENT_UNEXPECTED
    more = refused(booted("a", "b", "c"), values)
    assert (more.kind, more.place) == (refusals.EVENT_UNEXPECTED, "PCR 5, uefi event 3")
    assert more.detail.endswith("expects no such event")


def test_prefix_may_go_on_later_and_nowhere_else() -> None:
    values = mode(booted("a", "b"), Mode.PREFIX)
    for so_far in (["a", "b"], ["a"], []):
        assert match(events(booted(*so_far)), verified(values)) == values
    for other in (["b"], ["a", "c"], ["a", "b", "c"], ["a", "b", "a"]):
        assert refused(booted(*other), values).kind == refusals.EVENT_UNEXPECTED


def test_allowed_in_any_order_and_number() -> None:
    values = mode(booted("a", "b"), Mode.ALLOWED)
    for some in (["b", "a"], ["b", "b", "b"], []):
        assert match(events(booted(*some)), verified(values)) == values
    error = refused(booted("b", "c", "a", "d"), values)
    assert (error.kind, error.place) == (refusals.EVENT_UNEXPECTED, "PCR 5, uefi event 2")
    assert error.detail.endswith("expects no such event")


def test_a_pcr_that_is_not_named_stays_unextended() -> None:
    error = refused(booted("a").event(3, ACTION, b"x"), mode(booted("a"), Mode.EXACT))
    assert (error.kind, error.place) == (refusals.EVENT_UNEXPECTED, "PCR 3, uefi event 2")


def test_the_difference_is_named() -> None:
    boot = booted("a", "evil")
    found, expected = boot.events[1].digests[SHA256].hex(), booted("b").events[0].digests[SHA256].hex()
    error = refused(boot, mode(booted("a", "b"), Mode.EXACT))
    assert error.place == "PCR 5, uefi event 2"
    assert error.detail == (
        f"event 2 EV_EFI_ACTION: evil has sha256 {found}, release 1.0.0 expects event 2 EV_EFI_ACTION: b ({expected})"
    )


def test_the_nearest_reference_is_named() -> None:
    """That of the fewest PCRs, wherever it stands; of its differences, the one in the lowest PCR."""
    boot = booted("a").event(6, ACTION, b"b").event(7, ACTION, b"c")
    far = replace(reference(booted("x").event(6, ACTION, b"x").event(7, ACTION, b"x")), release="far")
    near = replace(reference(booted("a").event(6, ACTION, b"x").event(7, ACTION, b"x")), release="near")
    also = replace(reference(booted("x").event(6, ACTION, b"b").event(7, ACTION, b"x")), release="also near")
    for references in ([far, near, also], [near, also, far], [near, far]):
        error = refused(boot, *references)
        assert "release near expects" in error.detail
        assert error.place == "PCR 6, uefi event 2"


def test_nothing_to_hold_it_against() -> None:
    assert_refused(refusals.REFERENCE_MISSING, match, events(booted("a")), ())
    assert_refused(refusals.REFERENCE_MISSING, match, events(booted()), ())


def in_banks(values: ReferenceValues, **digests: bytes) -> ReferenceValues:
    (row,) = values.pcrs
    (event,) = row.events
    return replace(values, pcrs=(replace(row, events=(replace(event, digests=digests),)),))


@pytest.mark.parametrize("kind", Mode)
def test_all_shared_banks_agree_and_one_is_shared(kind: Mode) -> None:
    boot = BootBuilder((SHA1, SHA256)).event(5, ACTION, b"a")
    values, measured = mode(boot, kind), boot.events[0].digests
    one, two = measured[SHA1], measured[SHA256]
    for digests in ({"sha256": two}, {"sha1": one, "sha256": two}, {"sha256": two, "sha384": bytes(48)}):
        match(events(boot), verified(in_banks(values, **digests)))
    for digests in ({}, {"sha384": bytes(48)}, {"sha1": one, "sha256": bytes(32)}, {"sha1": bytes(20), "sha256": two}):
        error = refused(boot, in_banks(values, **digests))
        assert error.kind == refusals.EVENT_UNEXPECTED


def test_the_bank_that_differs_is_named() -> None:
    boot = BootBuilder((SHA1, SHA256)).event(5, ACTION, b"a")
    one, two = boot.events[0].digests[SHA1], boot.events[0].digests[SHA256]
    values = mode(boot, Mode.EXACT)
    error = refused(boot, in_banks(values, sha1=one, sha256=bytes(32)))
    assert f"has sha256 {two.hex()}" in error.detail
    assert error.detail.endswith(f"({bytes(32).hex()})")
    error = refused(boot, in_banks(values, sha384=bytes(48)))
    assert f"has sha1 {one.hex()}" in error.detail
    assert error.detail.endswith("(in other banks)")


def test_banks_of_two_allowed_events_are_not_mixed() -> None:
    """SHA-256 of one and SHA-384 of another: somebody extends the banks by hand."""
    one, two = (BootBuilder((SHA256, SHA384)).event(5, ACTION, text).events[0] for text in (b"a", b"b"))
    mixed = {SHA256: one.digests[SHA256], SHA384: two.digests[SHA384]}
    found = VerifiedEvents((VerifiedEvent("uefi", 5, mixed, one),))
    values = mode(BootBuilder((SHA256, SHA384)).event(5, ACTION, b"a").event(5, ACTION, b"b"), Mode.ALLOWED)
    assert_refused(refusals.EVENT_UNEXPECTED, match, found, verified(values))


def test_long_lists_are_held_against_long_lists() -> None:
    """A list of IMA may have tens of thousands of entries; every pair of them is too many to compare."""
    wanted = tuple(ReferenceEvent("file", {"sha256": number.to_bytes(32, "big")}) for number in range(MAX_EVENTS))
    entry = ima.make(0, 10, "ima-ng", (b"sha256:\0" + bytes(32), b"/file\0"))
    last = wanted[-1].digests["sha256"]
    found = VerifiedEvents(tuple(VerifiedEvent("ima", 10, {SHA256: last}, entry) for _ in range(30_000)))
    values = ReferenceValues("gateway-1", "1.0.0", 1, (), (PcrReference(10, Mode.ALLOWED, wanted),))
    references = verified(values)
    start = time.process_time()
    assert match(found, references) == values
    assert time.process_time() - start < 10


def test_references_are_signed_by_a_release_key() -> None:
    values = reference(full_boot())
    keys = [RELEASE.public_key()]
    good = cose.sign(values.encode(), [SoftwareSigner(RELEASE)], content_type=CONTENT_TYPE)
    forged = cose.sign(values.encode(), [SoftwareSigner(key("stranger"))], content_type=CONTENT_TYPE)
    other = cose.sign(values.encode(), [SoftwareSigner(RELEASE)], content_type="application/cbor")
    assert [each.values for each in verify_references([good, good], keys)] == [values, values]
    assert verify_references([], keys) == ()
    for messages in ([forged], [good, forged], [other]):
        assert_refused(refusals.REFERENCE_UNTRUSTED, verify_references, messages, keys)
    assert_refused(refusals.REFERENCE_UNTRUSTED, verify_references, [good], [])
    with pytest.raises(InputError):
        verify_references([b"no message"], keys)


def test_as_many_release_keys_as_the_role_asks_for() -> None:
    values = reference(full_boot())
    signers = [SoftwareSigner(key(f"release {number}")) for number in range(3)]
    keys = [signer.public_key for signer in signers]

    def signed(*by: SoftwareSigner) -> bytes:
        return cose.sign(values.encode(), by, content_type=CONTENT_TYPE)

    assert [each.values for each in verify_references([signed(*signers[1:])], keys, 2)] == [values]
    one = signers[0]
    for message in (signed(one), signed(one, one), signed(one, SoftwareSigner(key("stranger")))):
        assert_refused(refusals.REFERENCE_UNTRUSTED, verify_references, [message], keys, 2)


def corim_by(values: ReferenceValues, *signers: SoftwareSigner) -> list[bytes]:
    return [sign_corim(values, signer, "Maker") for signer in signers]


def test_a_corim_is_signed_by_a_release_key() -> None:
    values, signer = reference(full_boot()), SoftwareSigner(RELEASE)
    keys = [key("stranger").public_key(), RELEASE.public_key()]
    native = cose.sign(values.encode(), [signer], content_type=CONTENT_TYPE)
    good, forged = corim_by(values, signer, SoftwareSigner(key("forger")))
    assert [each.values for each in verify_references([good, native], keys)] == [values, values]
    assert match(events(full_boot()), verify_references([good], keys)) == values
    other = cose.sign1(to_corim(values).encode(), signer, content_type="application/cbor")
    for messages in ([forged], [good, forged], [other]):
        assert_refused(refusals.REFERENCE_UNTRUSTED, verify_references, messages, keys)
    assert_refused(refusals.REFERENCE_UNTRUSTED, verify_references, [good], [])


def test_a_corim_that_several_must_sign_comes_several_times() -> None:
    values = reference(full_boot())
    signers = [SoftwareSigner(key(f"release {number}")) for number in range(3)]
    keys = [signer.public_key for signer in signers]
    assert [each.values for each in verify_references(corim_by(values, *signers[:2]), keys, 2)] == [values]
    other = replace(values, release="1.1.0")
    for messages in (
        corim_by(values, signers[0]),
        corim_by(values, signers[0], signers[0]),
        corim_by(values, signers[0]) + corim_by(other, signers[1]),
        corim_by(values, *signers[:2]) + corim_by(other, signers[1]),
    ):
        assert_refused(refusals.REFERENCE_UNTRUSTED, verify_references, messages, keys, 2)


def test_a_corim_names_its_signer_and_its_type() -> None:
    """draft-ietf-rats-corim: protected headers of a signed CoRIM; iss in CWT claims (RFC 9597)."""
    (message,) = corim_by(reference(full_boot()), SoftwareSigner(RELEASE))
    assert Sign1.parse(message).protected == {1: -7, 3: "application/rim+cbor", 15: {1: "Maker"}}
