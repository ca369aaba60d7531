from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.attestation.replay import replay
from medvouch.attestation.semantics import Boot, CommandLineSource, SecureBoot, understand
from medvouch.errors import InputError, StorageFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import EventType
from medvouch.formats.hashing import digest
from medvouch_sim import uki
from medvouch_sim.firmware import PHASES, Machine, Measurements, measure
from medvouch_sim.fixtures import FIRMWARE_VERSION
from medvouch_sim.images import Image, build_image

SHA256 = HashAlg.SHA256


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.create(tmp_path / "gateway")


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def read(machine: Machine) -> Boot:
    measured = measure(machine)
    text = dict(uki.sections(machine.image.uki))[".cmdline"].decode()
    return understand(replay(measured.logs, measured.pcrs()).events, command_lines=[text])


def changed(before: Measurements, after: Measurements) -> set[int]:
    old, new = before.pcrs()[SHA256], after.pcrs()[SHA256]
    return {pcr for pcr in old if old[pcr] != new[pcr]}


def test_a_boot_reads_as_what_it_was(machine: Machine) -> None:
    boot = read(machine)
    image = machine.image.uki
    sections = dict(uki.sections(image))
    assert boot.secure_boot is SecureBoot.ON
    assert [variable.name for variable in boot.variables] == ["SecureBoot", "PK", "KEK", "db", "dbx"]
    assert [authority.name for authority in boot.authorities] == ["db"]
    (application,) = boot.applications
    assert application.digests[SHA256] == uki.authenticode(image, SHA256)
    assert application.path.endswith("\\EFI\\Linux\\medvouch.efi")
    assert [section.name for section in boot.sections] == [
        ".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat",
    ]  # fmt: skip
    assert all(section.digests[SHA256] == digest(SHA256, sections[section.name]) for section in boot.sections)
    assert [line.source for line in boot.command_lines] == [CommandLineSource.UKI, CommandLineSource.KERNEL]
    assert boot.root_hash is not None
    assert f"roothash={boot.root_hash.hex()}" in sections[".cmdline"].decode()
    assert boot.firmware_version == FIRMWARE_VERSION
    assert boot.phases == PHASES


def test_measuring_twice_is_the_same(machine: Machine, tmp_path: Path) -> None:
    assert measure(machine) == measure(machine) == measure(Machine.create(tmp_path / "another"))


def test_the_boot_id_stands_in_the_log_only(machine: Machine) -> None:
    first, second = measure(machine), measure(machine, boot_id="1" * 32)
    assert second.logs.systemd[0].content["bootId"] == "1" * 32
    assert changed(first, second) == set()


def test_a_changed_kernel_boots_and_is_measured(machine: Machine) -> None:
    before = measure(machine)
    image = machine.running_image.read_bytes()
    flip(machine.running_image, image.index(dict(uki.sections(machine.image.uki))[".linux"]))
    assert changed(before, measure(machine)) == {4, 10, 11}
    (application,) = read(machine).applications
    assert application.digests[SHA256] == uki.authenticode(machine.image.uki, SHA256)


@pytest.mark.parametrize(
    ("file", "pcrs"),
    [
        ("firmware/firmware-volume-dxe.bin", {0, 10}),
        ("nvram/BootOrder.var", {1, 10}),
        ("nvram/SecureBoot.var", {7, 10}),
    ],
)
def test_every_other_change_shows_in_its_pcr(machine: Machine, file: str, pcrs: set[int]) -> None:
    before = measure(machine)
    flip(machine.directory / file, 0)
    assert changed(before, measure(machine)) == pcrs


def test_a_changed_program_shows_where_programs_are_measured(machine: Machine) -> None:
    before = measure(machine)
    machine.alter_running_image(lambda image: Image(image.uki, {**image.files, "usr/bin/medvouch": b"changed"}))
    assert changed(before, measure(machine)) == {10}


def test_secure_boot_off_has_no_authority(machine: Machine) -> None:
    (machine.nvram / "SecureBoot.var").write_bytes(b"\0")
    boot = read(machine)
    assert boot.secure_boot is SecureBoot.OFF
    assert boot.authorities == ()


def test_a_missing_variable_is_empty(machine: Machine) -> None:
    (machine.nvram / "db.var").unlink()
    boot = read(machine)
    assert {variable.name: variable.data for variable in boot.variables}["db"] == b""
    assert boot.authorities == ()


def test_another_release_changes_what_releases_bring(machine: Machine, tmp_path: Path) -> None:
    before = measure(machine)
    machine.install("1.1.0")
    assert changed(before, measure(machine)) == {4, 9, 10, 11}
    assert measure(machine) == measure(Machine.create(tmp_path / "new", release="1.1.0"))


def test_unused_pcrs_stay_at_their_reset_value(machine: Machine) -> None:
    measured = measure(machine)
    extended = {step.pcr for step in measured.steps}
    assert extended == {*range(8), 9, 10, 11}
    assert measured.pcrs()[SHA256][12] == bytes(32)
    assert all(event.type != EventType.EV_NO_ACTION for event in measured.logs.uefi.events)


def test_all_banks_are_measured(machine: Machine) -> None:
    banks = (HashAlg.SHA1, SHA256)
    measured = measure(machine, banks=banks)
    assert all(tuple(step.digests) == banks for step in measured.steps)
    assert measured.pcrs()[SHA256] == measure(machine).pcrs()[SHA256]


def test_ima_needs_its_bank(machine: Machine) -> None:
    with pytest.raises(ValueError, match="sha256"):
        measure(machine, banks=(HashAlg.SHA384,))


def test_an_image_that_no_firmware_could_load(machine: Machine) -> None:
    machine.alter_running_image(lambda image: Image(b"MZ", image.files))
    with pytest.raises(InputError, match="pe-truncated"):
        measure(machine)


def test_a_slot_without_an_image(machine: Machine) -> None:
    machine.running_image.write_bytes(b"no image")
    with pytest.raises(InputError, match="image-truncated"):
        measure(machine)
    machine.running_image.unlink()
    with pytest.raises(StorageFault, match="file-missing"):
        measure(machine)


def test_both_slots_measure_the_same(machine: Machine) -> None:
    in_a = measure(machine)
    machine.slots.write("b", [build_image("1.0.0")])
    machine.slots.activate("b")
    assert machine.slots.start_next() == "b"
    assert measure(machine) == in_a
