"""`medvouch release predict`: two files of any kind that says what a boot measures."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest

from medvouch.attestation.reference import sign_corim, verify_references
from medvouch.cli import predicting
from medvouch.crypto.keys import SoftwareSigner
from medvouch.formats.eventlog import EventType
from medvouch.formats.secure_boot import APPENDING, SignedUpdate
from medvouch.release.manifests import build_manifest, integrated, sign_envelope
from medvouch.update.payload import Payload
from medvouch.update.processor import REFERENCE, SLOT, DeviceClass
from medvouch_sim.fixtures import FIXTURES, loader, private_key
from medvouch_sim.images import build_image
from medvouch_sim.prediction import predict, sign_reference
from support.boots import BootBuilder
from support.cli import Caller
from support.parts import forbids, left

RELEASES = ("1.0.0", "1.1.0")
RELEASE_ROLES = ("release", "release-2", "release-3")
SIGNER = SoftwareSigner(private_key("release"))


@functools.cache
def reference(version: str) -> bytes:
    return sign_reference(predict("gateway-1", version), SIGNER)


def kernel(version: str) -> bytes:
    return (FIXTURES / "releases" / version / "medvouch.efi").read_bytes()


def envelope(version: str) -> bytes:
    contents = {REFERENCE: reference(version)}
    image = Payload(SLOT, "https://devices.example/image", bytes(32), 1)
    device = DeviceClass.named("devices.example", "gateway-1")
    manifest = build_manifest(
        sequence=1, version=version, security_epoch=1, device=device, image=image, contents=contents
    )
    return sign_envelope(manifest, [SIGNER], [SoftwareSigner(private_key("quality"))], integrated(contents))


def corim(version: str) -> bytes:
    return sign_corim(predicting._reference(reference(version)), SIGNER, "Maker")


def log(text: str) -> bytes:
    return BootBuilder().firmware().event(5, EventType.EV_EFI_ACTION, text.encode()).log.encode()


KINDS = {
    "kernel image": (kernel, [4, 9, 11]),
    "boot loader": (loader, [4]),
    "slot image": (build_image, [4, 9, 10, 11]),
    "reference values": (reference, [4, 9, 10, 11]),
    "envelope": (envelope, [4, 9, 10, 11]),
    "CoRIM": (corim, [4, 9, 10, 11]),
    "event log": (log, [5]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_two_of_a_kind(medvouch: Caller, tmp_path: Path, kind: str) -> None:
    make, changed = KINDS[kind]
    old, new = tmp_path / "old", tmp_path / "new"
    for path, version in zip((old, new), RELEASES, strict=True):
        path.write_bytes(make(version))
    document = medvouch("release", "predict", old, new, "--json").json
    assert [each["pcr"] for each in document["changed"]] == changed
    called = medvouch("release", "predict", old, new)
    assert called.code == 0
    assert called.out.startswith(f"PCRs that change: {', '.join(map(str, changed))}\n")
    same = medvouch("release", "predict", old, old)
    assert same.out.startswith("no PCR changes that a ")
    assert medvouch("release", "predict", old, old, "--json").json["changed"] == []


def test_the_events_are_named_with_both_digests(medvouch: Caller, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for path, version in zip((old, new), RELEASES, strict=True):
        path.write_bytes(build_image(version))
    document = medvouch("release", "predict", old, new, "--json").json
    files = next(each for each in document["changed"] if each["pcr"] == 10)["events"]
    assert [each["old"]["event"].rpartition(" ")[2] for each in files] == ["/usr/bin/gateway", "/usr/bin/medvouch"]
    assert {each["change"] for each in files} == {"changed"}
    assert all(len(each[side]["sha256"]) == 64 for each in files for side in ("old", "new"))
    shown = medvouch("release", "predict", old, new).out
    assert "PCR 10, files that were run or read (IMA):\n" in shown
    assert f"           new sha256:{files[0]['new']['sha256']}\n" in shown


def test_the_files_of_a_slot_are_those_of_its_reference(medvouch: Caller, tmp_path: Path) -> None:
    """Which predicts the same by booting a virtual machine."""
    said = predicting._read(build_image("1.0.0")).rows
    predicted = {row.pcr: row for row in predicting._reference(reference("1.0.0")).pcrs}
    files = {event.digests["sha256"] for row in said if row.pcr == 10 for event in row.events}
    assert files < {event.digests["sha256"] for event in predicted[10].events}
    sections = [event.digests["sha256"] for row in said if row.pcr == 11 for event in row.events]
    assert sections == [event.digests["sha256"] for event in predicted[11].events][: len(sections)]


def test_a_firmware(medvouch: Caller, tmp_path: Path) -> None:
    new = shutil.copytree(FIXTURES / "machine", tmp_path / "machine")
    (new / "firmware-version.txt").write_text("9.9")
    (new / "SecureBoot.var").write_bytes(b"\0")
    called = medvouch("release", "predict", FIXTURES / "machine", new)
    assert called.out.startswith("PCRs that change: 0, 7\n")
    assert "changed  EV_EFI_VARIABLE_DRIVER_CONFIG: SecureBoot = 00\n" in called.out
    assert called.out.endswith("unchanged: 1\n")


def test_what_cannot_be_compared(medvouch: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, nothing = tmp_path / "old", tmp_path / "new", tmp_path / "nothing"
    old.write_bytes(kernel("1.0.0"))
    new.write_bytes(log("x"))
    nothing.write_bytes(b"just words")
    called = medvouch("release", "predict", old, new)
    assert (called.code, called.err.count("compare two files of one kind")) == (2, 1)
    called = medvouch("release", "predict", old, nothing)
    assert called.code == 1
    assert f"file-malformed: {nothing}: " in called.err
    assert medvouch("release", "predict", old, tmp_path / "absent").code == 6
    assert medvouch("release", "predict", tmp_path, tmp_path).code == 6
    monkeypatch.setattr(predicting, "MAX_FIRMWARE_FILES", 1)
    assert medvouch("release", "predict", FIXTURES / "machine", FIXTURES / "machine").code == 6


def test_an_envelope_with_no_reference_values(medvouch: Caller, tmp_path: Path) -> None:
    contents = {REFERENCE: b"x", "other": b"y"}
    image = Payload(SLOT, "https://devices.example/image", bytes(32), 1)
    device = DeviceClass.named("devices.example", "gateway-1")
    manifest = build_manifest(
        sequence=1, version="1.0.0", security_epoch=1, device=device, image=image, contents=contents
    )
    path = tmp_path / "release.suit"
    path.write_bytes(sign_envelope(manifest, [SIGNER], [], integrated(contents)))
    called = medvouch("release", "predict", path, path)
    assert (called.code, called.err.count("suit-malformed")) == (1, 1)


# --- one part --------------------------------------------------------------------------------------------------------

CHANGE = forbids(loader("256"))


@pytest.fixture
def dbx(tmp_path: Path) -> tuple[Path, Path]:
    """The variable, and a signed change of it."""
    old, new = tmp_path / "dbx.var", tmp_path / "2026-11.auth"
    shutil.copy(FIXTURES / "machine" / "dbx.var", old)
    new.write_bytes(CHANGE)
    return old, new


def test_a_signed_change_of_dbx(medvouch: Caller, dbx: tuple[Path, Path], tmp_path: Path) -> None:
    """Appended, it leads to the same as the variable afterwards does; put in its place, to something else."""
    document = medvouch("release", "predict", *dbx, "--append", "--json").json
    ((change,),) = ([each["events"] for each in document["changed"]],)
    after = tmp_path / "after"
    after.mkdir()
    value = SignedUpdate.parse(CHANGE).applied(dbx[0].read_bytes(), APPENDING)
    (after / "dbx.var").write_bytes(value)
    found = medvouch("release", "predict", dbx[0], after / "dbx.var", "--json").json
    assert [(each["pcr"], each["events"]) for each in found["changed"]] == [(7, change)]
    replaced = medvouch("release", "predict", *dbx, "--json").json
    assert replaced["changed"][0]["events"] != change


def test_the_reference_values_of_a_release_that_makes_one_change(
    medvouch: Caller, dbx: tuple[Path, Path], tmp_path: Path
) -> None:
    before, out = tmp_path / "before.cbor", tmp_path / "after.cbor"
    before.write_bytes(reference("1.0.0"))
    keys = [FIXTURES / "keys" / f"test-{name}.pem" for name in ("release", "release-2")]
    options = ["--append", "--reference", before, "--version", "1.0.0.2", "--epoch", 1, "--out", out]
    signing = [item for key in keys for item in ("--key", key)]
    called = medvouch("release", "predict", *dbx, *options, *signing)
    assert called.code == 0
    assert called.out.endswith(f"{out}: the reference values of 1.0.0.2, signed by 2\n")
    (found,) = verify_references([out.read_bytes()], [private_key(name).public_key() for name in RELEASE_ROLES], 2)
    expected = predict("gateway-1", "1.0.0", change=left("dbx", APPENDING, CHANGE))
    assert [row.pcr for row in found.values.pcrs] == [row.pcr for row in expected.pcrs]
    for row, other in zip(found.values.pcrs, expected.pcrs, strict=True):
        assert [event.digests["sha256"] for event in row.events] == [event.digests["sha256"] for event in other.events]
    document = medvouch("release", "predict", *dbx, *options, *signing, "--json").json
    assert document["reference"] == str(out)


def test_the_reference_values_of_the_next_kernel_image(medvouch: Caller, tmp_path: Path) -> None:
    """All but PCR 10: no kernel image says which files are going to be read."""
    before, out = tmp_path / "before.cbor", tmp_path / "after.cbor"
    before.write_bytes(reference("1.0.0"))
    images = [FIXTURES / "releases" / version / "medvouch.efi" for version in RELEASES]
    options = ["--reference", before, "--version", "1.1.0", "--epoch", 2, "--out", out]
    key = FIXTURES / "keys" / "test-release.pem"
    assert medvouch("release", "predict", *images, *options, "--key", key).code == 0
    (found,) = verify_references([out.read_bytes()], [private_key("release").public_key()], 1)
    for row, other in zip(found.values.pcrs, predict("gateway-1", "1.1.0").pcrs, strict=True):
        same = [event.digests["sha256"] for event in row.events] == [event.digests["sha256"] for event in other.events]
        assert same == (row.pcr != 10)


@pytest.mark.parametrize("left_out", ["--reference", "--version", "--epoch", "--key"])
def test_reference_values_need_all_of_it(
    medvouch: Caller, dbx: tuple[Path, Path], tmp_path: Path, left_out: str
) -> None:
    before = tmp_path / "before.cbor"
    before.write_bytes(reference("1.0.0"))
    options = {"--reference": before, "--version": "1", "--epoch": 1, "--key": FIXTURES / "keys" / "test-release.pem"}
    given = [item for name, value in options.items() if name != left_out for item in (name, value)]
    called = medvouch("release", "predict", *dbx, "--out", tmp_path / "out", *given)
    assert (called.code, (tmp_path / "out").exists()) == (2, False)
    assert "--reference FILE --version V --epoch N --key KEY" in called.err


def test_reference_values_that_know_nothing_of_the_part(medvouch: Caller, tmp_path: Path) -> None:
    old, new, before = tmp_path / "old", tmp_path / "new", tmp_path / "before.cbor"
    before.write_bytes(reference("1.0.0"))
    for path, version in ((old, "257"), (new, "258")):
        path.write_bytes(loader(version))
    key = FIXTURES / "keys" / "test-release.pem"
    options = ["--reference", before, "--version", "1.0.0.2", "--epoch", 1, "--out", tmp_path / "out", "--key", key]
    called = medvouch("release", "predict", old, new, *options)
    assert called.code == 1
    assert "prediction-incomplete" in called.err


def test_variables_are_known_by_their_files(medvouch: Caller, dbx: tuple[Path, Path], tmp_path: Path) -> None:
    other = dbx[0].rename(tmp_path / "forbidden.var")
    assert medvouch("release", "predict", other, other).code == 2
    (tmp_path / "dbx").write_bytes(kernel("1.0.0"))
    called = medvouch("release", "predict", tmp_path / "dbx", dbx[1])
    assert (called.code, "none of SecureBoot.var, PK.var" in called.err) == (2, True)
    (tmp_path / "dbx.var").write_bytes(b"")
    dbx[1].write_bytes(CHANGE[:-1])
    called = medvouch("release", "predict", tmp_path / "dbx.var", dbx[1])
    assert called.code == 1
    assert f"uefi-truncated: {dbx[1]}: " in called.err
