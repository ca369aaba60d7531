"""Signatures at the end of files in IMA lists: those of openssl and of the kernel's sign-file, and no others."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from medvouch.crypto import refusals
from medvouch.crypto.ima_signatures import ImaKey, SignedFile, verify_file
from medvouch.crypto.keys import load_spki
from medvouch.formats import der, ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cms import Algorithm, IssuerAndSerial, SignedData
from medvouch.formats.hashing import digest
from medvouch.formats.ima import Entry
from medvouch.formats.ima_signature import OF_FILE, OF_METADATA, ImaSignature
from support.refusing import assert_input_refused, assert_refused

FILE = b"\x7fELF a kernel module"
ECDSA = ec.generate_private_key(ec.SECP256R1())
HOLDERS = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ecdsa": ECDSA,
    "ecdsa-384": ec.generate_private_key(ec.SECP384R1()),
}
BARE = [ImaKey.of_key(holder.public_key()) for holder in HOLDERS.values()]
NO_ATTRIBUTES = ("-noattr", "-nocerts")

Sign = Callable[..., bytes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys, a certificate of each, and the file."""
    place = tmp_path_factory.mktemp("modules")
    (place / "file").write_bytes(FILE)
    for name, holder in HOLDERS.items():
        pem = holder.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (place / f"{name}.key").write_bytes(pem)
        openssl(place, "req", "-x509", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.crt")
    return place


def openssl(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, check=True).stdout


@pytest.fixture
def sign(folder: Path) -> Sign:
    """A detached signature of FILE by `openssl cms` or `openssl smime`, in DER."""

    def signed(name: str, *options: str, md: str = "sha256", tool: str = "cms") -> bytes:
        by = ("-signer", f"{name}.crt", "-inkey", f"{name}.key", "-md", md)
        return openssl(folder, tool, "-sign", "-binary", "-outform", "DER", "-in", "file", *by, *options)

    return signed


@pytest.fixture
def certified(folder: Path) -> Callable[[str], ImaKey]:
    """The key of a certificate."""

    def key(name: str) -> ImaKey:
        return ImaKey.of_certificate(openssl(folder, "x509", "-in", f"{name}.crt", "-outform", "DER"))

    return key


def entry(appended: bytes, attribute: bytes = b"", *, file: bytes = FILE, label: str = "sha256") -> Entry:
    """As the kernel lists a file with this signature behind it; d-ng is of both, d-modsig of the file alone."""
    whole = b"sha256:\0" + hashlib.sha256(file + appended).digest()
    alone = label.encode() + b":\0" + digest(HashAlg.of(label.replace("-", "_")), file)
    return ima.make(5, 10, "ima-modsig", (whole, b"/lib/x.ko\0", attribute, alone, appended))


# --- what holds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["cms", "smime"])
@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.parametrize("md", ["sha256", "sha512"])
def test_what_openssl_signs(sign: Sign, name: str, md: str, tool: str) -> None:
    signed = verify_file(entry(sign(name, *NO_ATTRIBUTES, md=md, tool=tool), label=md), BARE)
    known = ImaKey.of_key(HOLDERS[name].public_key())
    expected = SignedFile("/lib/x.ko", HashAlg.of(md), hashlib.new(md, FILE).digest(), known, appended=True)
    assert signed == expected


@pytest.mark.parametrize("label", ["sha384", "sha3-256", "sha3-384", "sha3-512"])
def test_other_hashes(sign: Sign, label: str) -> None:
    assert verify_file(entry(sign("rsa", *NO_ATTRIBUTES, md=label), label=label), BARE).appended


def test_signers_are_found_by_their_key_identifier(sign: Sign, certified: Callable[[str], ImaKey]) -> None:
    by_id = sign("ecdsa", "-keyid", *NO_ATTRIBUTES)
    assert isinstance(SignedData.parse(by_id).signer, bytes)
    known = certified("ecdsa")
    assert verify_file(entry(by_id), [*BARE, known]).key.key == known.key
    assert_refused(refusals.IMA_SIGNATURE_KEY_UNKNOWN, verify_file, entry(by_id), [certified("ecdsa-384")])


def test_signers_are_found_by_their_certificate(sign: Sign, certified: Callable[[str], ImaKey]) -> None:
    signature, known = sign("rsa", *NO_ATTRIBUTES), certified("rsa")
    assert verify_file(entry(signature), [known]).key == known
    assert known.named == SignedData.parse(signature).signer
    other = replace(known, named=IssuerAndSerial(der.encode(0x30), 1))
    refusal = assert_refused(refusals.IMA_SIGNATURE_KEY_UNKNOWN, verify_file, entry(signature), [other])
    assert "of rsa" in refusal.detail


# Made with scripts/sign-file of Linux 6.1 (linux-kbuild-6.1 of Debian 12) over b"hello\n": `sign-file -d sha256`, and
# `sign-file -k -d sha256`, which names the key by its identifier.
SIGN_FILE = {
    "by its certificate": (
        "30820122300d06092a864886f70d01010105000382010f003082010a0282010100a72fc540735a0c625c8f3c30f33a8a1c311174"
        "2c1b0ddb7d351ca14a08b2ed41f72bfcfcf7fb14533a751c4c8e78317cb3346229648616fbb2f7dcc83c4f4f89f1ef89b1620495"
        "fafed9d0e2a5fcd649934fb4ecab2432e138ce4a3d440819e52b49b2d11a71cea9889073b38fe7c2b7d546223cdb66de688f7567"
        "60d23480483ae39e4f6dcb3029458997391532b1a1d82da2bba690a1c33c72f5143f22c0c475a81a56dd56eb22394196cbbe7365"
        "59d506cae9daf3dc28155b27d3c57b5135302947d3cfa68b46a4475bb1a8022318d4d1af8b6ec6c8a9ba0ccfe911c4dcf901dcbc"
        "1791564e832917e0a930c425ac6d6b8017d1f3854c406f9af7dbc3f7a50203010001",
        "3082018906092a864886f70d010702a082017a30820176020101310d300b0609608648016503040201300b06092a864886f70d01"
        "0701318201533082014f020101302a30123110300e06035504030c076d6f64756c657302143fb06082336ca80064b709d6d554f8"
        "d77947a055300b0609608648016503040201300d06092a864886f70d0101010500048201004d9a8ade1bc77dbb559607936eb497"
        "06c84cee4e80709a6e6e981fdfa1c5206b2aa82d5b3aee1dd0177ec0d0b277c9c2ab9b9cd07a148534606df6e786e8512fa5e135"
        "ca035a335f572000b0cd760b6176a6a78a3717d0c19b0bf78e1b9797029024870469baeee8d2ed505eec108d7eeba296c16a549e"
        "558f01a553e3c5cd8a29589f5e9f63c1d748eab2c0a1323e3d5fc7b90b71682c015c4d80989ba14adb029297568672ba20e9488a"
        "d857e47dfc0e4f6c93f44908fd9e3f12c05d184ba099a3ba648cd764981c0ee9436de0b5900c2f8107ac370bf51dd9359e94870f"
        "66cd55bb349d5257426aab3a6f57bd41329228518c0edc117717f002a6c3893e87",
    ),
    "by its key identifier": (
        "3059301306072a8648ce3d020106082a8648ce3d0301070342000493d9369dbac0c5f72586219988fa1228c98321bb5639f5330d"
        "4bafe1f4e1247918a04ce8574b08d012a92f7734d81c9078d55d953022cb273c221af0881de9cc",
        "3081b006092a864886f70d010702a081a230819f020103310d300b0609608648016503040201300b06092a864886f70d01070131"
        "7e307c020103801415072cbf76f52a67f8eb0738219b34e42816cee7300b0609608648016503040201300a06082a8648ce3d0403"
        "0204483046022100a4a26fa117408e4f67732507a22c7d92fc754e37f0f6cf631bfc4e28b70927ad022100df646e58dcccb6a5be"
        "6001ec2417d9ddec001a4aa5e2c9e178fcb6792806735d",
    ),
}


@pytest.mark.parametrize(("key", "signature"), SIGN_FILE.values(), ids=SIGN_FILE)
def test_what_sign_file_signs(key: str, signature: str) -> None:
    known, made = ImaKey.of_key(load_spki(bytes.fromhex(key))), bytes.fromhex(signature)
    assert SignedData.parse(made).encode() == made
    assert verify_file(entry(made, file=b"hello\n"), [known]).key == known
    assert_refused(refusals.IMA_SIGNATURE_INVALID, verify_file, entry(made, file=b"hellO\n"), [known])


def attribute(signed: bytes, key_id: bytes = ImaKey.of_key(ECDSA.public_key()).id) -> bytes:
    value = ECDSA.sign(signed, ec.ECDSA(Prehashed(hashes.SHA256())))
    return ImaSignature(OF_FILE, HashAlg.SHA256, key_id, value).encode()


def test_the_signature_in_the_attribute_comes_first(sign: Sign) -> None:
    appended = sign("rsa", *NO_ATTRIBUTES)
    whole = hashlib.sha256(FILE + appended).digest()
    assert not verify_file(entry(appended, attribute(whole)), BARE).appended
    assert_refused(refusals.IMA_SIGNATURE_INVALID, verify_file, entry(appended, attribute(bytes(32))), BARE)


def test_the_one_at_the_end_counts_where_the_other_is_of_no_known_key(sign: Sign) -> None:
    unknown = attribute(bytes(32), b"\1\2\3\4")
    assert verify_file(entry(sign("rsa", *NO_ATTRIBUTES), unknown), BARE).appended
    assert_refused(refusals.IMA_SIGNATURE_KEY_UNKNOWN, verify_file, entry(b"", unknown), BARE)


def test_a_signature_of_metadata_is_none_of_the_file(sign: Sign) -> None:
    metadata = bytes((OF_METADATA, 2, 4)) + bytes(4) + b"\0\1x"
    assert verify_file(entry(sign("rsa", *NO_ATTRIBUTES), metadata), BARE).appended
    assert_refused(refusals.IMA_SIGNATURE_MISSING, verify_file, entry(b"", metadata), BARE)


# --- what does not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOLDERS)
def test_a_file_that_was_altered(sign: Sign, name: str) -> None:
    altered = entry(sign(name, *NO_ATTRIBUTES), file=FILE + b"!")
    refusal = assert_refused(refusals.IMA_SIGNATURE_INVALID, verify_file, altered, BARE)
    assert refusal.place == "ima entry 5"


def test_a_key_that_nobody_knows(sign: Sign) -> None:
    """Keys of another kind are not even tried; one of this kind might be it, and is not."""
    signed = entry(sign("ecdsa", *NO_ATTRIBUTES))
    assert_refused(refusals.IMA_SIGNATURE_KEY_UNKNOWN, verify_file, signed, BARE[:1])
    assert_refused(refusals.IMA_SIGNATURE_INVALID, verify_file, signed, BARE[2:])


def test_a_signature_over_attributes(sign: Sign) -> None:
    """Then d-modsig is the digest of the attributes, so that the signature would hold, and say nothing of the file."""
    signature = sign("rsa", "-nocerts")
    attributes = b"\x31" + SignedData.parse(signature).signed_attributes[1:]
    over = entry(signature, file=attributes)
    bare = SignedData.parse(signature)
    stripped = replace(bare, signed_attributes=b"").encode()
    assert verify_file(entry(stripped, file=attributes), BARE).appended, "what the attributes make of it"
    assert_refused(refusals.IMA_SIGNATURE_ATTRIBUTES, verify_file, over, BARE)


def test_certificates_inside(sign: Sign) -> None:
    assert_input_refused("cms-malformed", verify_file, entry(sign("rsa", "-noattr")), BARE)


def test_a_signature_with_the_file_inside(sign: Sign) -> None:
    assert_input_refused("cms-malformed", verify_file, entry(sign("rsa", "-nodetach", *NO_ATTRIBUTES)), BARE)


def test_two_signers(sign: Sign) -> None:
    twice = sign("rsa", "-signer", "ecdsa.crt", "-inkey", "ecdsa.key", *NO_ATTRIBUTES)
    assert_input_refused("cms-trailing", verify_file, entry(twice), BARE)


def test_rsa_pss(sign: Sign) -> None:
    """The kernel knows PKCS#1 v1.5 alone."""
    padded = sign("rsa", "-keyopt", "rsa_padding_mode:pss", *NO_ATTRIBUTES)
    assert_refused(refusals.IMA_SIGNATURE_ALGORITHM, verify_file, entry(padded), BARE)


def test_a_weak_hash(sign: Sign) -> None:
    weak = entry(sign("rsa", *NO_ATTRIBUTES, md="sha1"), label="sha1")
    assert_refused(refusals.IMA_SIGNATURE_ALGORITHM, verify_file, weak, BARE)


def test_the_digest_of_another_hash(sign: Sign) -> None:
    other = entry(sign("rsa", *NO_ATTRIBUTES), label="sha512")
    assert_refused(refusals.IMA_SIGNATURE_ALGORITHM, verify_file, other, BARE)


def test_no_digest_of_the_file_alone(sign: Sign) -> None:
    """A template of one's own may lack it."""
    alone = ima.make(0, 10, "n-ng|modsig", (b"/x\0", sign("rsa", *NO_ATTRIBUTES)))
    assert_refused(refusals.IMA_SIGNATURE_ALGORITHM, verify_file, alone, BARE)


def test_a_hash_that_the_signature_algorithm_does_not_name(sign: Sign) -> None:
    """Of ecdsa-with-SHA512 over SHA-256 nobody knows which was meant."""
    signed = SignedData.parse(sign("ecdsa", *NO_ATTRIBUTES))
    other = replace(signed, algorithm=Algorithm(der.oid("1.2.840.10045.4.3.4"))).encode()
    assert_refused(refusals.IMA_SIGNATURE_ALGORITHM, verify_file, entry(other), BARE)


@pytest.mark.parametrize("name", ["digest", "algorithm"])
def test_parameters_that_nobody_asked_for(sign: Sign, name: str) -> None:
    signed = SignedData.parse(sign("ecdsa", *NO_ATTRIBUTES))
    with_more = Algorithm(getattr(signed, name).oid, der.encode(0x30))
    changed = replace(signed, **{name: with_more}).encode()
    assert_refused(refusals.IMA_SIGNATURE_ALGORITHM, verify_file, entry(changed), BARE)


def test_no_signature() -> None:
    assert_refused(refusals.IMA_SIGNATURE_MISSING, verify_file, entry(b""), BARE)


def test_a_violation(sign: Sign) -> None:
    raced = entry(sign("rsa", *NO_ATTRIBUTES))._replace(template_hash=bytes(20))
    assert_refused(refusals.IMA_SIGNATURE_MISSING, verify_file, raced, BARE)
