"""A life that holds, and everything that does not, each refused for what it is and where it stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medvouch.assurance import refusals
from medvouch.assurance.bundle import BundleTrust, VerifiedLife, assemble, verify_bundle
from medvouch.crypto import cose, merkle
from medvouch.crypto import refusals as crypto_refusals
from medvouch.crypto.ca import Validity, subject
from medvouch.crypto.certificates import DEVICE_ID, load
from medvouch.crypto.keys import SoftwareSigner
from medvouch.daemon.standing import Change
from medvouch.errors import InputError, Refusal, RefusalKind
from medvouch.formats.claims import LedgerHead
from medvouch.formats.cose import Sign1
from medvouch.formats.ear import Tier
from medvouch.formats.enrolment import CONTENT_TYPE, Answer, device_id, ueid
from medvouch.formats.ledger import MAX_BUNDLE_BYTES, Bundle, Entry, Transition
from medvouch.ledger import refusals as ledger_refusals
from support.authorities import NOW, key, root
from support.enrolling import AUTHORITY, World, payload
from support.lives import APPRAISER, AT, HOSPITAL, TRUST, Life, command, life, verdict
from support.refusing import assert_refused

JUDGED = Change(Transition("attestation", "affirming", "affirming", "result"), {})
NOTHING = Change(Transition("note", "", "made", "whim"), {})
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
STRANGER = SoftwareSigner(key("stranger"))


def verified(bundle: Bundle, trust: BundleTrust = TRUST, at: int = AT) -> VerifiedLife:
    return verify_bundle(bundle.encode(), trust, at)


def refused(bundle: Bundle, kind: RefusalKind, place: str, trust: BundleTrust = TRUST, at: int = AT) -> Refusal:
    found = assert_refused(kind, verified, bundle, trust, at)
    assert found.place == place
    return found


def answered(bundle: Bundle, **changes: Any) -> Bundle:
    """Another answer of the real authority in place of the first entry's."""
    answer = replace(Answer.parse(payload(bundle.entries[0].attachments["answer"])), **changes)
    return with_answer(bundle, cose.sign1(answer.encode(), AUTHORITY, content_type=CONTENT_TYPE))


def with_answer(bundle: Bundle, data: bytes) -> Bundle:
    first = replace(bundle.entries[0], attachments={"answer": data})
    return replace(bundle, entries=(first, *bundle.entries[1:]))


def then(lived: Life, change: Change, attachments: dict[str, bytes], keep: bool = True) -> Bundle:
    """The life without a receipt, and one more entry that the device signs."""
    bundle = lived.bundle(receipt=False)
    entry = lived.entry(len(bundle.entries), change, attachments)
    return replace(bundle, entries=(*bundle.entries, entry if keep else replace(entry, attachments={})))


def test_a_life_that_holds(lived: Life, bundle: Bundle) -> None:
    found = verified(bundle)
    assert (found.device, found.ueid) == (lived.device, lived.pen.author.ueid)
    assert (found.serial, found.owner) == ("SN-0001", HOSPITAL)
    assert found.states == {"life": "commissioned", "attestation": "affirming"}
    assert (found.by_tpm, found.by_appraiser, len(found.entries)) == (3, 3, 3)
    assert [each.checkpoint.size for each in found.checkpoints] == [2, 3]
    assert [(each.entry, each.ear.status) for each in found.verdicts] == [(2, Tier.AFFIRMING)]
    assert [(each.entry, each.command.name) for each in found.commands] == [(1, "commission")]
    assert found.receipt is not None
    assert found.sanitisation is None


def test_what_nobody_confirms_yet_is_counted(lived: Life) -> None:
    found = verified(lived.bundle(receipt=False))
    assert (found.by_tpm, found.by_appraiser, found.receipt) == (3, 2, None)
    found = verified(then(lived, NOTHING, {}))
    assert (found.by_tpm, found.by_appraiser, len(found.entries)) == (3, 2, 4)
    entries = [entry.encode() for entry in lived.bundle().entries]
    found = verified(assemble(lived.device, entries[:2], []))
    assert (found.by_tpm, found.by_appraiser, found.checkpoints) == (0, 0, ())


def test_it_is_judged_by_its_form_first(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="bundle-limit"):
        verify_bundle(bytes(MAX_BUNDLE_BYTES + 1), TRUST, AT)
    with pytest.raises(InputError, match="bundle-malformed"):
        verified(replace(bundle, nonce=b"1"))
    with pytest.raises(InputError, match="bundle-malformed"):
        verified(replace(bundle, sanitisation=b"1"))


def test_it_begins_with_an_enrolment(bundle: Bundle) -> None:
    kind, answer = refusals.BUNDLE_ANSWER_UNTRUSTED, bundle.entries[0].attachments["answer"]
    refused(replace(bundle, entries=()), kind, "entry 0")
    refused(replace(bundle, entries=bundle.entries[1:]), kind, "entry 0")
    refused(bundle, kind, "entry 0", replace(TRUST, enrolment=[STRANGER.public_key]))
    forged = cose.sign1(payload(answer), STRANGER, content_type=CONTENT_TYPE)
    refused(with_answer(bundle, forged), kind, "entry 0", replace(TRUST, enrolment=[AUTHORITY.public_key]))
    for data in (b"", b"\xd2", cose.sign1(b"\xa0", AUTHORITY, content_type=CONTENT_TYPE)):
        refused(with_answer(bundle, data), kind, "entry 0")


def test_its_certificates_were_issued_by_the_enrolment_authority(bundle: Bundle) -> None:
    kind, elsewhere = refusals.BUNDLE_ANSWER_UNTRUSTED, replace(TRUST, enrolment_roots=[root("Vendor").certificate])
    assert "certificate-untrusted" in refused(bundle, kind, "entry 0", elsewhere).detail
    answer = Answer.parse(payload(bundle.entries[0].attachments["answer"]))
    swapped = answered(bundle, lak_certificate=answer.ldevid_certificate)
    assert "certificate-purpose" in refused(swapped, kind, "entry 0").detail
    broken = answered(bundle, ldevid_certificate=answer.ldevid_certificate[:-1])
    assert "certificate-truncated" in refused(broken, kind, "entry 0").detail


def test_certificates_hold_for_what_they_certified_when_they_were_valid(bundle: Bundle) -> None:
    assert verified(bundle, at=NOW).device == verified(bundle, at=NOW + 100 * 365 * 86_400).device
    found = refused(bundle, refusals.BUNDLE_ANSWER_UNTRUSTED, "entry 0", at=NOW - 86_400)
    assert "certificate-not-yet-valid" in found.detail


def test_all_of_it_is_about_one_device(bundle: Bundle, other: Life) -> None:
    kind = refusals.BUNDLE_OTHER_DEVICE
    refused(replace(bundle, device=other.device), kind, "")
    refused(replace(bundle, device=bundle.device.upper()), kind, "")
    theirs = Answer.parse(payload(other.bundle().entries[0].attachments["answer"]))
    for changes in (
        {"device_id": theirs.device_id},
        {"ueid": theirs.ueid},
        {"ek_hash": theirs.ek_hash},
        {"lak_certificate": theirs.lak_certificate},
        {"ldevid_certificate": theirs.ldevid_certificate},
    ):
        refused(answered(bundle, **changes), kind, "entry 0")
    assert theirs.device_id == device_id(ueid(theirs.ek_hash))


def test_both_keys_are_certified_for_one_serial_number(bundle: Bundle, everybody: World) -> None:
    held = load(Answer.parse(payload(bundle.entries[0].attachments["answer"])).ldevid_certificate).public_key
    name = subject(bundle.device, serial="SN-0009")
    certificate = everybody.issuer.issue(DEVICE_ID, held, name, Validity(NOW, NOW + 86_400), bytes(16))
    refused(answered(bundle, ldevid_certificate=certificate), refusals.BUNDLE_OTHER_DEVICE, "entry 0")


def test_ledgers_of_two_devices(bundle: Bundle, other: Life) -> None:
    theirs = other.bundle()
    refused(replace(bundle, entries=theirs.entries), refusals.BUNDLE_OTHER_DEVICE, "")
    mixed = (*bundle.entries[:2], theirs.entries[2])
    refused(replace(bundle, entries=mixed), ledger_refusals.ENTRY_FORGED, "entry 2")
    kind = crypto_refusals.CHECKPOINT_NOT_CERTIFIED
    refused(replace(bundle, checkpoints=theirs.checkpoints), kind, "checkpoint 0")
    refused(replace(bundle, receipt=theirs.receipt), refusals.BUNDLE_OTHER_DEVICE, "receipt")


def test_an_entry_edited(bundle: Bundle) -> None:
    entry = bundle.entries[1]
    for data in (
        entry.statement.replace(b"commissioned", b"commissioner"),
        entry.statement[:-1] + bytes([entry.statement[-1] ^ 1]),
    ):
        edited = (bundle.entries[0], replace(entry, statement=data), bundle.entries[2])
        refused(replace(bundle, entries=edited), ledger_refusals.ENTRY_FORGED, "entry 1")


def test_a_header_that_nobody_signed(bundle: Bundle) -> None:
    message = Sign1.parse(bundle.entries[1].statement)
    more = replace(bundle.entries[1], statement=replace(message, unprotected={4: b"k"}).encode())
    edited = (bundle.entries[0], more, bundle.entries[2])
    refused(replace(bundle, entries=edited), ledger_refusals.ENTRY_FORGED, "entry 1")
    receipt = replace(Sign1.parse(bundle.receipt), unprotected={4: b"k"}).encode()
    refused(replace(bundle, receipt=receipt), refusals.BUNDLE_VERDICT_UNTRUSTED, "receipt")


def test_entries_removed_swapped_and_put_in(bundle: Bundle) -> None:
    one, two, three = bundle.entries
    kind = ledger_refusals.ENTRY_MISSING
    for entries, place in (
        ((one, three), "entry 1"),
        ((one, three, two), "entry 1"),
        ((one, two, two, three), "entry 2"),
        ((one, one, two, three), "entry 1"),
    ):
        refused(replace(bundle, entries=entries), kind, place)


def test_a_ledger_cut_off(lived: Life, bundle: Bundle) -> None:
    """Without a receipt, what the TPM was told of must be there; with one, all of it."""
    bare, kind = lived.bundle(receipt=False), ledger_refusals.LEDGER_TRUNCATED
    for size in (1, 2):
        refused(replace(bare, entries=bare.entries[:size]), kind, f"entry {size}")
        refused(replace(bundle, entries=bundle.entries[:size]), kind, f"entry {size}")
    cut = replace(bundle, entries=bundle.entries[:2], checkpoints=bundle.checkpoints[:1])
    refused(cut, refusals.BUNDLE_RECEIPT_MISMATCH, "receipt")
    assert verified(replace(cut, receipt=b"")).states == {"life": "commissioned"}, "an honest ledger of that day"


def test_checkpoints_removed_and_swapped(lived: Life, bundle: Bundle) -> None:
    first, second = bundle.checkpoints
    gap = ledger_refusals.CHECKPOINT_GAP
    refused(replace(bundle, checkpoints=(second,)), gap, "checkpoint 0")
    refused(replace(bundle, checkpoints=(second, first)), gap, "checkpoint 0")
    refused(replace(bundle, checkpoints=(first, first)), gap, "checkpoint 1")
    refused(replace(bundle, checkpoints=(first,)), refusals.BUNDLE_RECEIPT_MISMATCH, "receipt")
    refused(replace(bundle, checkpoints=(), receipt=b""), gap, "entry 2")
    refused(replace(bundle, checkpoints=()), gap, "entry 2")


def test_a_fork_signed_by_the_device_itself(lived: Life, bundle: Bundle) -> None:
    """Root on the device has the LDevID sign another entry 2, and hides the one that the TPM was told of."""
    forged = lived.entry(2, NOTHING, {})
    fork = replace(bundle, entries=(*bundle.entries[:2], forged))
    refused(fork, ledger_refusals.LEDGER_FORKED, "entry 2")
    first = lived.entry(1, Change(Transition("life", "enrolled", "frozen", "freeze"), {}), {})
    refused(
        replace(bundle, entries=(bundle.entries[0], first, bundle.entries[2])), ledger_refusals.LEDGER_FORKED, "entry 0"
    )


def test_a_fork_that_the_appraiser_has_seen_otherwise(lived: Life) -> None:
    """Entries that no checkpoint covers yet, but a verdict does."""
    head = lived.bundle(receipt=False)
    confirmed = LedgerHead(3, bytes(32), lived.head.counter)
    ear = verdict(lived.device, confirmed)
    forked = replace(head, entries=(*head.entries, lived.entry(3, JUDGED, {"ear": ear})))
    refused(forked, ledger_refusals.LEDGER_FORKED, "entry 2")


def test_verdicts_are_an_appraisers(bundle: Bundle) -> None:
    refused(bundle, refusals.BUNDLE_VERDICT_UNTRUSTED, "entry 2", replace(TRUST, appraisers=[STRANGER.public_key]))


def forged_verdict(lived: Life) -> bytes:
    return cose.sign1(payload(verdict(lived.device, lived.head)), STRANGER, content_type="application/eat+cwt")


@pytest.mark.parametrize("change", [JUDGED, NOTHING])
def test_a_verdict_of_somebody_else(lived: Life, change: Change) -> None:
    refused(then(lived, change, {"ear": forged_verdict(lived)}), refusals.BUNDLE_VERDICT_UNTRUSTED, "entry 3")


@pytest.mark.parametrize("attached", [{"ear": b"none"}, {}])
def test_a_verdict_that_is_none(lived: Life, attached: dict[str, bytes]) -> None:
    refused(then(lived, JUDGED, attached), refusals.BUNDLE_VERDICT_UNTRUSTED, "entry 3")


def test_a_receipt_of_somebody_else(lived: Life, bundle: Bundle) -> None:
    forged = replace(bundle, receipt=forged_verdict(lived))
    refused(forged, refusals.BUNDLE_VERDICT_UNTRUSTED, "receipt")


def test_a_verdict_on_another_device(lived: Life, other: Life) -> None:
    theirs = {"ear": verdict(other.device, None)}
    refused(then(lived, JUDGED, theirs), refusals.BUNDLE_OTHER_DEVICE, "entry 3")


def test_a_verdict_that_was_left_out(lived: Life) -> None:
    good = {"ear": verdict(lived.device, lived.head)}
    refused(then(lived, JUDGED, good, keep=False), refusals.BUNDLE_ATTACHMENT_MISSING, "entry 3")
    assert len(verified(then(lived, JUDGED, good)).verdicts) == 2


def test_a_bad_verdict_is_not_a_good_one(lived: Life) -> None:
    bad = verdict(lived.device, None, affirming=False)
    refused(then(lived, JUDGED, {"ear": bad}), refusals.BUNDLE_VERDICT_UNTRUSTED, "entry 3")
    told = Change(Transition("attestation", "affirming", "contraindicated", "result"), {})
    assert verified(then(lived, told, {"ear": bad})).states["attestation"] == "contraindicated"


def test_a_verdict_confirms_what_was_before_it(lived: Life) -> None:
    head = lived.head
    assert verified(then(lived, JUDGED, {"ear": verdict(lived.device, head)})).by_appraiser == 3
    later = replace(head, size=head.size + 1)
    refused(then(lived, JUDGED, {"ear": verdict(lived.device, later)}), refusals.BUNDLE_VERDICT_UNTRUSTED, "entry 3")


@pytest.mark.parametrize(("counter", "size"), [(1, 0), (-2, 0), (0, -1)])
def test_a_verdict_confirms_a_checkpoint(lived: Life, counter: int, size: int) -> None:
    head = lived.head
    other = replace(head, counter=head.counter + counter, size=head.size + size)
    ear = {"ear": verdict(lived.device, other)}
    refused(then(lived, JUDGED, ear), ledger_refusals.CHECKPOINT_GAP, "entry 3")


def test_commands_are_a_commanders(bundle: Bundle) -> None:
    refused(bundle, refusals.BUNDLE_COMMAND_UNTRUSTED, "entry 1", replace(TRUST, commanders=[APPRAISER.public_key]))


def test_a_command_of_somebody_else(lived: Life) -> None:
    theirs = {"command": command(lived.device, STRANGER)}
    refused(then(lived, NOTHING, theirs), refusals.BUNDLE_COMMAND_UNTRUSTED, "entry 3")


def test_a_command_that_is_none(lived: Life) -> None:
    refused(then(lived, NOTHING, {"command": b"do it"}), refusals.BUNDLE_COMMAND_UNTRUSTED, "entry 3")


def test_a_command_to_another_device(lived: Life, other: Life) -> None:
    theirs = {"command": command(other.device)}
    refused(then(lived, NOTHING, theirs), refusals.BUNDLE_OTHER_DEVICE, "entry 3")


def test_a_command_that_was_left_out(lived: Life) -> None:
    ours = {"command": command(lived.device)}
    refused(then(lived, NOTHING, ours, keep=False), refusals.BUNDLE_ATTACHMENT_MISSING, "entry 3")
    assert len(verified(then(lived, NOTHING, ours)).commands) == 2


def test_what_else_is_attached_may_be_left_out(lived: Life) -> None:
    assert len(verified(then(lived, NOTHING, {"inventory": b"many"}, keep=False)).entries) == 4


def test_another_attachment_than_the_named(lived: Life, bundle: Bundle) -> None:
    good = verdict(lived.device, lived.head)
    entry = replace(bundle.entries[2], attachments={"ear": good})
    changed = replace(bundle, entries=(*bundle.entries[:2], entry))
    refused(changed, ledger_refusals.ATTACHMENT_MISMATCH, "entry 2")
    more = replace(bundle.entries[1], attachments={**bundle.entries[1].attachments, "more": b""})
    changed = replace(bundle, entries=(bundle.entries[0], more, bundle.entries[2]))
    refused(changed, ledger_refusals.ATTACHMENT_MISMATCH, "entry 1")


def test_the_receipt_is_for_just_this(lived: Life, bundle: Bundle) -> None:
    head, kind = lived.head, refusals.BUNDLE_RECEIPT_MISMATCH
    for other in (
        replace(head, size=2),
        replace(head, root=merkle.EMPTY_ROOT),
        replace(head, counter=head.counter - 1),
        None,
    ):
        refused(replace(bundle, receipt=verdict(lived.device, other)), kind, "receipt")
    refused(replace(bundle, receipt=verdict(lived.device, None, affirming=False)), kind, "receipt")
    grown = then(lived, NOTHING, {})
    refused(replace(grown, receipt=bundle.receipt), kind, "receipt")
    alone = assemble(lived.device, [entry.encode() for entry in bundle.entries[:1]], [], receipt=bundle.receipt)
    refused(alone, kind, "receipt")


def test_rows_that_are_none(lived: Life) -> None:
    with pytest.raises(InputError, match="cbor-truncated"):
        assemble(lived.device, [b""], [])
    with pytest.raises(InputError, match="checkpoint-malformed"):
        assemble(lived.device, [], [b"\xa0"])
    assert Entry.parse(lived.store.entries()[0]) == lived.bundle().entries[0]


def test_a_life_that_ended(everybody: World, tmp_path: Path) -> None:
    """Whoever clears the TPM may do so again: each proof is for the certificate that was asked for."""
    kind, nonce = refusals.BUNDLE_SANITISATION_UNPROVEN, b"n" * 32
    with life(everybody, tmp_path) as ending:
        ending.live()
        before = ending.bundle()
        ended = replace(before, sanitisation=ending.sanitise(nonce), nonce=nonce)
        proven = verified(ended).sanitisation
        assert proven is not None
        assert proven.certificate.serial == "SN-0001"
        refused(replace(ended, nonce=b"m" * 32), kind, "sanitisation")
        refused(replace(ended, sanitisation=ended.sanitisation[:-1]), kind, "sanitisation")
        cut = replace(ended, receipt=b"", entries=ended.entries[:2], checkpoints=ended.checkpoints[:1])
        refused(cut, kind, "sanitisation")
        for changes in ({"serial": "SN-0002"}, {"ledger_size": 2}, {"ledger_counter": 1}):
            refused(replace(ended, sanitisation=ending.sanitise(nonce, **changes)), kind, "sanitisation")


def test_a_tpm_that_was_cleared_before_it_was_in_service_proves_nothing(everybody: World, tmp_path: Path) -> None:
    """Its clock would say the same whether or not it was cleared again."""
    nonce = b"n" * 32
    with life(everybody, tmp_path, cleared=True) as ending:
        ending.live()
        before = ending.bundle()
        ended = replace(before, sanitisation=ending.sanitise(nonce), nonce=nonce)
        found = refused(ended, refusals.BUNDLE_SANITISATION_UNPROVEN, "sanitisation")
        assert "sanitisation-before-clear" in found.detail


def test_a_checkpoint_under_another_name(everybody: World, tmp_path: Path) -> None:
    """A TPM certifies whatever name its own root gives it."""
    with life(everybody, tmp_path) as lying:
        lying.live()
        bundle = lying.bundle(receipt=False)
        root_now = merkle.root([merkle.leaf_hash(entry.statement) for entry in bundle.entries])
        intent = lying.anchor.intend(3, root_now, bundle.checkpoints[-1].checkpoint)
        more = lying.anchor.carry_out(intent, "f" * 32)
        named = replace(bundle, checkpoints=(*bundle.checkpoints, more))
        refused(named, refusals.BUNDLE_OTHER_DEVICE, "checkpoint 2")


def twin(signature: bytes) -> bytes:
    """(r, n - s), which every ECDSA verifier takes for as good as (r, s)."""
    return signature[:32] + (P256_ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")


def test_twins_of_signatures_say_the_same_or_are_refused(lived: Life, bundle: Bundle) -> None:
    message = Sign1.parse(bundle.entries[1].statement)
    other = replace(bundle.entries[1], statement=replace(message, signature=twin(message.signature)).encode())
    covered = replace(bundle, entries=(bundle.entries[0], other, bundle.entries[2]))
    refused(covered, ledger_refusals.LEDGER_FORKED, "entry 0")
    receipt = Sign1.parse(bundle.receipt)
    alike = replace(bundle, receipt=replace(receipt, signature=twin(receipt.signature)).encode())
    assert alike != bundle
    assert verified(alike) == verified(bundle)
