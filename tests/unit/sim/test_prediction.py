"""Reference values predicted from files hold for boots, and differences to them have names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.attestation.reference import VerifiedReference, match, verify_references
from medvouch.attestation.replay import VerifiedEvents, replay
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import digest
from medvouch.formats.reference import ReferenceValues
from medvouch_sim import firmware, uki
from medvouch_sim.firmware import PHASES, Machine
from medvouch_sim.fixtures import RELEASES
from medvouch_sim.images import Image
from medvouch_sim.prediction import predict, sign_reference

MODEL = "model-of-a-test"
PREDICTED = {release: predict(MODEL, release) for release in RELEASES}
REFERENCES = [VerifiedReference(values) for values in PREDICTED.values()]
SYSTEMD_MEASURE = Path("/usr/lib/systemd/systemd-measure")
STATIC = range(16)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.create(tmp_path / "disk")


def _boot(machine: Machine) -> VerifiedEvents:
    measured = firmware.measure(machine)
    quoted = {bank: {pcr: values[pcr] for pcr in STATIC} for bank, values in measured.pcrs().items()}
    return replay(measured.logs, quoted).events


def _refusal(machine: Machine) -> Refusal:
    with pytest.raises(Refusal) as caught:
        match(_boot(machine), REFERENCES)
    assert caught.value.code == "event-unexpected"
    return caught.value


@pytest.mark.parametrize("release", RELEASES)
def test_a_boot_is_that_of_its_release(release: str, tmp_path: Path) -> None:
    assert match(_boot(Machine.create(tmp_path / "disk", release)), REFERENCES) == PREDICTED[release]
    assert (PREDICTED[release].model, PREDICTED[release].release) == (MODEL, release)


def test_a_boot_before_its_last_phases_fits(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "PHASES", PHASES[:1])
    assert match(_boot(machine), REFERENCES).release == "1.0.0"


def test_a_phase_too_many_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "PHASES", (*PHASES, "shutdown"))
    assert _refusal(machine).place == f"PCR 11, systemd event {len(PHASES)}"


def test_a_modified_kernel_is_named(machine: Machine) -> None:
    kernel = dict(uki.sections(machine.image.uki))[".linux"]
    changed = machine.image.uki.replace(kernel, kernel[:-1] + bytes([kernel[-1] ^ 1]))
    machine.alter_running_image(lambda image: Image(changed, image.files))
    error = _refusal(machine)
    assert error.place.startswith("PCR 4, uefi event ")
    assert "EV_EFI_BOOT_SERVICES_APPLICATION" in error.detail
    expected = next(row.events[-1] for row in PREDICTED["1.0.0"].pcrs if row.pcr == 4)
    assert f"release 1.0.0 expects {expected.description} ({expected.digests['sha256'].hex()})" in error.detail


def test_a_changed_program_is_named(machine: Machine) -> None:
    machine.alter_running_image(lambda image: Image(image.uki, {**image.files, "usr/bin/medvouch": b"changed"}))
    error = _refusal(machine)
    assert error.place.startswith("PCR 10, ima event ")
    assert "/usr/bin/medvouch" in error.detail


def test_secure_boot_off_is_named(machine: Machine) -> None:
    (machine.nvram / "SecureBoot.var").write_bytes(b"\0")
    error = _refusal(machine)
    assert error.place.startswith("PCR 7, ")
    assert "SecureBoot = 00" in error.detail


def test_signed_values_come_back() -> None:
    signer = SoftwareSigner(ec.generate_private_key(ec.SECP256R1()))
    messages = [sign_reference(values, signer) for values in PREDICTED.values()]
    assert verify_references(messages, [signer.public_key]) == tuple(REFERENCES)
    assert ReferenceValues.parse(PREDICTED["1.0.0"].encode()) == PREDICTED["1.0.0"]


@pytest.mark.skipif(not SYSTEMD_MEASURE.exists(), reason="systemd-measure is not installed (Debian: systemd)")
def test_systemd_measure_predicts_the_same(machine: Machine, tmp_path: Path) -> None:
    """Of the sections that systemd 252 knows, too."""
    sections = dict(uki.sections(machine.image.uki))
    known = {name: sections[name] for name in (".linux", ".osrel", ".cmdline", ".initrd")}
    machine.alter_running_image(lambda image: Image(uki.build(known), image.files))
    value = bytes(32)
    for event in _boot(machine).of(11):
        value = digest(HashAlg.SHA256, value + event.digests[HashAlg.SHA256])
    for name, contents in known.items():
        (tmp_path / name).write_bytes(contents)
    options = [f"--{name[1:]}={tmp_path / name}" for name in known]
    command = [str(SYSTEMD_MEASURE), "calculate", *options, f"--phase={':'.join(PHASES)}", "--bank=sha256"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert re.findall(r"^11:sha256=([0-9a-f]{64})$", answer, re.MULTILINE) == [value.hex()]
