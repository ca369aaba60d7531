"""Attest on a device and verify somewhere else: the two halves of medvouch.attestation."""

from medvouch.attestation.appraisal import Anchors, Expectation, appraise
from medvouch.attestation.attester import AttestationKeys, Attester
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.policy import STATIC_PCRS, shipped
from medvouch.attestation.reference import verify_references


def attest(tpm, logs, clock, identity, description, nonce):
    """On the device: evidence for a challenge. `tpm`, `logs` and `clock` are ports; `identity` came by enrolment."""
    attester = Attester(tpm, logs, clock, AttestationKeys.load(tpm, identity), description)
    return attester.evidence(nonce, "my-appraiser", STATIC_PCRS)


def verify(evidence, nonce, device, enrolment_root, references, release_keys, now):
    """Anywhere: the appraisal, or the Refusal or InputError that says what is wrong and what to do."""
    anchors = Anchors([enrolment_root], verify_references(references, release_keys))
    expected = Expectation("my-appraiser", device=device, nonce=nonce)
    return appraise(UnverifiedEvidence.parse(evidence), expected, anchors, shipped("release"), now)
