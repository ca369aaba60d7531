"""Requests to other certificate authorities that show where the key is: TCG-CSR-IDEVID, and attestation in PKCS#10.

Both say by TPM2_Certify that a key is in the TPM of an attestation key; that this one is in the TPM of an EK is for
MakeCredential to show (`crypto.tpm.make_credential`), and whose EK that is for its certificate.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from medvouch.attestation import refusals
from medvouch.attestation.key_roles import check_any_attestation_key, check_any_device_key, check_bound
from medvouch.attestation.provisioning import IAK_TEMPLATE, IDEVID_TEMPLATE
from medvouch.crypto import tpm as tpms
from medvouch.crypto.keys import PublicKey, ecdsa_der, spki
from medvouch.crypto.requests import verify_request
from medvouch.errors import InputError, Refusal
from medvouch.formats import der
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.csr_attestation import Bundle, CertifyStatement, request_info
from medvouch.formats.csr_attestation import Request as CertificationRequest
from medvouch.formats.tcg_csr import CsrContent, IdevidCsr
from medvouch.formats.tpm import CertifyInfo, Signature, SignatureAlg, SignedAttest
from medvouch.formats.tpm_public import Public
from medvouch.ports import KeyHandle, Tpm

_ECDSA_WITH_SHA256 = der.encode(0x30, der.oid("1.2.840.10045.4.3.2"))
_COORDINATE = 32


@dataclass(frozen=True)
class VerifiedIdevidCsr:
    """A device's request for its IDevID and IAK certificates; built by `verify_idevid_csr` only.

    `ek_certificate`, model and serial number are as the device says; to issue anything, the EK must be shown to be
    that of a trusted vendor, and the IAK to be in its TPM.
    """

    content: CsrContent
    iak: PublicKey
    idevid: PublicKey


@dataclass(frozen=True)
class VerifiedRequest:
    """A certification request whose key is in the TPM of an attestation key; built by `verify_attested_request` only.

    `subject` is a DER Name, `public` the key's TPMT_PUBLIC, `certificates` (DER) what came along, unverified.
    """

    subject: bytes
    key: PublicKey
    public: Public
    certificates: tuple[bytes, ...]


def verify_idevid_csr(data: bytes) -> VerifiedIdevidCsr:
    """Judge a TCG_CSR_IDEVID.

    1. The IDevID signed it: `csr-signature-invalid`.
    2. The IAK is a restricted key bound to its TPM, the IDevID an unrestricted one: `ak-not-restricted`,
       `key-not-tpm-bound`, `key-attributes-wrong`.
    3. The IAK certified (TPM2_Certify) exactly that IDevID: `key-not-certified`.

    Raises InputError `csr-*`, `tpm-*`, and these.
    """
    csr = IdevidCsr.parse(data)
    content = CsrContent.parse(csr.content)
    signing, attest = Public.parse(content.signing_public), Public.parse(content.attest_public)
    idevid, iak = tpms.public_key(signing), tpms.public_key(attest)
    try:
        tpms.verify_signature(SignedAttest(csr.content, csr.signature), idevid)  # 1
    except Refusal as cause:
        raise Refusal(refusals.CSR_SIGNATURE_INVALID, cause.detail) from cause
    check_any_attestation_key(attest, name="IAK")  # 2
    check_any_device_key(signing, name="IDevID")
    certified = SignedAttest(content.signing_certify_info, content.signing_certify_signature)
    _check_certified(certified, iak, content.signing_public, "IDevID")  # 3
    return VerifiedIdevidCsr(content, iak, idevid)


def make_idevid_csr(tpm: Tpm, ek_certificate: bytes, product_model: str, product_serial: str) -> bytes:
    """The TCG_CSR_IDEVID of this TPM's IDevID and IAK (template H-2). Raises TpmFault."""
    with_idevid = tpm.create_primary(IDEVID_TEMPLATE)
    try:
        iak = tpm.create_primary(IAK_TEMPLATE)
        try:
            certified = tpm.certify(with_idevid, iak, b"")
            iak_public = tpm.read_public(iak)
        finally:
            tpm.flush(iak)
        content = CsrContent(
            hash_alg=HashAlg.SHA256,
            product_model=product_model.encode(),
            product_serial=product_serial.encode(),
            ca_data=b"",
            boot_event_log=b"",
            ek_certificate=ek_certificate,
            attest_public=iak_public,
            create_ticket=b"",
            attest_certify_info=b"",
            attest_certify_signature=b"",
            signing_public=tpm.read_public(with_idevid),
            signing_certify_info=certified.attest,
            signing_certify_signature=certified.signature,
        ).encode()
        raw = tpm.sign(with_idevid, hashlib.sha256(content).digest())
    finally:
        tpm.flush(with_idevid)
    parts = raw[:_COORDINATE], raw[_COORDINATE:]
    return IdevidCsr(content, Signature(SignatureAlg.ECDSA, HashAlg.SHA256, parts).encode()).encode()


def verify_attested_request(data: bytes, attestation_key: PublicKey) -> VerifiedRequest:
    """Judge a PKCS#10 request (DER) by the attestation key that is known to be in the TPM in question.

    1. The key that it is for signed it: `request-not-signed`.
    2. It carries one statement, of TPM2_Certify, over the public area of that key: `csr-statement-missing`,
       `key-not-certified`.
    3. The attestation key made that statement: `key-not-certified`.
    4. The key is bound to its TPM: `key-not-tpm-bound`.

    Raises InputError `certificate-*`, `tpm-*`, and these.
    """
    request, key = verify_request(data)  # 1
    public = verify_bundle(request.bundle, key, attestation_key)  # 2, 3, 4
    assert request.bundle is not None
    return VerifiedRequest(request.subject, key, public, request.bundle.certificates)


def verify_bundle(bundle: Bundle | None, key: PublicKey, attestation_key: PublicKey) -> Public:
    """Steps 2 to 4 of `verify_attested_request`, for requests of other forms; the key's public area."""
    if bundle is None or len(bundle.statements) != 1 or bundle.statements[0].public is None:  # 2
        raise Refusal(refusals.CSR_STATEMENT_MISSING, "not one TPM2_Certify statement with its key's public area")
    statement = bundle.statements[0]
    assert statement.public is not None
    public = Public.parse(statement.public)
    if tpms.public_key(public) != key:
        raise Refusal(refusals.KEY_NOT_CERTIFIED, "the statement is over another key than the request")
    signature = tpms.tpmt_signature(statement.signature, attestation_key, statement.attest, HashAlg.SHA256)
    _check_certified(SignedAttest(statement.attest, signature), attestation_key, statement.public, "request")  # 3
    check_bound(public, name="request")  # 4
    return public


def make_attested_request(
    tpm: Tpm, key: KeyHandle, attestation_key: KeyHandle, subject: bytes, certificates: tuple[bytes, ...] = ()
) -> bytes:
    """A PKCS#10 request (DER) for an unrestricted P-256 key of this TPM, with TPM2_Certify by its attestation key.

    `subject` is a DER Name; `certificates` (DER) are the attestation key's and its issuers'. Raises TpmFault.
    """
    public = tpm.read_public(key)
    certified = tpm.certify(key, attestation_key, b"")
    statement = CertifyStatement(certified.attest, certified.signature, public)
    encoded = spki(tpms.public_key(Public.parse(public)))
    info = request_info(subject, encoded, Bundle((statement,), certificates))
    signature = ecdsa_der(tpm.sign(key, hashlib.sha256(info).digest()), _COORDINATE)
    return CertificationRequest(info, subject, encoded, _ECDSA_WITH_SHA256, signature, None).encode()


def _check_certified(signed: SignedAttest, key: PublicKey, public: bytes, name: str) -> None:
    try:
        attest = tpms.verify_attest(signed, key).attest
    except (Refusal, InputError) as cause:
        raise Refusal(refusals.KEY_NOT_CERTIFIED, f"{cause.code}: {cause.detail}", place=name) from cause
    if not isinstance(attest.attested, CertifyInfo) or attest.attested.name != tpms.name(public):
        raise Refusal(refusals.KEY_NOT_CERTIFIED, "TPM2_Certify is over another object", place=name)
