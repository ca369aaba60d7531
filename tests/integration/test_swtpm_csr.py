"""Requests to other CAs by a real TPM, each lie about them refused; EKs of all templates open what is made for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from medvouch.adapters.tss import TssTpm
from medvouch.attestation import refusals
from medvouch.attestation.csr import (
    make_attested_request,
    make_idevid_csr,
    verify_attested_request,
    verify_idevid_csr,
)
from medvouch.attestation.ek_templates import EK_TEMPLATES, EkTemplate
from medvouch.attestation.key_roles import check_any_attestation_key, check_any_device_key
from medvouch.attestation.provisioning import (
    IAK_TEMPLATE,
    IDEVID_TEMPLATE,
    LAK_TEMPLATE,
    LDEVID_TEMPLATE,
    PARENT_TEMPLATE,
)
from medvouch.crypto import refusals as crypto_refusals
from medvouch.crypto.ca import subject
from medvouch.crypto.keys import PublicKey
from medvouch.crypto.requests import verify_request
from medvouch.crypto.tpm import make_credential, name, public_key
from medvouch.errors import TpmFault
from medvouch.formats import der
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.csr_attestation import Bundle, CertifyStatement, Request, request_info
from medvouch.formats.tcg_csr import CsrContent, IdevidCsr
from medvouch.formats.tpm import Attest, AttestType, CertifyInfo, PcrSelection, Signature, SignatureAlg
from medvouch.formats.tpm_public import ObjectAttribute, Public, RsaParameters
from medvouch.ports import KeyHandle
from support.evidence import CLOCK, signed
from support.refusing import assert_refused
from support.swtpms import powered
from support.tpms import OsEntropy

WHO = subject("a device").public_bytes()
SLOW = {"H-7"}
"""4096 bits take swtpm many seconds."""


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TssTpm]:
    with powered(tmp_path_factory.mktemp("csr") / "tpm") as (_, tpm):
        yield tpm


@pytest.fixture(scope="module")
def keys(tpm: TssTpm) -> tuple[KeyHandle, KeyHandle]:
    """A LAK and an LDevID, persistent: they leave room for others."""
    parent = tpm.create_primary(PARENT_TEMPLATE)
    lak, ldevid = (
        tpm.persist(tpm.load(parent, tpm.create(parent, template)), handle)
        for template, handle in ((LAK_TEMPLATE, 0x81010001), (LDEVID_TEMPLATE, 0x81010002))
    )
    tpm.flush(parent)
    return lak, ldevid


@pytest.mark.parametrize(
    "template", [each for each in EK_TEMPLATES if each.name not in SLOW], ids=lambda each: each.name
)
def test_an_ek_of_each_template_opens_its_credentials(tmp_path: Path, template: EkTemplate) -> None:
    """RSA 2048 and 3072, P-256, P-384 and P-521; SHA-256, -384 and -512; AES-128 and -256; both kinds of policies."""
    with powered(tmp_path / "tpm") as (_, tpm):
        ek = tpm.create_primary(template.public)
        public = Public.parse(tpm.read_public(ek))
        assert public.auth_policy == Public.parse(template.public).auth_policy
        iak = tpm.create_primary(IAK_TEMPLATE)
        secret = bytes(range(public.name_alg.size))
        credential, encrypted = make_credential(public, name(tpm.read_public(iak)), secret, OsEntropy().bytes)
        assert tpm.activate_credential(iak, ek, credential, encrypted) == secret
        idevid = tpm.create_primary(IDEVID_TEMPLATE)
        with pytest.raises(TpmFault, match="tpm-refused"):
            tpm.activate_credential(idevid, ek, credential, encrypted)


def test_rsa_eks_take_the_sizes_of_the_templates() -> None:
    sizes = {
        template.name: Public.parse(template.public).parameters.key_bits
        for template in EK_TEMPLATES
        if isinstance(Public.parse(template.public).parameters, RsaParameters)
    }
    assert sizes == {"L-1": 2048, "H-1": 2048, "H-6": 3072, "H-7": 4096}
    assert len({template.certificate_index for template in EK_TEMPLATES}) == len(EK_TEMPLATES)


def csr(tpm: TssTpm) -> IdevidCsr:
    return IdevidCsr.parse(make_idevid_csr(tpm, b"an EK certificate", "gateway-1", "SN-0001"))


def resigned(tpm: TssTpm, content: CsrContent, template: bytes = IDEVID_TEMPLATE) -> bytes:
    """Signed again, as the device could."""
    key = tpm.create_primary(template)
    try:
        raw = tpm.sign(key, hashlib.sha256(content.encode()).digest())
    finally:
        tpm.flush(key)
    signature = Signature(SignatureAlg.ECDSA, HashAlg.SHA256, (raw[:32], raw[32:])).encode()
    return IdevidCsr(content.encode(), signature).encode()


def test_a_request_for_idevid_and_iak_certificates(tpm: TssTpm) -> None:
    verified = verify_idevid_csr(csr(tpm).encode())
    assert (verified.content.product_model, verified.content.product_serial) == (b"gateway-1", b"SN-0001")
    assert verified.content.ek_certificate == b"an EK certificate"
    for template, key in ((IDEVID_TEMPLATE, verified.idevid), (IAK_TEMPLATE, verified.iak)):
        handle = tpm.create_primary(template)
        assert public_key(Public.parse(tpm.read_public(handle))) == key
        tpm.flush(handle)


def test_a_request_that_another_key_signed(tpm: TssTpm) -> None:
    genuine = csr(tpm)
    content = CsrContent.parse(genuine.content)
    forged = IdevidCsr(replace(content, product_serial=b"SN-0002").encode(), genuine.signature)
    assert_refused(refusals.CSR_SIGNATURE_INVALID, verify_idevid_csr, forged.encode())


def test_keys_of_a_request_that_are_not_as_they_should_be(tpm: TssTpm, keys: tuple[KeyHandle, KeyHandle]) -> None:
    content = CsrContent.parse(csr(tpm).content)
    unrestricted = replace(content, attest_public=content.signing_public)
    assert_refused(refusals.AK_NOT_RESTRICTED, verify_idevid_csr, resigned(tpm, unrestricted))
    other_iak = replace(content, attest_public=tpm.read_public(keys[0]))
    assert_refused(refusals.KEY_NOT_CERTIFIED, verify_idevid_csr, resigned(tpm, other_iak))
    iak = tpm.create_primary(IAK_TEMPLATE)
    quote = tpm.quote(iak, b"", PcrSelection.of({HashAlg.SHA256: [0]}))
    itself = tpm.certify(iak, iak, b"")
    tpm.flush(iak)
    for other in (quote, itself):
        forged = replace(content, signing_certify_info=other.attest, signing_certify_signature=other.signature)
        assert_refused(refusals.KEY_NOT_CERTIFIED, verify_idevid_csr, resigned(tpm, forged))


@pytest.fixture(scope="module")
def request_(tpm: TssTpm, keys: tuple[KeyHandle, KeyHandle]) -> bytes:
    return make_attested_request(tpm, keys[1], keys[0], WHO, (b"\x30\x00",))


def signed_by(key: ec.EllipticCurvePrivateKey, bundle: Bundle) -> bytes:
    """A request for a software key with this bundle."""
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = request_info(WHO, spki, bundle)
    algorithm = der.encode(0x30, der.oid("1.2.840.10045.4.3.2"))
    return Request(info, WHO, spki, algorithm, key.sign(info, ec.ECDSA(hashes.SHA256())), None).encode()


def test_an_attested_request(tpm: TssTpm, keys: tuple[KeyHandle, KeyHandle], request_: bytes) -> None:
    lak, ldevid = (public_key(Public.parse(tpm.read_public(key))) for key in keys)
    verified = verify_attested_request(request_, lak)
    assert (verified.key, verified.subject, verified.certificates) == (ldevid, WHO, (b"\x30\x00",))
    parsed = x509.load_der_x509_csr(request_)
    assert parsed.is_signature_valid, "others read it too"
    assert parsed.subject.public_bytes() == WHO
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert_refused(refusals.KEY_NOT_CERTIFIED, verify_attested_request, request_, other)


SOFTWARE = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def lak(tpm: TssTpm, keys: tuple[KeyHandle, KeyHandle]) -> PublicKey:
    return public_key(Public.parse(tpm.read_public(keys[0])))


@pytest.fixture(scope="module")
def statement(request_: bytes) -> CertifyStatement:
    """That of the real key."""
    bundle = Request.parse(request_).bundle
    assert bundle is not None
    (only,) = bundle.statements
    return only


def test_a_software_key_beside_the_statement_of_a_real_one(lak: PublicKey, statement: CertifyStatement) -> None:
    forged = signed_by(SOFTWARE, Bundle((statement,)))
    assert_refused(refusals.KEY_NOT_CERTIFIED, verify_attested_request, forged, lak)


NOT_ONE: dict[str, Callable[[CertifyStatement], tuple[CertifyStatement, ...]]] = {
    "none": lambda _: (),
    "two": lambda statement: (statement, statement),
    "one of no public area": lambda statement: (replace(statement, public=None),),
}


@pytest.mark.parametrize("statements", NOT_ONE.values(), ids=NOT_ONE)
def test_requests_that_show_nothing(
    lak: PublicKey,
    statement: CertifyStatement,
    statements: Callable[[CertifyStatement], tuple[CertifyStatement, ...]],
) -> None:
    forged = signed_by(SOFTWARE, Bundle(statements(statement)))
    assert_refused(refusals.CSR_STATEMENT_MISSING, verify_attested_request, forged, lak)


def test_a_software_key_under_the_statement_of_a_real_one(lak: PublicKey, statement: CertifyStatement) -> None:
    numbers = SOFTWARE.public_key().public_numbers()
    point = (numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))
    public = replace(Public.parse(LDEVID_TEMPLATE), unique=point).encode()
    forged = signed_by(SOFTWARE, Bundle((replace(statement, public=public),)))
    assert_refused(refusals.KEY_NOT_CERTIFIED, verify_attested_request, forged, lak)


def test_a_key_that_might_leave_its_tpm_asks_for_nothing() -> None:
    """The statement is true, and does not help."""
    software, attestation = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    numbers = software.public_key().public_numbers()
    point = (numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))
    public = replace(Public.parse(LDEVID_TEMPLATE), unique=point)
    public = replace(public, attributes=public.attributes & ~ObjectAttribute.FIXED_TPM)
    info = CertifyInfo(name(public.encode()), name(public.encode()))
    certified = signed(Attest(AttestType.CERTIFY, info.name, b"", CLOCK, 1, info), attestation)
    statement = CertifyStatement(certified.attest, certified.signature, public.encode())
    forged = signed_by(software, Bundle((statement,)))
    assert_refused(refusals.KEY_NOT_TPM_BOUND, verify_attested_request, forged, attestation.public_key())


def test_a_request_that_its_key_did_not_sign(request_: bytes) -> None:
    parsed = Request.parse(request_)
    forged = replace(parsed, signature=parsed.signature[:-1] + bytes([parsed.signature[-1] ^ 1]))
    assert_refused(crypto_refusals.REQUEST_NOT_SIGNED, verify_request, forged.encode())


def test_roles_of_any_algorithm() -> None:
    for template in (IAK_TEMPLATE, LAK_TEMPLATE):
        larger = replace(Public.parse(template), name_alg=HashAlg.SHA384)
        check_any_attestation_key(larger, name="IAK")
        assert_refused(refusals.KEY_ATTRIBUTES_WRONG, check_any_device_key, larger, name="IDevID")
