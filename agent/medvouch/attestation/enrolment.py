"""The authority's side of enrolment (DESIGN §3): which gateway is it, and are its keys where it says they are.

Pure: the caller carries the messages, keeps the pending enrolments and looks at the clock.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from medvouch.attestation import quote_refusals, refusals
from medvouch.attestation.key_roles import check_attestation_key, check_device_key
from medvouch.attestation.manifest import VerifiedManifest, find_gateway
from medvouch.attestation.nv_indexes import verified_names
from medvouch.crypto import cose, tpm
from medvouch.crypto.ca import SERIAL_BYTES, CertificateAuthority, subject
from medvouch.crypto.certificates import ATTESTATION_KEY, DEVICE_ID, EK, TLS_CLIENT, Profile
from medvouch.crypto.floor import COUNTER_BYTES
from medvouch.crypto.keys import PublicKey, Signer, key_thumbprint, load_spki, spki
from medvouch.crypto.x509 import TpmModel, VerifiedCertificate, tpm_model, verify_chain
from medvouch.errors import InputError, MedvouchError, Refusal, RefusalKind
from medvouch.formats.cose import Sign1
from medvouch.formats.enrolment import (
    CONTENT_TYPE,
    NONCE_BYTES,
    SECRET_BYTES,
    Answer,
    Challenge,
    Proof,
    Refused,
    Request,
    certify_qualifier,
    device_id,
    message_digest,
    ueid,
)
from medvouch.formats.manufacturing import ManifestEntry
from medvouch.formats.record import Record
from medvouch.formats.sanitisation import Released
from medvouch.formats.tpm import Attest, CertifyInfo, NvInfo, SignedAttest
from medvouch.formats.tpm_public import Public
from medvouch.ports import Entropy

_DAY = 86_400


@dataclass(frozen=True)
class EnrolmentTrust:
    """Whom the authority believes: certificates are DER, `floor_authority` raises the version floor in TPMs.

    `revocations` are DER lists of TPM vendors and makers.
    """

    vendor_roots: Sequence[bytes]
    maker_roots: Sequence[bytes]
    manifests: Sequence[VerifiedManifest]
    floor_authority: PublicKey
    revocations: Sequence[bytes] = ()


@dataclass(frozen=True)
class EnrolmentTerms:
    """What a device is enrolled to; lifetimes in seconds.

    A client certificate lives a day and is renewed only on a fresh verdict; LAK and LDevID certificates say which keys
    are this device's, for as long as evidence of them is judged.
    """

    accountable_owner: str
    floor: int = 0
    challenge_lifetime: int = 300
    client_lifetime: int = _DAY
    key_lifetime: int = 3653 * _DAY


@dataclass(frozen=True)
class PendingEnrolment:
    """Between challenge and proof: what was asked for, what was found out of it, and what only that TPM can open."""

    request: Request
    gateway: ManifestEntry
    model: TpmModel
    quirks: tuple[str, ...]
    challenge: bytes
    nonce: bytes
    secret: bytes = field(repr=False)
    expires: int


@dataclass(frozen=True)
class Enrolled:
    """An enrolment that held, for the authority to keep, and the answer for the device.

    `ek_hash` is SHA-256 of the EK's SPKI, `lak_spki` DER, `lak_qualified_name` contents of a TPM2B_NAME, as the TPM
    signed it, `*_public` TPMT_PUBLIC, `tpm_model` and `quirks` from its
    certificates, `nv_names` the indexes' Names, `escrow` the TPM's authorisations sealed to the accountable owner. At
    the security epoch `floor` the floor's counter stood at `floor_base`. `certificates` are those issued, DER.
    """

    answer: bytes
    ueid: bytes
    device_id: str
    ek_hash: bytes
    serial: str
    model: str
    hw_version: str
    tpm_model: TpmModel
    quirks: tuple[str, ...]
    lak_spki: bytes
    lak_qualified_name: bytes
    iak_public: bytes
    ldevid_public: bytes
    client_key_thumbprint: bytes
    nv_names: Mapping[str, bytes]
    floor: int
    floor_base: int
    accountable_owner: str
    escrow: bytes
    certificates: tuple[bytes, ...]


class EnrolmentAuthority:
    """Challenges requests and answers proofs. All refusals are of `attestation.refusals` and `crypto.refusals`.

    `signer` signs the messages (role `enrolment`), `issuer` the certificates; `enrolled` tells whether an EK (by its
    hash) has a live enrolment, `floor_of` the highest security epoch it is known to have had: a TPM that was cleared
    does not fall below it. `approve_floor` gives, by UEID, the floor authority's encoded FloorApproval of a first rise.
    """

    def __init__(
        self,
        signer: Signer,
        issuer: CertificateAuthority,
        trust: EnrolmentTrust,
        terms: EnrolmentTerms,
        *,
        entropy: Entropy,
        enrolled: Callable[[bytes], bool],
        floor_of: Callable[[bytes], int],
        approve_floor: Callable[[bytes], bytes],
    ) -> None:
        self._signer = signer
        self._issuer = issuer
        self._trust = trust
        self._terms = terms
        self._entropy = entropy
        self._enrolled = enrolled
        self._floor_of = floor_of
        self._approve_floor = approve_floor

    def challenge(self, message: bytes, now: int) -> tuple[bytes, PendingEnrolment]:
        """Judge a request at `now` (seconds since 1970); the challenge, and what to keep for its proof.

        1. The request is signed by the IDevID it names: `request-signature-invalid`.
        2. A trusted vendor made its TPM, and the EK is the one of the certificate: `ek-chain-untrusted`, `ek-mismatch`.
        3. The maker built that TPM into the gateway with this serial number and model: `ek-not-on-manifest`,
           `manifest-mismatch`.
        4. The maker certified the IDevID of that gateway: `idevid-chain-untrusted`, `idevid-mismatch`.
        5. The EK has no live enrolment: `ek-already-enrolled`.
        6. LAK and IAK are restricted keys bound to their TPM, LDevID and IDevID unrestricted ones:
           `ak-not-restricted`, `key-not-tpm-bound`, `key-attributes-wrong`.
        7. The challenge can be opened only by the TPM that has both that EK and that LAK: `ek-unsupported`.
        """
        request = self._request(message)  # 1
        model, ek = self._endorsed(request, now)  # 2
        ek_hash = _spki_hash(ek.public_key)
        gateway = self._manifested(request, ek_hash)  # 3
        idevid = self._identified(request, now)  # 4
        self._check_not_enrolled(ek_hash)  # 5
        _check_roles(request)  # 6
        load_spki(request.client_key)
        nonce, secret = self._entropy.bytes(NONCE_BYTES), self._entropy.bytes(SECRET_BYTES)
        credential, encrypted = tpm.make_credential(  # 7
            Public.parse(request.ek_public), tpm.name(request.lak_public), secret, self._entropy.bytes
        )
        approval = self._approve_floor(ueid(ek_hash))
        challenge = self._signed(Challenge(message_digest(message), credential, encrypted, nonce, approval))
        quirks = tuple(sorted({*ek.quirks, *idevid.quirks}))
        expires = now + self._terms.challenge_lifetime
        digest = message_digest(challenge)
        return challenge, PendingEnrolment(request, gateway, model, quirks, digest, nonce, secret, expires)

    def answer(self, pending: PendingEnrolment, message: bytes, now: int) -> Enrolled:
        """Judge a proof at `now`.

        1. It came in time, is signed by the request's IDevID, and answers this challenge: `challenge-expired`,
           `request-signature-invalid`, `challenge-mismatch`.
        2. The credential was activated, so the LAK is in the TPM with the EK: `credential-not-activated`.
        3. The LAK certified, for this challenge and always from one place, exactly the LDevID, IDevID and IAK of the
           request, the latter two as primary keys of the endorsement hierarchy: `key-not-certified`,
           `certification-stale`, `signer-elsewhere`, `key-elsewhere`.
        4. The NV indexes are as provisioning makes them for this device: `nv-index-wrong`.
        5. The LAK certified, for this challenge, where the floor's counter stands: `floor-not-certified`.
        6. The EK still has no live enrolment: `ek-already-enrolled`.
        """
        request, gateway = pending.request, pending.gateway
        if now > pending.expires:  # 1
            raise Refusal(refusals.CHALLENGE_EXPIRED, f"it was good until {pending.expires}, it is {now}")
        proof = Proof.parse(_verify(message, request.idevid_public))
        if proof.challenge != pending.challenge:
            raise Refusal(refusals.CHALLENGE_MISMATCH, "the proof names another challenge")
        if not hmac.compare_digest(proof.secret, pending.secret):  # 2
            raise Refusal(refusals.CREDENTIAL_NOT_ACTIVATED, "the secret is not the one in the credential")
        qualified_name = _check_certified(request, proof, certify_qualifier(pending.nonce))  # 3
        nv_names = verified_names(proof.nv_publics, self._trust.floor_authority, ueid(gateway.ek_hash))  # 4
        floor_base = _certified_floor(request, proof, nv_names["floor"], certify_qualifier(pending.nonce))  # 5
        self._check_not_enrolled(gateway.ek_hash)  # 6
        answer = self._answer(pending, message_digest(message), nv_names, floor_base, now)
        return Enrolled(
            answer=self._signed(answer),
            ueid=answer.ueid,
            device_id=answer.device_id,
            ek_hash=gateway.ek_hash,
            serial=gateway.serial,
            model=gateway.model,
            hw_version=gateway.hw_version,
            tpm_model=pending.model,
            quirks=pending.quirks,
            lak_spki=spki(tpm.public_key(Public.parse(request.lak_public))),
            lak_qualified_name=qualified_name,
            iak_public=request.iak_public,
            ldevid_public=request.ldevid_public,
            client_key_thumbprint=key_thumbprint(load_spki(request.client_key)),
            nv_names=nv_names,
            floor=answer.floor,
            floor_base=answer.floor_base,
            accountable_owner=answer.accountable_owner,
            escrow=proof.escrow,
            certificates=(answer.lak_certificate, answer.ldevid_certificate, answer.client_certificate),
        )

    def refuse(self, message: bytes, error: MedvouchError) -> bytes:
        """The signed refusal of a request or proof."""
        return self._signed(Refused(message_digest(message), error.code, error.detail[:1024]))

    def release(self, sanitised: bytes) -> bytes:
        """The signed word that a device's last message was taken, so that it need not repeat it."""
        return self._signed(Released(message_digest(sanitised)))

    def revocation_list(self, revoked: Mapping[int, int], now: int) -> bytes:
        """The certificates revoked, serial number to time (s since 1970), as a DER list."""
        return self._issuer.revocation_list(revoked, now)

    def _signed(self, record: Record) -> bytes:
        return cose.sign1(record.encode(), self._signer, content_type=CONTENT_TYPE)

    def _request(self, message: bytes) -> Request:
        """The key that must have signed stands in the payload: parsed before, believed after."""
        request = Request.parse(Sign1.parse(message).payload or b"")
        return Request.parse(_verify(message, request.idevid_public))

    def _endorsed(self, request: Request, now: int) -> tuple[TpmModel, VerifiedCertificate]:
        try:
            ek = verify_chain(
                request.ek_certificate,
                request.ek_chain,
                self._trust.vendor_roots,
                now,
                profile=EK,
                revocations=self._trust.revocations,
            )
            model = tpm_model(ek)
        except Refusal as cause:
            raise _because(refusals.EK_CHAIN_UNTRUSTED, cause) from cause
        if tpm.public_key(Public.parse(request.ek_public)) != ek.public_key:
            raise Refusal(refusals.EK_MISMATCH, "the certificate is for another key")
        return model, ek

    def _manifested(self, request: Request, ek_hash: bytes) -> ManifestEntry:
        gateway = find_gateway(self._trust.manifests, ek_hash)
        if (request.serial, request.model) != (gateway.serial, gateway.model):
            detail = f"{request.model} {request.serial} asks, {gateway.model} {gateway.serial} was built"
            raise Refusal(refusals.MANIFEST_MISMATCH, detail)
        return gateway

    def _identified(self, request: Request, now: int) -> VerifiedCertificate:
        try:
            idevid = verify_chain(
                request.idevid_certificate,
                request.idevid_chain,
                self._trust.maker_roots,
                now,
                profile=DEVICE_ID,
                revocations=self._trust.revocations,
            )
        except Refusal as cause:
            raise _because(refusals.IDEVID_CHAIN_UNTRUSTED, cause) from cause
        if tpm.public_key(Public.parse(request.idevid_public)) != idevid.public_key:
            raise Refusal(refusals.IDEVID_MISMATCH, "the certificate is for another key")
        if idevid.serial != request.serial:
            raise Refusal(refusals.IDEVID_MISMATCH, f"certified for {idevid.serial}, {request.serial} asks")
        return idevid

    def _check_not_enrolled(self, ek_hash: bytes) -> None:
        if self._enrolled(ek_hash):
            raise Refusal(refusals.EK_ALREADY_ENROLLED, f"{device_id(ueid(ek_hash))} is enrolled")

    def _answer(
        self, pending: PendingEnrolment, proof: bytes, nv_names: Mapping[str, bytes], floor_base: int, now: int
    ) -> Answer:
        request, gateway, terms = pending.request, pending.gateway, self._terms
        identifier = ueid(gateway.ek_hash)
        device = device_id(identifier)

        def certificate(profile: Profile, key: PublicKey, lifetime: int) -> bytes:
            name = subject(device, serial=gateway.serial)
            validity = self._issuer.validity(now, lifetime)
            return self._issuer.issue(profile, key, name, validity, self._entropy.bytes(SERIAL_BYTES))

        lak, ldevid = (tpm.public_key(Public.parse(key)) for key in (request.lak_public, request.ldevid_public))
        return Answer(
            proof=proof,
            ueid=identifier,
            device_id=device,
            ek_hash=gateway.ek_hash,
            hw_version=gateway.hw_version,
            lak_certificate=certificate(ATTESTATION_KEY, lak, terms.key_lifetime),
            ldevid_certificate=certificate(DEVICE_ID, ldevid, terms.key_lifetime),
            client_certificate=certificate(TLS_CLIENT, load_spki(request.client_key), terms.client_lifetime),
            chain=self._issuer.chain,
            nv_names=nv_names,
            floor=max(terms.floor, self._floor_of(gateway.ek_hash)),
            floor_base=floor_base,
            iak_public=request.iak_public,
            accountable_owner=terms.accountable_owner,
        )


def _verify(message: bytes, idevid_public: bytes) -> bytes:
    try:
        key = tpm.public_key(Public.parse(idevid_public))
        return cose.verify1(message, key, content_type=CONTENT_TYPE).payload
    except Refusal as cause:
        raise _because(refusals.REQUEST_SIGNATURE_INVALID, cause) from cause


def _check_roles(request: Request) -> None:
    check_attestation_key(Public.parse(request.lak_public), name="LAK")
    check_attestation_key(Public.parse(request.iak_public), name="IAK")
    check_device_key(Public.parse(request.ldevid_public), name="LDevID")
    check_device_key(Public.parse(request.idevid_public), name="IDevID")


def _check_certified(request: Request, proof: Proof, qualifier: bytes) -> bytes:
    """The LAK's Qualified Name."""
    lak = tpm.public_key(Public.parse(request.lak_public))
    signers = set()
    for name, signed, public, primary in (
        ("LDevID", proof.certify_ldevid, request.ldevid_public, False),
        ("IDevID", proof.certify_idevid, request.idevid_public, True),
        ("IAK", proof.certify_iak, request.iak_public, True),
    ):
        attest, certified = _certification(signed, lak, public, name)
        if primary and certified.qualified_name != tpm.qualified_name(certified.name):
            raise Refusal(refusals.KEY_ELSEWHERE, f"it is {certified.qualified_name.hex()}", place=name)
        _check_fresh(attest, qualifier, name)
        signers.add(attest.qualified_signer)
    if len(signers) > 1:
        raise Refusal(quote_refusals.SIGNER_ELSEWHERE, f"certified by {len(signers)} keys of different places")
    return signers.pop()


def _certification(signed: SignedAttest, lak: PublicKey, public: bytes, name: str) -> tuple[Attest, CertifyInfo]:
    """TPM2_Certify by the LAK over the key's Name (TPM 2.0 Library, Part 3, 18.2)."""
    attest = _attested(signed, lak, refusals.KEY_NOT_CERTIFIED, name)
    if not isinstance(attest.attested, CertifyInfo) or attest.attested.name != tpm.name(public):
        raise Refusal(refusals.KEY_NOT_CERTIFIED, "the LAK certified something else", place=name)
    return attest, attest.attested


def _certified_floor(request: Request, proof: Proof, name: bytes, qualifier: bytes) -> int:
    """TPM2_NV_Certify by the LAK over the whole counter with this Name (Part 3, 31.16); where it stands."""
    lak = tpm.public_key(Public.parse(request.lak_public))
    attest = _attested(proof.certify_floor, lak, refusals.FLOOR_NOT_CERTIFIED, "floor")
    held = attest.attested
    if not isinstance(held, NvInfo) or held.index_name != name:
        raise Refusal(refusals.FLOOR_NOT_CERTIFIED, "the LAK certified something else", place="floor")
    if (held.offset, len(held.contents)) != (0, COUNTER_BYTES):
        raise Refusal(refusals.FLOOR_NOT_CERTIFIED, "the LAK certified a part of the counter", place="floor")
    _check_fresh(attest, qualifier, "floor")
    return int.from_bytes(held.contents, "big")


def _attested(signed: SignedAttest, lak: PublicKey, otherwise: RefusalKind, name: str) -> Attest:
    try:
        return tpm.verify_attest(signed, lak).attest
    except (Refusal, InputError) as cause:
        raise _because(otherwise, cause, place=name) from cause


def _check_fresh(attest: Attest, qualifier: bytes, name: str) -> None:
    if attest.extra_data != qualifier:
        raise Refusal(refusals.CERTIFICATION_STALE, "certified for another challenge", place=name)


def _because(kind: RefusalKind, cause: MedvouchError, *, place: str = "") -> Refusal:
    return Refusal(kind, f"{cause.code}: {cause.detail}", place=place or cause.place)


def _spki_hash(key: PublicKey) -> bytes:
    return hashlib.sha256(spki(key)).digest()
