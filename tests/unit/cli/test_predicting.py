"""`medvouch release predict`: two files of any kind that says what a boot measures."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest

from medvouch.attestation.reference import sign_corim
from medvouch.cli import predicting
from medvouch.crypto.keys import SoftwareSigner
from medvouch.formats.eventlog import EventType
from medvouch.release.manifests import build_manifest, integrated, sign_envelope
from medvouch.update.payload import Payload
from medvouch.update.processor import REFERENCE, SLOT, DeviceClass
from medvouch_sim.fixtures import FIXTURES, private_key
from medvouch_sim.images import build_image
from medvouch_sim.prediction import predict, sign_reference
from support.boots import BootBuilder
from support.cli import Caller

RELEASES = ("1.0.0", "1.1.0")
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
