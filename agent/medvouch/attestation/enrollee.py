"""The device's side of enrolment (DESIGN §3): request, proof, and the identity that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.attestation import refusals
from medvouch.attestation.endorsements import IDEVID_CERTIFICATE_INDEX, read_certificate, read_ek_chain
from medvouch.attestation.provisioning import (
    EK_CERTIFICATE_INDEX,
    EK_TEMPLATE,
    FLOOR_COUNTER,
    IAK_TEMPLATE,
    IDEVID_TEMPLATE,
    HierarchyAuths,
    Provisioned,
    attestation_key,
    ek_hash,
    load_ldevid,
    provision,
    take_ownership,
)
from medvouch.attestation.tpm_signer import TpmSigner
from medvouch.crypto import cose, escrow
from medvouch.crypto.certificates import load
from medvouch.crypto.keys import PublicKey, spki
from medvouch.crypto.tpm import public_key, software_public
from medvouch.errors import Refusal
from medvouch.formats.enrolment import (
    CONTENT_TYPE,
    NONCE_BYTES,
    Answer,
    Challenge,
    Proof,
    Refused,
    Request,
    certify_qualifier,
    device_id,
    message_digest,
    parse_verdict,
    ueid,
)
from medvouch.formats.floor import FloorApproval
from medvouch.formats.identity import DeviceIdentity, OwnershipAuths
from medvouch.formats.record import Record
from medvouch.formats.tpm import SignedAttest
from medvouch.formats.tpm_public import NvAttribute, NvPublic, Public
from medvouch.ports import Entropy, KeyHandle, Tpm

_FourAttests = tuple[SignedAttest, SignedAttest, SignedAttest, SignedAttest]


@dataclass(frozen=True)
class _Asked:
    """After a request: what it was, the keys made for it."""

    digest: bytes
    made: Provisioned
    ek_hash: bytes


@dataclass(frozen=True)
class _Proved:
    """After a proof: what it was, the authorisations that lie in its escrow, where the floor's counter stands."""

    digest: bytes
    auths: HierarchyAuths
    floor_base: int


class Enrollee:
    """A device that wants to be enrolled: `request`, `proof`, `accept`, in this order; `request` begins anew.

    Blocking and as single-threaded as its Tpm. `authorities` are the keys of the role `enrolment`; `owner` is the
    accountable owner's key, for which the TPM's authorisations are sealed; `client_key` the MQTT connection's.
    """

    def __init__(
        self,
        tpm: Tpm,
        entropy: Entropy,
        *,
        authorities: Sequence[PublicKey],
        owner: ec.EllipticCurvePublicKey,
        floor_authority: PublicKey,
        serial: str,
        model: str,
        client_key: PublicKey,
    ) -> None:
        self._tpm = tpm
        self._entropy = entropy
        self._authorities = authorities
        self._owner = owner
        self._floor_authority = floor_authority
        self._serial = serial
        self._model = model
        self._client_key = client_key
        self._asked: _Asked | None = None
        self._proved: _Proved | None = None

    def device_id(self) -> str:
        """The id that this device will have: it follows from its EK."""
        with self._primary(EK_TEMPLATE) as ek:
            return device_id(ueid(ek_hash(self._tpm.read_public(ek))))

    def request(self) -> bytes:
        """Provision the TPM and ask to be enrolled. Raises TpmFault, among them `tpm-owned`, `certificate-missing`."""
        made = provision(self._tpm, self._entropy, self._floor_authority)
        request = Request(
            serial=self._serial,
            model=self._model,
            ek_certificate=read_certificate(self._tpm, EK_CERTIFICATE_INDEX),
            ek_chain=read_ek_chain(self._tpm),
            ek_public=made.ek_public,
            idevid_public=made.idevid_public,
            idevid_certificate=read_certificate(self._tpm, IDEVID_CERTIFICATE_INDEX),
            idevid_chain=(),
            iak_public=made.iak_public,
            lak_public=made.lak_public,
            ldevid_public=made.ldevid.public,
            client_key=spki(self._client_key),
            nonce=self._entropy.bytes(NONCE_BYTES),
        )
        message = self._signed(request)
        self._asked = _Asked(message_digest(message), made, ek_hash(made.ek_public))
        self._proved = None
        return message

    def proof(self, message: bytes) -> bytes:
        """Open the challenge and prove where the keys are.

        Raises InputError, TpmFault, Refusal `authority-signature-invalid`, `answer-mismatch`, `enrolment-refused`.
        """
        asked, challenge = self._asked, self._verdict(message)
        if asked is None or not isinstance(challenge, Challenge) or challenge.request != asked.digest:
            raise Refusal(refusals.ANSWER_MISMATCH, "no challenge to the request that was made")
        secret = self._activated(challenge)
        base = self._floor_base(asked, FloorApproval.parse(challenge.floor_approval))
        certified = self._certified(asked.made, certify_qualifier(challenge.nonce))
        auths = HierarchyAuths.draw(self._entropy)
        plain = OwnershipAuths(auths.owner, auths.lockout).encode()
        sealed = escrow.seal(plain, self._owner, self._entropy.bytes, context=ueid(asked.ek_hash))
        proof = self._signed(Proof(message_digest(message), secret, *certified, asked.made.nv_publics, sealed))
        self._proved = _Proved(message_digest(proof), auths, base)
        return proof

    def accept(self, message: bytes, keep: Callable[[DeviceIdentity], None]) -> DeviceIdentity:
        """Take the identity that the authority answers with, and give the TPM its owner.

        `keep` must have made the identity durable when it returns: only then are the authorisations set, which from
        there on exist in the escrow alone. Raises as `proof` does.
        """
        asked, proved, answer = self._asked, self._proved, self._verdict(message)
        if asked is None or proved is None or not isinstance(answer, Answer) or answer.proof != proved.digest:
            raise Refusal(refusals.ANSWER_MISMATCH, "no answer to the proof that was given")
        self._check_ours(answer, asked, proved.floor_base)
        identity = DeviceIdentity(
            ueid=answer.ueid,
            device_id=answer.device_id,
            ek_hash=answer.ek_hash,
            serial=self._serial,
            model=self._model,
            hw_version=answer.hw_version,
            ldevid_public=asked.made.ldevid.public,
            ldevid_private=asked.made.ldevid.private,
            lak_certificate=answer.lak_certificate,
            ldevid_certificate=answer.ldevid_certificate,
            client_certificate=answer.client_certificate,
            chain=answer.chain,
            nv_names=answer.nv_names,
            nv_auths=asked.made.nv_auths,
            floor=answer.floor,
            floor_base=answer.floor_base,
            iak_public=answer.iak_public,
            accountable_owner=answer.accountable_owner,
            answer=message,
        )
        keep(identity)
        take_ownership(self._tpm, proved.auths)
        return identity

    def _verdict(self, message: bytes) -> Challenge | Answer:
        payload = cose.verify1_by_any(
            message, self._authorities, content_type=CONTENT_TYPE, otherwise=refusals.AUTHORITY_SIGNATURE_INVALID
        )
        verdict = parse_verdict(payload)
        if isinstance(verdict, Refused):
            ours = {done.digest for done in (self._asked, self._proved) if done is not None}
            if verdict.about not in ours:
                raise Refusal(refusals.ANSWER_MISMATCH, "a refusal of some other message")
            raise Refusal(refusals.ENROLMENT_REFUSED, f"{verdict.code}: {verdict.detail}")
        return verdict

    def _check_ours(self, answer: Answer, asked: _Asked, floor_base: int) -> None:
        """Identifiers of our EK, certificates of our keys, the base and the IAK that were proven."""
        identifier = ueid(asked.ek_hash)
        if (answer.ek_hash, answer.ueid, answer.device_id) != (asked.ek_hash, identifier, device_id(identifier)):
            raise Refusal(refusals.ANSWER_MISMATCH, "another device's identifiers", place=answer.device_id)
        if (answer.floor_base, answer.iak_public) != (floor_base, asked.made.iak_public):
            raise Refusal(refusals.ANSWER_MISMATCH, "another floor or IAK than was proven", place=answer.device_id)
        for name, certificate, key in (
            ("LAK", answer.lak_certificate, public_key(Public.parse(asked.made.lak_public))),
            ("LDevID", answer.ldevid_certificate, public_key(Public.parse(asked.made.ldevid.public))),
            ("client", answer.client_certificate, self._client_key),
        ):
            if load(certificate).public_key != key:
                raise Refusal(refusals.ANSWER_MISMATCH, "a certificate of another key", place=name)

    def _activated(self, challenge: Challenge) -> bytes:
        with self._primary(EK_TEMPLATE) as ek, self._held(attestation_key(self._tpm)) as lak:
            return self._tpm.activate_credential(lak, ek, challenge.credential, challenge.encrypted_secret)

    def _floor_base(self, asked: _Asked, approval: FloorApproval) -> int:
        """Where the floor's counter begins; it rises once, also where a proof is made again."""
        tpm, auth = self._tpm, asked.made.nv_auths["floor"]
        defined = tpm.nv_read_public(FLOOR_COUNTER)
        if defined is None or not NvPublic.parse(defined).attributes & NvAttribute.WRITTEN:
            authority = software_public(self._floor_authority)
            tpm.nv_increment_approved(FLOOR_COUNTER, auth, approval, authority, ueid(asked.ek_hash))
        return int.from_bytes(tpm.nv_read(FLOOR_COUNTER, auth), "big")

    def _certified(self, made: Provisioned, qualifier: bytes) -> _FourAttests:
        """LDevID, IDevID, IAK and the floor's counter, each by the LAK."""
        tpm = self._tpm
        with self._held(attestation_key(tpm)) as lak:
            with self._held(load_ldevid(tpm, made.ldevid)) as ldevid:
                of_ldevid = tpm.certify(ldevid, lak, qualifier)
            with self._primary(IDEVID_TEMPLATE) as idevid:
                of_idevid = tpm.certify(idevid, lak, qualifier)
            with self._primary(IAK_TEMPLATE) as iak:
                of_iak = tpm.certify(iak, lak, qualifier)
            of_floor = tpm.nv_certify(FLOOR_COUNTER, made.nv_auths["floor"], lak, qualifier)
            return of_ldevid, of_idevid, of_iak, of_floor

    def _signed(self, record: Record) -> bytes:
        with self._primary(IDEVID_TEMPLATE) as idevid:
            signer = TpmSigner(self._tpm, idevid, self._tpm.read_public(idevid))
            return cose.sign1(record.encode(), signer, content_type=CONTENT_TYPE)

    def _primary(self, template: bytes) -> AbstractContextManager[KeyHandle]:
        return self._held(self._tpm.create_primary(template))

    @contextmanager
    def _held(self, key: KeyHandle) -> Iterator[KeyHandle]:
        try:
            yield key
        finally:
            self._tpm.flush(key)
