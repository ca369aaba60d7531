"""One gateway that is asked, challenged and refused again and again, but never gets so far as to be owned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tpm2_pytss import TPMT_SIG_SCHEME
from tpm2_pytss.constants import TPM2_ALG

from medvouch.attestation.enrolment import EnrolmentAuthority, PendingEnrolment
from medvouch.attestation.provisioning import FLOOR_COUNTER, LEDGER_COUNTER, attestation_key
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.enrolment import Proof, Request, certify_qualifier
from medvouch.formats.tpm import PcrSelection, SignedAttest
from support.authorities import NOW
from support.enrolling import Gateway, World, payload, world


@dataclass(frozen=True)
class Challenged:
    """An open challenge, the genuine proof for it, and what is nearly one, all by the same LAK.

    `earlier` proves the same keys for another challenge; `quote` is no certification, but for this challenge. `other`
    and `half` certify a counter for this challenge: another one than the floor's, and not all of the floor's.
    """

    pending: PendingEnrolment
    proof: Proof
    earlier: Proof
    quote: SignedAttest
    other: SignedAttest
    half: SignedAttest


@pytest.fixture(scope="module")
def everybody() -> World:
    return world()


@pytest.fixture(scope="module")
def gateway(everybody: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with everybody.gateway(tmp_path_factory.mktemp("gateway") / "tpm") as made:
        yield made


@pytest.fixture(scope="module")
def authority(everybody: World, gateway: Gateway) -> EnrolmentAuthority:
    return everybody.authority(gateway.entry)


@pytest.fixture(scope="module")
def request_message(gateway: Gateway) -> bytes:
    return gateway.enrollee().request()


@pytest.fixture(scope="module")
def genuine(request_message: bytes) -> Request:
    return Request.parse(payload(request_message))


@pytest.fixture(scope="module")
def challenged(authority: EnrolmentAuthority, gateway: Gateway) -> Challenged:
    enrollee = gateway.enrollee()
    request = enrollee.request()
    assert enrollee._asked is not None
    auths = enrollee._asked.made.nv_auths
    first, _ = authority.challenge(request, NOW)
    second, pending = authority.challenge(request, NOW)
    earlier, proof = (Proof.parse(payload(enrollee.proof(challenge))) for challenge in (first, second))
    lak = attestation_key(gateway.tpm)
    selection = PcrSelection.of({HashAlg.SHA256: [0]})
    qualifier = certify_qualifier(pending.nonce)
    quote = gateway.tpm.quote(lak, qualifier, selection)
    gateway.tpm.nv_increment(LEDGER_COUNTER, auths["ledger-counter"])
    other = gateway.tpm.nv_certify(LEDGER_COUNTER, auths["ledger-counter"], lak, qualifier)
    with gateway.tpm._nv(FLOOR_COUNTER, auths["floor"]) as index:
        scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
        attest, signature = gateway.tpm._esapi.nv_certify(gateway.tpm._tr(lak), index, qualifier, scheme, 4, 4)
    half = SignedAttest(bytes(attest), signature.marshal())
    gateway.tpm.flush(lak)
    return Challenged(pending, proof, earlier, quote, other, half)
