"""Whether a TPM confirms a checkpoint."""

from __future__ import annotations

from dataclasses import replace

from medvouch.crypto import refusals
from medvouch.crypto.checkpoints import COUNTER, HEAD, verify_checkpoint
from medvouch.formats.ledger import CertifiedCheckpoint
from medvouch.formats.tpm import Attest, AttestType, CertifyInfo, SignedAttest
from support.authorities import key
from support.evidence import QUALIFIED_SIGNER, signed
from support.ledgers import LAK, NAMES, Notary, entries
from support.refusing import assert_refused

NOTARY = Notary()
CERTIFIED = NOTARY.checkpoint(entries(2))
CHECKPOINT = CERTIFIED.checkpoint
COUNTED = CHECKPOINT.counter.to_bytes(8, "big")
DIGEST = CHECKPOINT.digest()


def refused(certified: CertifiedCheckpoint, place: str, *, by: str = "lak", names: dict[str, bytes] = NAMES) -> str:
    found = assert_refused(refusals.CHECKPOINT_NOT_CERTIFIED, verify_checkpoint, certified, key(by).public_key(), names)
    assert found.place == place
    return found.detail


def test_a_checkpoint_that_the_tpm_confirms() -> None:
    verified = verify_checkpoint(CERTIFIED, LAK.public_key(), NAMES)
    assert verified.checkpoint == CHECKPOINT
    assert verified.clock == Attest.parse(CERTIFIED.head.attest).clock_info


def test_by_another_key_or_none() -> None:
    refused(CERTIFIED, COUNTER, by="ldevid")
    refused(replace(CERTIFIED, head=replace(CERTIFIED.head, signature=CERTIFIED.counter.signature)), HEAD)
    for broken in (SignedAttest(b"", b""), replace(CERTIFIED.counter, attest=CERTIFIED.counter.attest[:-1])):
        refused(replace(CERTIFIED, counter=broken), COUNTER)
        refused(replace(CERTIFIED, head=broken), HEAD)


def test_of_another_index() -> None:
    counter = NOTARY.certify(COUNTER, COUNTED, DIGEST, index=HEAD)
    assert "another object" in refused(replace(CERTIFIED, counter=counter), COUNTER)
    head = NOTARY.certify(HEAD, CHECKPOINT.head, DIGEST, index=COUNTER)
    assert "another object" in refused(replace(CERTIFIED, head=head), HEAD)
    refused(replace(CERTIFIED, counter=CERTIFIED.head, head=CERTIFIED.counter), COUNTER)
    refused(CERTIFIED, COUNTER, names={HEAD: NAMES[HEAD]})
    refused(CERTIFIED, HEAD, names={COUNTER: NAMES[COUNTER]})
    refused(CERTIFIED, HEAD, names={**NAMES, HEAD: NAMES[COUNTER]})


def test_of_a_key() -> None:
    info = CertifyInfo(NAMES[COUNTER], NAMES[COUNTER])
    attest = Attest(AttestType.CERTIFY, QUALIFIED_SIGNER, DIGEST, NOTARY.clock, 1, info)
    assert "another object" in refused(replace(CERTIFIED, counter=signed(attest, LAK)), COUNTER)


def test_with_other_contents() -> None:
    for contents in ((CHECKPOINT.counter + 1).to_bytes(8, "big"), COUNTED[1:], b""):
        counter = NOTARY.certify(COUNTER, contents, DIGEST)
        assert "the index holds" in refused(replace(CERTIFIED, counter=counter), COUNTER)
    head = NOTARY.certify(HEAD, bytes(32), DIGEST)
    assert "the index holds" in refused(replace(CERTIFIED, head=head), HEAD)
    part = NOTARY.certify(HEAD, CHECKPOINT.head, DIGEST, offset=1)
    assert "the index holds" in refused(replace(CERTIFIED, head=part), HEAD)


def test_for_another_checkpoint() -> None:
    """Each part of a checkpoint is in what both certifications are for."""
    for changes in ({"size": 3}, {"device": "f" * 32}, {"root": bytes(32)}):
        changed = replace(CERTIFIED, checkpoint=replace(CHECKPOINT, **changes))
        assert "another checkpoint" in refused(changed, COUNTER)
    counter = NOTARY.certify(COUNTER, COUNTED, DIGEST)
    head = NOTARY.certify(HEAD, CHECKPOINT.head, b"\0" * 32)
    assert "another checkpoint" in refused(replace(CERTIFIED, counter=counter, head=head), HEAD)
