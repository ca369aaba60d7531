"""The least that appraising one piece of evidence costs: its signature checks and hashes, all else prepared before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from medvouch.attestation.appraisal import Appraisal
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.replay import VerifiedEvents, reset_value
from medvouch.crypto import certificates
from medvouch.crypto.keys import PublicKey, coordinate_size, ecdsa_der
from medvouch.crypto.tpm import public_key
from medvouch.formats import der
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cose import Sign1
from medvouch.formats.hashing import HASHERS, Hasher, digest
from medvouch.formats.ledger import LedgerRecord
from medvouch.formats.tpm import Signature, SignedAttest
from medvouch.formats.tpm_public import Public

DESCRIPTION = (
    "ECDSA checks of LAK certificate, quote, TPM2_Certify, EAT and both of the ledger's TPM2_NV_Certify; SHA-256 of "
    "the logs, of each extend, and of the data that each digest covers"
)

_ECDSA = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True)
class BareChecks:
    """`signatures` are (key, DER signature, message), `hashed` are (hash function, input)."""

    signatures: tuple[tuple[ec.EllipticCurvePublicKey, bytes, bytes], ...]
    hashed: tuple[tuple[Hasher, bytes], ...]

    @classmethod
    def of(cls, evidence: UnverifiedEvidence, appraisal: Appraisal, root: bytes) -> BareChecks:
        """Those of evidence that passed; `root` (DER) is the enrolment authority's."""
        quote = evidence.quote
        issuer, leaf = certificates.load(root), certificates.load(quote.lak_certificate)
        lak, ldevid = _p256(leaf.public_key), _p256(public_key(Public.parse(quote.ldevid_public)))
        signatures = (
            (_p256(issuer.public_key), leaf.parsed.signature, der.signed_part(quote.lak_certificate)),
            (lak, *_attested(quote.quote)),
            (lak, *_attested(quote.ldevid_certify)),
            (ldevid, *_claimed(evidence.eat)),
            *((lak, *_attested(signed)) for signed in _certifications(evidence.checkpoint)),
        )
        logs = [log for log in (evidence.uefi, evidence.systemd, evidence.ima) if log is not None]
        sha256 = HASHERS[HashAlg.SHA256]
        measured = _events(appraisal.replay.events, quote.pcrs)
        return cls(signatures, (*((sha256, log) for log in logs), *measured))

    def run(self) -> None:
        """Do them."""
        for key, signature, message in self.signatures:
            key.verify(signature, message, _ECDSA)
        for hasher, data in self.hashed:
            hasher(data).digest()


def _p256(key: PublicKey) -> ec.EllipticCurvePublicKey:
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    return key


def _attested(signed: SignedAttest) -> tuple[bytes, bytes]:
    r, s = (int.from_bytes(part, "big") for part in Signature.parse(signed.signature).value)
    return encode_dss_signature(r, s), signed.attest


def _certifications(checkpoint: bytes | None) -> tuple[SignedAttest, ...]:
    """Of the ledger's counter and head, where evidence comes with them."""
    if checkpoint is None:
        return ()
    latest = LedgerRecord.parse(checkpoint).latest
    return latest.counter, latest.head


def _claimed(eat: bytes) -> tuple[bytes, bytes]:
    message = Sign1.parse(eat)
    assert message.payload is not None
    return ecdsa_der(message.signature, coordinate_size(ec.SECP256R1())), message.to_be_signed(message.payload, b"")


def _events(events: VerifiedEvents, quoted: Mapping[HashAlg, Mapping[int, bytes]]) -> Iterator[tuple[Hasher, bytes]]:
    """One hash for each extend, of as many bytes, and one for the event's data where that is what was measured."""
    for event in events:
        for bank, measured in event.digests.items():
            if bank in quoted:
                yield HASHERS[bank], reset_value(bank, event.pcr) + measured
                if digest(bank, event.data) == measured:
                    yield HASHERS[bank], event.data
