"""Requests that the authority refuses: each a real gateway's with the one thing changed that its guard is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medvouch.attestation import refusals
from medvouch.attestation.enrolment import EnrolmentAuthority
from medvouch.attestation.provisioning import EK_TEMPLATE, LDEVID_TEMPLATE, PARENT_HANDLE, attestation_key
from medvouch.crypto import cose
from medvouch.crypto.ca import subject
from medvouch.crypto.certificates import DEVICE_ID, EK, TLS_CLIENT
from medvouch.crypto.keys import SoftwareSigner
from medvouch.crypto.tpm import public_key, software_public
from medvouch.errors import InputError, RefusalKind, TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.enrolment import CONTENT_TYPE, Challenge, Request, parse_verdict
from medvouch.formats.tpm_public import Curve, EccParameters, ObjectAttribute, Public, Scheme, SchemeAlg
from support.authorities import NOW, key, revoked, root
from support.enrolling import ENTROPY, ORDER, Gateway, World, payload, vendor
from support.refusing import assert_refused


def test_a_request_of_another_idevid(authority: EnrolmentAuthority, gateway: Gateway, genuine: Request) -> None:
    forged = cose.sign1(genuine.encode(), SoftwareSigner(key("stranger")), content_type=CONTENT_TYPE)
    assert_refused(refusals.REQUEST_SIGNATURE_INVALID, authority.challenge, forged, NOW)
    another_type = gateway.sign(genuine, content_type="application/eat+cwt")
    assert_refused(refusals.REQUEST_SIGNATURE_INVALID, authority.challenge, another_type, NOW)


def test_a_request_that_is_none(authority: EnrolmentAuthority, gateway: Gateway, genuine: Request) -> None:
    for message in (b"", genuine.encode(), gateway.sign(Challenge(bytes(32), b"", b"", bytes(32), b""))):
        with pytest.raises(InputError):
            authority.challenge(message, NOW)


def test_a_tpm_of_an_unknown_vendor(everybody: World, gateway: Gateway, request_message: bytes) -> None:
    authority = everybody.authority(gateway.entry, vendor_roots=[vendor("Other").root.certificate])
    refusal = assert_refused(refusals.EK_CHAIN_UNTRUSTED, authority.challenge, request_message, NOW)
    assert "certificate-untrusted" in refusal.detail


def test_an_ek_certificate_without_its_issuer(
    authority: EnrolmentAuthority, gateway: Gateway, genuine: Request
) -> None:
    message = gateway.sign(replace(genuine, ek_chain=()))
    assert_refused(refusals.EK_CHAIN_UNTRUSTED, authority.challenge, message, NOW)


@pytest.mark.parametrize("profile", [EK, TLS_CLIENT, DEVICE_ID], ids=lambda profile: profile.name)
def test_what_the_vendor_signed_otherwise(
    everybody: World, authority: EnrolmentAuthority, gateway: Gateway, genuine: Request, profile: Any
) -> None:
    """For another purpose, or for a TPM that it does not name."""
    ek, issuing = public_key(Public.parse(genuine.ek_public)), everybody.vendor.issuing
    certificate = issuing.issue(profile, ek, subject("EK"), issuing.validity(NOW, 9), ENTROPY.bytes(16))
    message = gateway.sign(replace(genuine, ek_certificate=certificate))
    refusal = assert_refused(refusals.EK_CHAIN_UNTRUSTED, authority.challenge, message, NOW)
    assert "certificate-purpose" in refusal.detail


def test_a_revoked_ek_certificate(everybody: World, gateway: Gateway, request_message: bytes, genuine: Request) -> None:
    listed = revoked(everybody.vendor.issuing, genuine.ek_certificate)
    authority = everybody.authority(gateway.entry, revocations=[listed])
    refusal = assert_refused(refusals.EK_CHAIN_UNTRUSTED, authority.challenge, request_message, NOW)
    assert "certificate-revoked" in refusal.detail


def test_a_software_key_under_the_certificate_of_an_ek(
    authority: EnrolmentAuthority, gateway: Gateway, genuine: Request
) -> None:
    """The secret would be encrypted to it."""
    point = Public.parse(software_public(key("stranger").public_key())).unique
    ours = replace(Public.parse(genuine.ek_public), unique=point).encode()
    message = gateway.sign(replace(genuine, ek_public=ours))
    assert_refused(refusals.EK_MISMATCH, authority.challenge, message, NOW)


def test_a_genuine_tpm_that_is_on_no_manifest(everybody: World, gateway: Gateway, request_message: bytes) -> None:
    authority = everybody.authority(replace(gateway.entry, ek_hash=bytes(32)))
    refusal = assert_refused(refusals.EK_NOT_ON_MANIFEST, authority.challenge, request_message, NOW)
    assert gateway.entry.ek_hash.hex() in refusal.detail


@pytest.mark.parametrize("change", [{"serial": "SN-0002"}, {"model": "gateway-2"}])
def test_another_serial_number_or_model_than_was_built(
    everybody: World, gateway: Gateway, request_message: bytes, change: dict[str, str]
) -> None:
    authority = everybody.authority(replace(gateway.entry, **change))
    assert_refused(refusals.MANIFEST_MISMATCH, authority.challenge, request_message, NOW)


def test_a_maker_that_is_not_trusted(everybody: World, gateway: Gateway, request_message: bytes) -> None:
    authority = everybody.authority(gateway.entry, maker_roots=[root("stranger").certificate])
    assert_refused(refusals.IDEVID_CHAIN_UNTRUSTED, authority.challenge, request_message, NOW)


def test_the_idevid_certificate_of_another_key_or_gateway(
    everybody: World, authority: EnrolmentAuthority, gateway: Gateway, genuine: Request
) -> None:
    idevid = public_key(Public.parse(genuine.idevid_public))
    for public, serial in ((key("stranger").public_key(), ORDER.serial), (idevid, "SN-0002")):
        certificate = everybody.maker.identify(public, serial, ORDER.model, now=NOW - 9, entropy=ENTROPY)
        message = gateway.sign(replace(genuine, idevid_certificate=certificate))
        assert_refused(refusals.IDEVID_MISMATCH, authority.challenge, message, NOW)


def test_a_second_enrolment(everybody: World, gateway: Gateway, request_message: bytes) -> None:
    authority = everybody.authority(gateway.entry, enrolled={gateway.entry.ek_hash})
    assert_refused(refusals.EK_ALREADY_ENROLLED, authority.challenge, request_message, NOW)


def changed(public: bytes, *, drop: int = 0, add: int = 0, **others: Any) -> bytes:
    """The same key, said to be of another kind."""
    parsed = Public.parse(public)
    return replace(parsed, attributes=ObjectAttribute(parsed.attributes & ~drop | add), **others).encode()


IN_SERVICE = ("lak_public", "ldevid_public", "iak_public")
UNBOUND = [
    {"drop": bit}
    for bit in (ObjectAttribute.FIXED_TPM, ObjectAttribute.FIXED_PARENT, ObjectAttribute.SENSITIVE_DATA_ORIGIN)
]
WRONG = [
    {"drop": ObjectAttribute.SIGN},
    {"add": ObjectAttribute.DECRYPT},
    {"add": ObjectAttribute.X509_SIGN},
    {"name_alg": HashAlg.SHA384},
    {"parameters": EccParameters(None, Scheme(SchemeAlg.ECDSA, HashAlg.SHA256), Curve.P384)},
    {"parameters": EccParameters(None, None, Curve.P256)},
]


@pytest.mark.parametrize(
    ("field", "change", "kind"),
    [
        ("lak_public", {"drop": ObjectAttribute.RESTRICTED}, refusals.AK_NOT_RESTRICTED),
        ("iak_public", {"drop": ObjectAttribute.RESTRICTED}, refusals.AK_NOT_RESTRICTED),
        ("ldevid_public", {"add": ObjectAttribute.RESTRICTED}, refusals.KEY_ATTRIBUTES_WRONG),
        ("idevid_public", {"add": ObjectAttribute.RESTRICTED}, refusals.KEY_ATTRIBUTES_WRONG),
        ("idevid_public", UNBOUND[0], refusals.KEY_NOT_TPM_BOUND),
        *[(field, change, refusals.KEY_NOT_TPM_BOUND) for field in IN_SERVICE for change in UNBOUND],
        *[(field, change, refusals.KEY_ATTRIBUTES_WRONG) for field in IN_SERVICE for change in WRONG],
    ],
)
def test_keys_of_the_wrong_kind(
    authority: EnrolmentAuthority,
    gateway: Gateway,
    genuine: Request,
    field: str,
    change: dict[str, Any],
    kind: RefusalKind,
) -> None:
    message = gateway.sign(replace(genuine, **{field: changed(getattr(genuine, field), **change)}))
    refusal = assert_refused(kind, authority.challenge, message, NOW)
    assert refusal.place.lower() == field.removesuffix("_public")


def test_a_real_unrestricted_key_as_attestation_key(
    authority: EnrolmentAuthority, gateway: Gateway, genuine: Request
) -> None:
    parent = gateway.tpm.persistent(PARENT_HANDLE)
    assert parent is not None
    unrestricted = gateway.tpm.create(parent, LDEVID_TEMPLATE)
    gateway.tpm.flush(parent)
    message = gateway.sign(replace(genuine, lak_public=unrestricted.public))
    assert_refused(refusals.AK_NOT_RESTRICTED, authority.challenge, message, NOW)


def test_a_client_key_that_is_none(authority: EnrolmentAuthority, gateway: Gateway, genuine: Request) -> None:
    with pytest.raises(InputError, match="key-malformed"):
        authority.challenge(gateway.sign(replace(genuine, client_key=b"\x30\x00")), NOW)


def test_an_attestation_key_of_another_tpm_opens_no_credential(
    everybody: World, authority: EnrolmentAuthority, gateway: Gateway, genuine: Request, tmp_path: Path
) -> None:
    """A laptop's LAK beside the gateway's EK: neither TPM opens what is made for both."""
    with everybody.gateway(tmp_path / "laptop") as laptop:
        foreign = Request.parse(payload(laptop.enrollee().request()))
        message, _ = authority.challenge(gateway.sign(replace(genuine, lak_public=foreign.lak_public)), NOW)
        challenge = parse_verdict(payload(message))
        assert isinstance(challenge, Challenge)
        for tpm in (gateway.tpm, laptop.tpm):
            lak, ek = attestation_key(tpm), tpm.create_primary(EK_TEMPLATE)
            with pytest.raises(TpmFault, match="ActivateCredential"):
                tpm.activate_credential(lak, ek, challenge.credential, challenge.encrypted_secret)
            tpm.flush(lak)
            tpm.flush(ek)
