"""SUIT envelopes against the examples of the drafts: the same bytes again, digests and signatures held."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.cli.main import main
from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey, SoftwareSigner, load_private_pem
from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.suit import Envelope, wrapped_digest
from medvouch.formats.suit_commands import Code, Command, Parameters
from medvouch.formats.suit_manifest import Manifest, Member, load_member
from medvouch.release.manifests import add_signature
from medvouch.update import processor, refusals
from medvouch.update.processor import DeviceClass
from medvouch.update.verification import RoleKeys, VerifiedEnvelope, verify_envelope
from support.authorities import key
from support.refusing import assert_refused
from support.truncation import assert_every_truncation_refused

UNSIGNED = [f"example{number}.0" for number in range(6)]
SIGNED = [*(f"example{number}.1" for number in range(6)), "example2.2"]
DEPENDENT = "example0_dependent"
DEPENDENCIES = ["example1_process", "example2_integrated"]
VENDOR = "fa6b4a53d5ad5fdfbe9de663e4d41ffe"
CLASS = "1492af1425695e48bf429b2d51f2ab45"
QUALITY = SoftwareSigner(key("quality"))
QUALITY_KEYS = RoleKeys([QUALITY.public_key])


def example(vectors: Path, name: str) -> bytes:
    return (vectors / "suit" / "manifest-spec" / "examples" / f"{name}.cbor").read_bytes()


def trust_domains(vectors: Path, name: str) -> bytes:
    return bytes.fromhex((vectors / "suit" / "multiple-trust-domains" / "examples" / f"{name}.hex").read_text())


@pytest.fixture
def draft_key(vectors: Path) -> PublicKey:
    """The one that both drafts sign their examples with."""
    pem = vectors / "suit" / "manifest-spec" / "examples" / "private_key.pem"
    return load_private_pem(pem.read_bytes()).public_key()


def approved(data: bytes, draft_key: PublicKey) -> VerifiedEnvelope:
    """An example, with the draft's key as release key and a quality key of ours that approved it."""
    return verify_envelope(add_signature(data, QUALITY), RoleKeys([draft_key]), QUALITY_KEYS)


@pytest.mark.parametrize("name", [*UNSIGNED, *SIGNED])
def test_the_same_bytes_again(vectors: Path, name: str) -> None:
    data = example(vectors, name)
    envelope = Envelope.parse(data)
    assert envelope.encode() == data
    manifest = Manifest.parse(envelope.manifest)
    assert manifest.encode() == envelope.manifest
    assert manifest.sequence_number == int(name[7])
    assert wrapped_digest(envelope.manifest) == envelope.digest
    assert len(envelope.signatures) == (name in SIGNED)
    assert_every_truncation_refused(Envelope.parse, data)
    assert_every_truncation_refused(Manifest.parse, envelope.manifest)


@pytest.mark.parametrize("name", UNSIGNED)
def test_what_nobody_signed_is_refused(vectors: Path, draft_key: PublicKey, name: str) -> None:
    data = example(vectors, name)
    assert_refused(refusals.MANIFEST_SIGNATURES_TOO_FEW, verify_envelope, data, RoleKeys([draft_key]), QUALITY_KEYS)


@pytest.mark.parametrize("name", SIGNED)
def test_the_draft_key_signed_the_digest(vectors: Path, draft_key: PublicKey, name: str) -> None:
    envelope = Envelope.parse(example(vectors, name))
    verified = cose.verify1(envelope.signatures[0], draft_key, detached=envelope.signed)
    assert verified.protected == {1: -7}
    assert cbor.decode(verified.payload) == [-16, envelope.digest]
    data = example(vectors, name)
    assert_refused(refusals.MANIFEST_QUALITY_MISSING, verify_envelope, data, RoleKeys([draft_key]), QUALITY_KEYS)


def test_severed_members_have_the_digests_of_the_manifest(vectors: Path, draft_key: PublicKey) -> None:
    envelope = Envelope.parse(example(vectors, "example2.2"))
    manifest = Manifest.parse(envelope.manifest)
    assert set(envelope.members) == set(manifest.severed) == {Member.INSTALL, Member.TEXT}
    assert {member: wrapped_digest(data) for member, data in envelope.members.items()} == manifest.severed
    assert load_member(Member.INSTALL, envelope.members[Member.INSTALL])[1:] == (
        Command(Code.FETCH, 2), Command(Code.IMAGE_MATCH, 15)
    )  # fmt: skip
    assert Envelope.parse(example(vectors, "example2.1")).members == {}


def test_what_an_example_says(vectors: Path) -> None:
    manifest = Manifest.parse(Envelope.parse(example(vectors, "example1.1")).manifest)
    digest = bytes.fromhex("00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210")
    vendor, device_class = bytes.fromhex(VENDOR), bytes.fromhex(CLASS)
    assert manifest.common.components == ((b"\0",),)
    assert manifest.common.shared == (
        Command(20, Parameters(vendor, device_class, image_digest=digest, image_size=34768)),
        Command(1, 15),
        Command(2, 15),
    )
    assert manifest.sequences == {
        Member.VALIDATE: (Command(3, 15),),
        Member.INSTALL: (
            Command(20, Parameters(uri="http://example.com/file.bin")), Command(21, 2), Command(3, 15)
        ),
    }  # fmt: skip


def test_the_vendor_as_the_draft_names_it() -> None:
    assert processor.vendor_id("arm.com").hex() == VENDOR


@pytest.mark.parametrize("name", ["example0.1", "example1.1", "example5.1"])
def test_an_example_runs_until_what_only_we_ask_for(vectors: Path, draft_key: PublicKey, name: str) -> None:
    """Payloads, digests and conditions are as we want them; 0 fetches nothing, and none has a security epoch."""
    verified = approved(example(vectors, name), draft_key)
    device = DeviceClass(bytes.fromhex(VENDOR), bytes.fromhex(CLASS))
    if name == "example0.1":
        refusal = assert_refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, processor.plan, verified, device)
        assert refusal.detail == "an image-match of what is not fetched"
    else:
        refusal = assert_refused(refusals.MANIFEST_INCOMPLETE, processor.plan, verified, device)
        assert refusal.detail == "security epochs [] where one is needed"
    other = DeviceClass(bytes.fromhex(VENDOR), bytes(16))
    assert_refused(refusals.MANIFEST_OTHER_CLASS, processor.plan, verified, other)
    assert_refused(refusals.MANIFEST_OTHER_VENDOR, processor.plan, verified, DeviceClass(bytes(16), bytes(16)))


@pytest.mark.parametrize("name", ["example3.1", "example4.1"])
def test_alternatives_and_copies_are_not_run_yet(vectors: Path, draft_key: PublicKey, name: str) -> None:
    verified = approved(example(vectors, name), draft_key)
    device = DeviceClass(bytes.fromhex(VENDOR), bytes.fromhex(CLASS))
    assert_refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, processor.plan, verified, device)


def test_trust_domains_a_dependent_manifest(vectors: Path, draft_key: PublicKey) -> None:
    data = trust_domains(vectors, DEPENDENT)
    envelope = Envelope.parse(data)
    assert envelope.encode() == data
    manifest = Manifest.parse(envelope.manifest)
    assert manifest.encode() == envelope.manifest
    assert manifest.component_id == (b"dependent.suit",)
    assert wrapped_digest(envelope.manifest) == envelope.digest
    assert cose.verify1(envelope.signatures[0], draft_key, detached=envelope.signed).protected == {1: -9}


@pytest.mark.parametrize("name", DEPENDENCIES)
def test_trust_domains_dependencies(vectors: Path, draft_key: PublicKey, name: str) -> None:
    """Signature and envelope hold; the manifest has dependencies, which are left for later and refused as a whole."""
    data = trust_domains(vectors, name)
    envelope = Envelope.parse(data)
    assert envelope.encode() == data
    assert wrapped_digest(envelope.manifest) == envelope.digest
    cose.verify1(envelope.signatures[0], draft_key, detached=envelope.signed)
    with pytest.raises(InputError, match="suit-malformed") as caught:
        Manifest.parse(envelope.manifest)
    assert caught.value.place == "/common"


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("update-management", "its example is a description in JSON, no envelope was made of it"),
        ("suit-report", "reports are CDDL alone, and nothing here makes reports yet"),
    ],
)
def test_left_out(vectors: Path, folder: str, reason: str) -> None:
    """Skips as long as there is nothing to hold ourselves to, and fails as soon as there is."""
    assert [path for path in (vectors / "suit" / folder).rglob("*") if path.suffix in {".cbor", ".hex"}] == []
    pytest.skip(reason)


@pytest.mark.parametrize("name", SIGNED)
def test_inspected(vectors: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = vectors / "suit" / "manifest-spec" / "examples" / f"{name}.cbor"
    assert main(["inspect", "suit", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "digest_matches  True\n" in shown
    assert f"sequence        {name[7]}\n" in shown
    assert "vendor-identifier" in shown
