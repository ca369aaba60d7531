"""SUIT envelopes against the examples of the drafts: the same bytes again, digests and signatures held."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from medvouch.adapters.components import DeviceComponents
from medvouch.adapters.slots import FileSlots
from medvouch.cli.main import main
from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey, SoftwareSigner, load_private_pem
from medvouch.formats import cbor
from medvouch.formats.suit import Envelope, wrapped_digest
from medvouch.formats.suit_codes import TABLE, Kind
from medvouch.formats.suit_commands import Code, Command, Parameters
from medvouch.formats.suit_manifest import ComponentId, Manifest, Member, load_member
from medvouch.formats.suit_report import Reason, SuitReport
from medvouch.release.manifests import add_signature
from medvouch.update import processor, refusals
from medvouch.update.execution import Execution, Procedure, Verify
from medvouch.update.processor import DeviceClass
from medvouch.update.verification import RoleKeys, VerifiedEnvelope, verify_envelope
from support.authorities import key
from support.executing import Shelf
from support.refusing import assert_refused
from support.suit import enclosed, signed
from support.suit import verified as ours
from support.truncation import assert_every_truncation_refused

UNSIGNED = [f"example{number}.0" for number in range(6)]
SIGNED = [*(f"example{number}.1" for number in range(6)), "example2.2"]
DEPENDENT = "example0_dependent"
DEPENDENCIES = ["example1_process", "example2_integrated"]
VENDOR = "fa6b4a53d5ad5fdfbe9de663e4d41ffe"
CLASS = "1492af1425695e48bf429b2d51f2ab45"
QUALITY = SoftwareSigner(key("quality"))
QUALITY_KEYS = RoleKeys([QUALITY.public_key])
DRAFT_DEVICE = DeviceClass(bytes.fromhex(VENDOR), bytes.fromhex(CLASS))


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
    """Payloads, digests and conditions are as we want them; 0 fetches nothing, 5 starts something else than the slot,
    and none has a security epoch.
    """
    verified = approved(example(vectors, name), draft_key)
    device = DeviceClass(bytes.fromhex(VENDOR), bytes.fromhex(CLASS))
    unsupported = {
        "example0.1": "an image-match of what is not fetched",
        "example5.1": "an invoke of h'00', with arguments, or once more",
    }
    if detail := unsupported.get(name):
        refusal = assert_refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, processor.plan, verified, device)
        assert refusal.detail == detail
    else:
        refusal = assert_refused(refusals.MANIFEST_INCOMPLETE, processor.plan, verified, device)
        assert refusal.detail == "security epochs [] where one is needed"
    other = DeviceClass(bytes.fromhex(VENDOR), bytes(16))
    assert_refused(refusals.MANIFEST_OTHER_CLASS, processor.plan, verified, other)
    assert_refused(refusals.MANIFEST_OTHER_VENDOR, processor.plan, verified, DeviceClass(bytes(16), bytes(16)))


@pytest.mark.parametrize("name", ["example3.1", "example4.1"])
def test_alternatives_and_copies_make_no_plan(vectors: Path, draft_key: PublicKey, name: str) -> None:
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
def test_trust_domains_dependencies(vectors: Path, draft_key: PublicKey, tmp_path: Path, name: str) -> None:
    """The same bytes again, digest and signature held; not one of them says for which devices it is."""
    data = trust_domains(vectors, name)
    envelope = Envelope.parse(data)
    assert envelope.encode() == data
    assert wrapped_digest(envelope.manifest) == envelope.digest
    cose.verify1(envelope.signatures[0], draft_key, detached=envelope.signed)
    manifest = Manifest.parse(envelope.manifest)
    assert manifest.encode() == envelope.manifest
    assert manifest.common.dependencies == {1: (b"dependent.suit",)}
    assert set(manifest.sequences) == {Member.INVOKE, Member.DEPENDENCY_RESOLUTION, Member.INSTALL}
    verified = approved(data, draft_key)
    execution = Execution(verified, DRAFT_DEVICE, platform(tmp_path), verifier(draft_key))
    refusal = assert_refused(refusals.MANIFEST_INCOMPLETE, execution.run, Procedure.UPDATE)
    assert refusal.detail == "vendor and class are not checked before something is changed"


def test_trust_domains_with_a_device_in_mind(vectors: Path, tmp_path: Path) -> None:
    """The draft's manifests, each with vendor and class added: the dependency writes first, then what depends on it."""
    shared = (Command(12, True), Command(20, Parameters(DRAFT_DEVICE.vendor_id, DRAFT_DEVICE.class_id)))
    checks = (Command(Code.VENDOR_IDENTIFIER, 15), Command(Code.CLASS_IDENTIFIER, 15), Command(12, 0))
    below = Manifest.parse(Envelope.parse(trust_domains(vectors, DEPENDENT)).manifest)
    below = replace(below, common=replace(below.common, shared=(*shared, *checks)))
    inner = signed(enclosed(below))
    above = Manifest.parse(Envelope.parse(trust_domains(vectors, "example2_integrated")).manifest)
    above = replace(above, common=replace(above.common, shared=(*shared, *checks)))
    stated = Parameters(image_digest=Envelope.parse(inner).digest, image_size=len(inner))
    resolving = tuple(
        replace(each, argument=each.argument.overridden(stated)) if isinstance(each.argument, Parameters) else each
        for each in above.sequences[Member.DEPENDENCY_RESOLUTION]
    )
    above = replace(above, sequences={**above.sequences, Member.DEPENDENCY_RESOLUTION: resolving})
    data = signed(enclosed(above, **{"dependent.suit": inner}))
    device = platform(tmp_path, [(b"10",), (b"dependent.suit",), (b"dependent.suit", b"00")])
    execution = Execution(ours(data), DRAFT_DEVICE, device, lambda each, _: ours(each))
    execution.run(Procedure.UPDATE)
    assert b"".join(device.read((b"dependent.suit", b"00"), None)) == b"hello world"
    assert b"".join(device.read((b"10",), None)) == b" in multiple trust domains"


# --- the examples run ------------------------------------------------------------------------------------------------

FIRST, SECOND = bytes(34768), bytes(range(256)) * 300 + bytes(34)
IMAGES = {
    "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210": FIRST,
    "0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff": SECOND,
}
"""What stands for the draft's images, whose digests nothing has: contents of the sizes that it names."""
INSTALLED = {
    "example1.1": {b"\0": FIRST},
    "example2.2": {b"\0": FIRST},
    "example3.1": {b"\0": FIRST},
    "example4.1": {b"\0": FIRST, b"\2": FIRST},
    "example5.1": {b"\0": FIRST, b"\1": SECOND},
}


def platform(folder: Path, files: list[ComponentId] | None = None) -> DeviceComponents:
    """The draft's device: components 00, 01 and 02, and a server that has every file."""
    slots = FileSlots.create(folder / "slots", [b"system"], 1 << 20)
    served = {f"http://example.com/{name}.bin": FIRST for name in ("file", "file1", "very/long/path/to/file/file")}
    served |= {"http://example.com/file2.bin": SECOND, "http://example.com/very/long/path/to/file/file.bin": FIRST}
    known = files or [(b"\0",), (b"\1",), (b"\2",)]
    (folder / "files").mkdir()
    return DeviceComponents(slots, Shelf(served), folder / "files", known, ["http://example.com/"])


def verifier(draft_key: PublicKey) -> Verify:
    return lambda data, _: approved(data, draft_key)


def with_images(data: bytes) -> bytes:
    """An example whose digests are those of our contents, signed by our keys."""
    envelope = Envelope.parse(data)
    encoded, members = envelope.manifest, dict(envelope.members)
    for stated, content in IMAGES.items():
        new = hashlib.sha256(content).digest()
        encoded = encoded.replace(bytes.fromhex(stated), new)
        members = {member: each.replace(bytes.fromhex(stated), new) for member, each in members.items()}
    for member, each in members.items():
        encoded = encoded.replace(wrapped_digest(envelope.members[member]), wrapped_digest(each))
    return signed(Envelope(wrapped_digest(encoded), (), encoded, members))


@pytest.mark.parametrize("name", INSTALLED)
def test_the_examples_of_the_draft_run(vectors: Path, tmp_path: Path, name: str) -> None:
    device = platform(tmp_path)
    execution = Execution(ours(with_images(example(vectors, name))), DRAFT_DEVICE, device, lambda each, _: ours(each))
    execution.run(Procedure.UPDATE)
    for component, content in INSTALLED[name].items():
        assert b"".join(device.read((component,), None)) == content
    report = execution.report()
    assert report.failure is None
    assert SuitReport.parse(report.encode()) == report


@pytest.mark.parametrize("name", ["example0.1", "example3.1", "example5.1"])
def test_what_is_not_there_does_not_start(vectors: Path, draft_key: PublicKey, tmp_path: Path, name: str) -> None:
    verified = approved(example(vectors, name), draft_key)
    execution = Execution(verified, DRAFT_DEVICE, platform(tmp_path), verifier(draft_key))
    assert_refused(refusals.COMPONENT_MISMATCH, execution.run, Procedure.BOOT)
    failure = execution.report().failure
    assert failure is not None
    assert (failure.reason, failure.record.section) == (Reason.CONDITION_FAILED, Member.VALIDATE)


# --- the table -------------------------------------------------------------------------------------------------------


def test_every_code_of_the_drafts_has_its_row(vectors: Path) -> None:
    """By name and number, and none is there that no draft has."""
    stated = set()
    for path in (vectors / "suit").rglob("draft-ietf-suit-*.cddl"):
        if "report" not in path.name:
            found = re.findall(r"^((?:suit|cose-alg)-[\w-]+)\s*=\s*(-?\d+)", path.read_text(), re.MULTILINE)
            found += re.findall(r"^ +([\w-]+) ?: (\d+),?$", path.read_text(), re.MULTILINE)  # bits
            found += [(name, number) for number, name in re.findall(r"#6\.(\d{3,4})\(SUIT_(\w+)\)", path.read_text())]
            stated |= {(name.removeprefix("suit-"), int(number)) for name, number in found}
    rows = {(row.name, int(re.findall(r"-?\d+", str(row.code))[-1])) for row in TABLE if row.kind is not Kind.BLOCK
            if re.search(r"\d", str(row.code)) and "custom" not in row.name}  # fmt: skip
    assert rows == stated


def test_every_command_that_we_know_is_in_the_table() -> None:
    codes = {row.code for row in TABLE if row.kind in (Kind.CONDITION, Kind.DIRECTIVE)} - {"< 0"}
    assert codes == set(Code)


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("update-management", "its example is a description in JSON, no envelope was made of it"),
        ("suit-report", "it is CDDL alone, to which test_suit_report.py holds our reports"),
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
    assert "digest_matches  yes\n" in shown
    assert f"sequence        {name[7]}\n" in shown
    assert "vendor-identifier" in shown
