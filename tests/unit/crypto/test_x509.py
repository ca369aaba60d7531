"""Chains: what is accepted, and each refusal with the smallest change that brings it about."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from medvouch.crypto import refusals
from medvouch.crypto.ca import LIST_LIFETIME, NO_EXPIRY, CertificateAuthority, Validity, subject
from medvouch.crypto.certificates import (
    ATTESTATION_KEY,
    DEVICE_ID,
    EK,
    QUIRK_SET_ORDER,
    TLS_CLIENT,
    TLS_SERVER,
    TPM_MANUFACTURER,
    TPM_MODEL,
    TPM_VERSION,
    Profile,
    load,
)
from medvouch.crypto.x509 import (
    MAX_INTERMEDIATES,
    TpmModel,
    VerifiedCertificate,
    tpm_model,
    verify_chain,
    verify_lak_certificate,
)
from medvouch.errors import InputError, Refusal
from medvouch.formats import der
from support.authorities import ALWAYS, DAY, NOW, issuing, key, root, serial
from support.refusing import assert_refused
from support.truncation import assert_every_truncation_refused


def tpm_named(manufacturer: str, version: str) -> x509.DirectoryName:
    values = {TPM_MANUFACTURER: manufacturer, TPM_MODEL: "model", TPM_VERSION: version}
    return x509.DirectoryName(x509.Name([x509.NameAttribute(oid, value) for oid, value in values.items()]))


TPM_NAME = tpm_named("id:4D564F55", "id:0001")


def leaf(profile: Profile = TLS_CLIENT, validity: Validity = ALWAYS, **kwargs) -> bytes:
    public = kwargs.pop("public", key("leaf").public_key())
    authority = kwargs.pop("authority", issuing("a"))
    return authority.issue(profile, public, subject("0123", serial="S1"), validity, serial(), **kwargs)


def check(
    certificate: bytes, *, profile: Profile = TLS_CLIENT, label: str = "a", at: int = NOW, intermediates=None, crls=()
) -> VerifiedCertificate:
    pool = issuing(label).chain if intermediates is None else intermediates
    return verify_chain(certificate, pool, [root(label).certificate], at, profile=profile, revocations=crls)


@pytest.mark.parametrize("profile", [EK, ATTESTATION_KEY, DEVICE_ID, TLS_CLIENT, TLS_SERVER], ids=lambda p: p.name)
def test_each_profile_is_accepted_as_itself_only(profile: Profile) -> None:
    certificate = leaf(profile)
    verified = check(certificate, profile=profile)
    assert (verified.common_name, verified.serial, verified.der) == ("0123", "S1", certificate)
    assert verified.chain == (certificate, issuing("a").certificate, root("a").certificate)
    assert verified.quirks == ()
    assert verified.not_after == ALWAYS.not_after
    for other in {EK, ATTESTATION_KEY, DEVICE_ID, TLS_CLIENT, TLS_SERVER} - {profile}:
        assert_refused(refusals.CERTIFICATE_PURPOSE, check, certificate, profile=other)


@pytest.mark.parametrize(
    "public", [rsa.generate_private_key(65537, 2048).public_key(), ed25519.Ed25519PrivateKey.generate().public_key()]
)
def test_other_keys_are_certified_too(public) -> None:
    profile = EK if isinstance(public, rsa.RSAPublicKey) else TLS_CLIENT
    assert check(leaf(profile, public=public), profile=profile).public_key == public


def test_an_ek_certificate_names_its_tpm() -> None:
    named = root("a").issue(EK, key("leaf").public_key(), x509.Name([]), ALWAYS, serial(), alternative_names=[TPM_NAME])
    assert tpm_model(check(named, profile=EK)) == TpmModel("id:4D564F55", "model", "id:0001")
    strange = [tpm_named("4D564F55", "id:1"), tpm_named("id:4D564F5", "id:0001"), tpm_named("id:4D564F55", "0001")]
    for names in ([], [x509.DNSName("x")], [x509.DirectoryName(subject("x"))], *([name] for name in strange)):
        verified = check(leaf(EK, alternative_names=names), profile=EK)
        assert_refused(refusals.CERTIFICATE_PURPOSE, tpm_model, verified)


def test_the_usage_of_an_ek_is_that_of_its_kind() -> None:
    """RSA for key encipherment, elliptic for key agreement (3.2.9); a certificate for the other is of no EK."""
    for public, wanted in (
        (key("leaf").public_key(), "key_agreement"),
        (rsa.generate_private_key(65537, 2048).public_key(), "key_encipherment"),
    ):
        for usage in ("key_agreement", "key_encipherment"):
            profile = replace(EK, usages=frozenset({usage}))
            named = leaf(profile, public=public, alternative_names=[TPM_NAME])
            verified = check(named, profile=EK)
            if usage == wanted:
                assert tpm_model(verified).model == "model"
            else:
                assert_refused(refusals.CERTIFICATE_PURPOSE, tpm_model, verified)


def test_without_a_chain_to_a_root() -> None:
    assert_refused(refusals.CERTIFICATE_UNTRUSTED, check, leaf(), label="b")
    assert_refused(refusals.CERTIFICATE_UNTRUSTED, check, leaf(), intermediates=[])


def test_a_root_of_the_same_name_and_another_key() -> None:
    namesake = CertificateAuthority.root(subject("a root"), key("namesake"), ALWAYS, serial())
    assert_refused(refusals.CERTIFICATE_UNTRUSTED, check, leaf(authority=namesake))


def test_a_changed_byte_of_the_signed_part() -> None:
    certificate = bytearray(leaf())
    place = bytes(certificate).index(b"0123")
    certificate[place] ^= 1
    assert_refused(refusals.CERTIFICATE_UNTRUSTED, check, bytes(certificate))


def test_validity_begins() -> None:
    certificate = leaf(validity=Validity(NOW - DAY, NOW + DAY))
    check(certificate, at=NOW - DAY)
    assert_refused(refusals.CERTIFICATE_NOT_YET_VALID, check, certificate, at=NOW - DAY - 1)


def test_validity_ends() -> None:
    certificate = leaf(validity=Validity(NOW - DAY, NOW + DAY))
    check(certificate, at=NOW + DAY)
    assert_refused(refusals.CERTIFICATE_EXPIRED, check, certificate, at=NOW + DAY + 1)


@pytest.mark.parametrize("validity", [ALWAYS, Validity(NOW - DAY, NO_EXPIRY)])
def test_validity_of_issuer_and_root(validity: Validity) -> None:
    assert_refused(refusals.CERTIFICATE_EXPIRED, check, leaf(validity=validity), at=ALWAYS.not_after + 1)


@pytest.mark.parametrize("missing", [x509.BasicConstraints, x509.KeyUsage])
def test_an_issuer_that_is_no_authority(missing: type[x509.ExtensionType]) -> None:
    """A leaf that signs, and near misses: only one of the two extensions says that it may."""
    attacker = CertificateAuthority(leaf(authority=root("a")), key("leaf"))
    like_leaf = [each for each in extensions_of(attacker.certificate) if isinstance(each[0], missing)]
    like_authority = [each for each in extensions_of(issuing("a").certificate)[1:3] if not isinstance(each[0], missing)]
    near_miss = CertificateAuthority(custom(root("a"), *like_leaf, *like_authority), key("custom"))
    unsaid = CertificateAuthority(custom(root("a"), *like_authority), key("custom"))
    for issuer in (attacker, near_miss, unsaid):
        pool = [issuer.certificate]
        assert_refused(refusals.CERTIFICATE_ISSUER_INVALID, check, leaf(authority=issuer), intermediates=pool)


def test_an_authority_below_one_that_may_issue_to_end_entities_only() -> None:
    below = issuing("a").subordinate(subject("below"), key("below"), ALWAYS, serial())
    assert len(below.chain) == 2
    assert_refused(refusals.CERTIFICATE_ISSUER_INVALID, check, leaf(authority=below), intermediates=below.chain)


def test_an_authority_as_leaf() -> None:
    assert_refused(refusals.CERTIFICATE_PURPOSE, check, issuing("a").certificate)


def custom(issuer: CertificateAuthority, *extensions: tuple[x509.ExtensionType, bool], algorithm=None, public=None):
    """A certificate with exactly these extensions."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject("custom"))
        .issuer_name(load(issuer.certificate).parsed.subject)
        .public_key(public or key("custom").public_key())
        .serial_number(7)
        .not_valid_before(datetime.fromtimestamp(NOW, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + DAY, UTC))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.private_key, algorithm or hashes.SHA256()).public_bytes(Encoding.DER)


def below_custom(private, algorithm, pad) -> bytes:
    """A leaf that names `custom` as its issuer, signed by this key."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject("leaf"))
        .issuer_name(subject("custom"))
        .public_key(key("leaf").public_key())
        .serial_number(9)
        .not_valid_before(datetime.fromtimestamp(NOW, UTC))
        .not_valid_after(datetime.fromtimestamp(NOW + DAY, UTC))
    )
    for extension, critical in extensions_of(leaf())[:4]:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(private, algorithm, rsa_padding=pad).public_bytes(Encoding.DER)


def extensions_of(certificate: bytes) -> list[tuple[x509.ExtensionType, bool]]:
    return [(each.value, each.critical) for each in load(certificate).parsed.extensions]


@pytest.mark.parametrize(
    ("purpose", "accepted"),
    [
        (ExtendedKeyUsageOID.CLIENT_AUTH, True),
        (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, True),
        (ExtendedKeyUsageOID.SERVER_AUTH, False),
    ],
)
def test_the_purposes_of_an_authority_bind_its_certificates(purpose: ObjectIdentifier, accepted: bool) -> None:
    extensions = [*extensions_of(issuing("a").certificate), (x509.ExtendedKeyUsage([purpose]), True)]
    authority = CertificateAuthority(custom(root("a"), *extensions[:3], extensions[-1]), key("custom"))
    certificate = leaf(authority=authority)
    if accepted:
        check(certificate, intermediates=[authority.certificate])
    else:
        assert_refused(refusals.CERTIFICATE_ISSUER_INVALID, check, certificate, intermediates=[authority.certificate])


def test_unknown_critical_extensions_are_refused_and_others_passed_over() -> None:
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    extensions = extensions_of(leaf())
    check(custom(issuing("a"), *extensions, (unknown, False)))
    assert_refused(refusals.CERTIFICATE_EXTENSION_UNKNOWN, check, custom(issuing("a"), *extensions, (unknown, True)))


def test_no_key_usage_is_no_permission() -> None:
    extensions = [each for each in extensions_of(leaf()) if not isinstance(each[0], x509.KeyUsage)]
    assert_refused(refusals.CERTIFICATE_PURPOSE, check, custom(issuing("a"), *extensions))


def test_weak_keys() -> None:
    with_curve = leaf(public=ec.generate_private_key(ec.SECP192R1()).public_key())
    assert_refused(refusals.CERTIFICATE_ALGORITHM, check, with_curve)
    assert_refused(
        refusals.CERTIFICATE_ALGORITHM, check, leaf(public=rsa.generate_private_key(65537, 1024).public_key())
    )


def test_a_signature_over_a_short_hash() -> None:
    short = custom(issuing("a"), *extensions_of(leaf()), algorithm=hashes.SHA224())
    assert_refused(refusals.CERTIFICATE_ALGORITHM, check, short)


def test_sha1_is_refused_below_the_root_and_not_asked_of_it(vectors: Path) -> None:
    """Infineon's issuing CA is signed over SHA-1 by the root beside it."""
    issuer, top = (pem(vectors / "ek-roots" / name) for name in ("IFX_RSA_20I.pem", "IFX_RSA_RT.pem"))
    found = []
    for anchors in ([top], [issuer]):
        with pytest.raises(Refusal) as caught:
            verify_chain(issuer, [], anchors, 1_500_000_000, profile=EK)
        found.append(caught.value.kind)
    assert found == [refusals.CERTIFICATE_ALGORITHM, refusals.CERTIFICATE_UNTRUSTED]


def test_rsa_issuers_with_both_paddings_and_ed25519() -> None:
    ec_root = root("a")
    for private, pad in [
        (rsa.generate_private_key(65537, 2048), padding.PKCS1v15()),
        (rsa.generate_private_key(65537, 2048), padding.PSS(padding.MGF1(hashes.SHA256()), 32)),
        (ed25519.Ed25519PrivateKey.generate(), None),
    ]:
        authority = custom(ec_root, *extensions_of(issuing("a").certificate)[1:3], public=private.public_key())
        certificate = below_custom(private, hashes.SHA256() if pad else None, pad)
        check(certificate, intermediates=[authority])
        forged = bytearray(certificate)
        forged[-1] ^= 1
        assert_refused(refusals.CERTIFICATE_UNTRUSTED, check, bytes(forged), intermediates=[authority])


def test_an_issuers_key_too_small_for_the_hash() -> None:
    """It makes `cryptography` raise ValueError, before it looks at the signature."""
    modulus = (1 << 511) | int.from_bytes(bytes(range(63)), "big") | 1
    tiny = rsa.RSAPublicNumbers(65537, modulus).public_key()
    authority = custom(root("a"), *extensions_of(issuing("a").certificate)[1:3], public=tiny)
    pad = padding.PSS(padding.MGF1(hashes.SHA512()), 64)
    certificate = below_custom(rsa.generate_private_key(65537, 2048), hashes.SHA512(), pad)
    assert_refused(refusals.CERTIFICATE_UNTRUSTED, check, certificate, intermediates=[authority])


def test_of_several_paths_the_one_that_holds_is_taken() -> None:
    expired = root("a").subordinate(
        subject("a issuing"), key("a issuing"), Validity(NOW - 9 * DAY, NOW - DAY), serial()
    )
    certificate = leaf()
    check(certificate, intermediates=[expired.certificate, issuing("a").certificate])
    assert_refused(refusals.CERTIFICATE_EXPIRED, check, certificate, intermediates=[expired.certificate])


def test_more_intermediates_than_allowed() -> None:
    with pytest.raises(InputError, match="certificate-limit"):
        check(leaf(), intermediates=[issuing("a").certificate] * (MAX_INTERMEDIATES + 1))


def test_a_path_longer_than_allowed() -> None:
    authority = root("long")
    chain: list[bytes] = []
    for depth in range(4):
        made = custom_authority(authority, depth)
        authority = made
        chain.append(made.certificate)
    certificate = leaf(authority=authority)
    assert_refused(refusals.CERTIFICATE_UNTRUSTED, check, certificate, label="long", intermediates=chain)
    check(leaf(authority=CertificateAuthority(chain[2], key("depth 2"))), label="long", intermediates=chain[:3])


def custom_authority(issuer: CertificateAuthority, depth: int) -> CertificateAuthority:
    name, private = subject(f"depth {depth}"), key(f"depth {depth}")
    made = CertificateAuthority.root(name, private, ALWAYS, serial())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(load(issuer.certificate).parsed.subject)
        .public_key(private.public_key())
        .serial_number(depth + 1)
        .not_valid_before(datetime.fromtimestamp(ALWAYS.not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(ALWAYS.not_after, UTC))
    )
    for extension, critical in extensions_of(made.certificate)[1:3]:
        builder = builder.add_extension(extension, critical=critical)
    return replace(made, certificate=builder.sign(issuer.private_key, hashes.SHA256()).public_bytes(Encoding.DER))


def crl(*serials: tuple[int, int], signer=None, name="a issuing", next_update=NOW + DAY, extension=None) -> bytes:
    """A revocation list of (serial number, time) pairs."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(subject(name))
        .last_update(datetime.fromtimestamp(NOW - 9 * DAY, UTC))
        .next_update(datetime.fromtimestamp(next_update, UTC))
    )
    for number, when in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(number)
        builder = builder.add_revoked_certificate(entry.revocation_date(datetime.fromtimestamp(when, UTC)).build())
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(signer or key("a issuing"), hashes.SHA256()).public_bytes(Encoding.DER)


def test_revocation_counts_from_its_time_on() -> None:
    certificate = leaf()
    number = load(certificate).parsed.serial_number
    check(certificate, crls=[crl((1, NOW)), crl((number, NOW + 1)), crl(name="other", signer=key("other"))])
    assert_refused(refusals.CERTIFICATE_REVOKED, check, certificate, crls=[crl((1, NOW)), crl((number, NOW))])


def test_a_list_as_our_authorities_make_them() -> None:
    certificate = leaf()
    number = load(certificate).parsed.serial_number
    authority = issuing("a")
    check(certificate, crls=[authority.revocation_list({}, NOW), authority.revocation_list({number: NOW + 1}, NOW)])
    revoked = authority.revocation_list({1: NOW, number: NOW}, NOW)
    assert_refused(refusals.CERTIFICATE_REVOKED, check, certificate, crls=[revoked])
    outdated = authority.revocation_list({}, NOW - LIST_LIFETIME - 1)
    assert_refused(refusals.REVOCATION_UNKNOWN, check, certificate, crls=[outdated])
    check(certificate, crls=[authority.revocation_list({}, NOW - LIST_LIFETIME)])


def test_a_revoked_issuer() -> None:
    number = load(issuing("a").certificate).parsed.serial_number
    revoked = crl((number, NOW), name="a root", signer=key("a root"))
    assert_refused(refusals.CERTIFICATE_REVOKED, check, leaf(), crls=[revoked])


@pytest.mark.parametrize(
    "change",
    [
        {"signer": key("other")},
        {"next_update": NOW - 1},
        {"extension": x509.DeltaCRLIndicator(1)},
    ],
)
def test_lists_that_prove_nothing(change: dict) -> None:
    assert_refused(refusals.REVOCATION_UNKNOWN, check, leaf(), crls=[crl(**change)])


def test_a_list_by_an_issuer_that_may_not_sign_lists() -> None:
    usage = x509.KeyUsage(
        **{
            **dict.fromkeys(
                [
                    "digital_signature",
                    "content_commitment",
                    "key_encipherment",
                    "data_encipherment",
                    "key_agreement",
                    "crl_sign",
                    "encipher_only",
                    "decipher_only",
                ],
                False,
            ),
            "key_cert_sign": True,
        }
    )
    authority = CertificateAuthority(
        custom(root("a"), (x509.BasicConstraints(True, 0), True), (usage, True)), key("custom")
    )
    lists = [crl(name="custom", signer=key("custom"))]
    with pytest.raises(Refusal) as caught:
        check(leaf(authority=authority), intermediates=[authority.certificate], crls=lists)
    assert caught.value.kind == refusals.REVOCATION_UNKNOWN


def untyped(data: bytes) -> bytes:
    """The first name's value becomes one of a type that there is not (UTF8String before)."""
    assert b"\x55\x04\x03\x0c" in data
    return data.replace(b"\x55\x04\x03\x0c", b"\x55\x04\x03\x00", 1)


def test_names_of_an_unknown_type() -> None:
    with pytest.raises(InputError, match="certificate-malformed"):
        check(untyped(leaf()))
    with pytest.raises(InputError, match="crl-malformed"):
        check(leaf(), crls=[untyped(crl())])


def test_unreadable_lists() -> None:
    for data, code in ((b"\x30\x00", "crl-malformed"), (bytes(4 * 1024 * 1024 + 1), "crl-limit")):
        with pytest.raises(InputError, match=code):
            check(leaf(), crls=[data])


def pem(path: Path) -> bytes:
    (body,) = re.findall("-----BEGIN CERTIFICATE-----(.*?)-----END", path.read_text(), re.DOTALL)
    return base64.b64decode(body)


def test_every_vendor_root_loads_and_is_an_anchor(vectors: Path) -> None:
    quirky = []
    for path in sorted((vectors / "ek-roots").glob("*.pem")):
        certificate = load(der.trim(pem(path) + b"\xff" * 100))
        assert certificate.parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        quirky += [path.stem] if certificate.quirks == (QUIRK_SET_ORDER,) else []
        with pytest.raises(Refusal) as caught:
            check(leaf(), intermediates=[certificate.der])
        assert caught.value.kind == refusals.CERTIFICATE_UNTRUSTED
    assert quirky == ["NTC1", "NTC2", "NUVO_0100", "NUVO_1110", "NUVO_1111", "NUVO_2110", "NUVO_2111"]


def test_chains_of_vendors_hold_over_a_quirk(vectors: Path) -> None:
    """A quirky root signed itself: its signature is over the bytes as they are, not as they should be."""
    top = pem(vectors / "ek-roots" / "NUVO_2110.pem")
    at = int((load(top).parsed.not_valid_before_utc + timedelta(days=1)).timestamp())
    with pytest.raises(Refusal) as caught:
        verify_chain(top, [], [top], at, profile=EK)
    assert caught.value.kind == refusals.CERTIFICATE_PURPOSE, "the signature held, and an authority is no EK"


def test_loading_refuses_what_is_no_certificate() -> None:
    certificate = leaf()
    assert_every_truncation_refused(load, certificate)
    for data, code in [
        (certificate + b"\x00", "trailing"),
        (b"\x04\x00", "malformed"),
        (b"\x30\x02\x30\x00", "malformed"),
        (b"\x30\x80\x00\x00", "malformed"),
        (b"\x30\x81\x01\x00", "malformed"),
        (b"\x30\x82\x00\x80" + bytes(128), "malformed"),
        (b"\x30\x83\x01\x00\x00" + bytes(65536), "limit"),
        (b"\x30\x82\x40\x01" + bytes(16385), "limit"),
        (b"\x1f\x01\x00", "malformed"),
    ]:
        with pytest.raises(InputError, match=f"certificate-{code}"):
            load(data)


def test_sets_nested_too_deep() -> None:
    data = b""
    for _ in range(20):
        data = b"\x30" + bytes([len(data)]) + data
    with pytest.raises(InputError, match="certificate-limit"):
        der.sort_sets(data)


SAMPLE = leaf()


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # of serial numbers below 1
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_mutated_certificate_is_refused_by_name(changes: list[tuple[int, int]]) -> None:
    certificate = bytearray(SAMPLE)
    for place, value in changes:
        certificate[place] = value
    if certificate == SAMPLE:
        check(bytes(certificate))
    else:
        with pytest.raises((InputError, Refusal)):
            check(bytes(certificate))


def test_a_lak_certificate_names_a_device() -> None:
    roots = [issuing("a").certificate]
    for name, device in (("0123456789abcdef" * 2, "0123456789abcdef" * 2), ("0123", "")):
        certificate = issuing("a").issue(ATTESTATION_KEY, key("lak").public_key(), subject(name), ALWAYS, serial())
        if device:
            verified = verify_lak_certificate(certificate, roots, NOW)
            assert (verified.device_id, verified.public_key) == (device, key("lak").public_key())
        else:
            assert_refused(refusals.CERTIFICATE_PURPOSE, verify_lak_certificate, certificate, roots, NOW)


def test_names_of_several_common_names_have_none() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.COMMON_NAME, "b")])
    certificate = issuing("a").issue(TLS_CLIENT, key("leaf").public_key(), name, ALWAYS, serial())
    assert check(certificate).common_name == ""
