"""Firmware logs of real machines: what they say, and the PCRs that they lead to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from medvouch.attestation.log_rules import check_log
from medvouch.attestation.replay import Logs, ReplayRefusal, Status, replay, replayed_pcrs, tabulate
from medvouch.attestation.semantics import SecureBoot, understand
from medvouch.errors import InputError, Refusal
from medvouch.formats import event_text, eventlog, ima, uefi
from medvouch.formats.algorithms import HashAlg

UKI = "ovmf/ovmf-uki-bookworm.bin"
SD_BOOT = "ovmf/ovmf-sdboot-uki-trixie.bin"


@pytest.fixture(scope="session")
def expected(vectors: Path) -> dict[str, dict[str, Any]]:
    return dict(json.loads((vectors / "eventlogs" / "expected.json").read_text()))


def read(vectors: Path, name: str) -> eventlog.EventLog:
    data = (vectors / "eventlogs" / name).read_bytes()
    log = eventlog.parse(data)
    assert log.encode() == data
    return log


def hexed(pcrs: dict[HashAlg, dict[int, bytes]]) -> dict[str, dict[str, str]]:
    return {bank.label: {str(pcr): value.hex() for pcr, value in values.items()} for bank, values in pcrs.items()}


def test_logs_say_what_is_expected(vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    known = {name: row for name, row in expected.items() if "events" in row}
    assert len(known) == 25
    for name, row in known.items():
        log = read(vectors, name)
        assert len(log.events) == row["events"], name
        assert [bank.label for bank in log.banks] == row["banks"], name
        assert log.startup_locality == (row["startup_locality"] or 0), name
        assert hexed(replayed_pcrs(log)) == row["replayed_pcrs"], name
        claimed = uefi.claimed_secure_boot(log.events)
        assert (None if claimed is None else claimed.hex()) == row["secure_boot_variable"], name


def test_secure_boot_is_what_the_confirmed_events_say(vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    states = {"01": SecureBoot.ON, "00": SecureBoot.OFF, "": SecureBoot.OFF, None: SecureBoot.UNKNOWN}
    for name, row in expected.items():
        if "events" in row:
            log = read(vectors, name)
            boot = understand(replay(Logs(log), replayed_pcrs(log)).events)
            assert boot.secure_boot is states[row["secure_boot_variable"]], name


UNRULY = {
    "ibmtss/amd635.log": "separator-doubled",
    "ibmtss/sm1.log": "authority-cut-short",
    "ibmtss/sm2.log": "authority-cut-short",
    "ibmtss/ubuntu3.log": "authority-cut-short",
    "tpm2-tools/event-postcode.bin": "authority-cut-short",
    "tpm2-tools/event-uefiaction.bin": "separator-missing",
    "tpm2-tools/event-uefiservices.bin": "separator-missing",
    "tpm2-tools/event-uefivar.bin": "separator-missing",
    "tpm2-tools/event.bin": "separator-missing",
    "tpm2-tools/specid-vendordata.bin": "spec-id-vendor-info",
}
"""Machines with a quirk (test_quirks.py), and files with a single event or none."""


def test_logs_of_real_firmware_keep_the_rules(vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    found = {}
    for name, row in expected.items():
        if "events" in row:
            log = read(vectors, name)
            try:
                assert check_log(log, replay(Logs(log), replayed_pcrs(log)).events, range(8)) == ()
            except Refusal as refusal:
                found[name] = refusal.code
    assert found == UNRULY


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("keylime/binary_bios_measurements-bogus", "eventlog-limit"),
        ("keylime/binary_bios_measurements-empty", "eventlog-truncated"),
    ],
)
def test_what_is_no_log_is_a_format_error(vectors: Path, name: str, code: str) -> None:
    with pytest.raises(InputError) as caught:
        read(vectors, name)
    assert caught.value.code == code


def test_every_cut_within_an_event_is_truncation(vectors: Path) -> None:
    data = (vectors / "eventlogs" / "tpm2-tools/event-sd-boot-fedora37.bin").read_bytes()
    log = eventlog.parse(data)
    boundaries = {event.offset for event in log.events}
    for size in range(len(data)):
        if size in boundaries:
            assert len(eventlog.parse(data[:size]).events) < len(log.events)
            continue
        with pytest.raises(InputError) as caught:
            eventlog.parse(data[:size])
        assert caught.value.code == "eventlog-truncated"


def test_events_of_all_logs_can_be_described(vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    for name, row in expected.items():
        if "events" in row:
            assert all(event_text.title(event).isprintable() for event in read(vectors, name).events), name


CRASHES = {"ibmtss/p511.log"}
"""Where tpm2_eventlog 5.4 gives up: an event that names no PCR."""


@pytest.mark.skipif(shutil.which("tpm2_eventlog") is None, reason="tpm2_eventlog is not installed")
def test_tpm2_eventlog_agrees(vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    """On every log that it can read; but in PCR 0 where TPM2_Startup was at a locality, which it does not replay."""
    failed = set()
    for name in (name for name, row in expected.items() if "events" in row):
        run = subprocess.run(["tpm2_eventlog", str(vectors / "eventlogs" / name)], capture_output=True, check=False)
        if run.returncode:
            failed.add(name)
            continue
        assert_agrees(name, run.stdout.decode("utf-8", "replace"), read(vectors, name))
    assert failed == CRASHES


def assert_agrees(name: str, told: str, log: eventlog.EventLog) -> None:
    types = [(int(i), int(pcr), kind) for i, pcr, kind in re.findall(_EVENT, told)]
    ours = [(event.index, event.pcr, eventlog.type_name(event.type)) for event in log.events]
    if log.spec is None:
        assert re.findall(r"EventType: (\w+)", told) == [kind for _, _, kind in ours], name
    else:
        assert types[1:] == [(i, pcr, kind if kind.startswith("EV_") else "Unknown") for i, pcr, kind in ours], name
    bank = ""
    pcrs: dict[str, dict[str, str]] = {known.label: {} for known in log.banks}
    for line in told[told.rindex("\npcrs:") :].splitlines() if "\npcrs:" in told else ():
        if found := re.fullmatch(r"  (\w+):", line):
            bank = found[1]
        elif value := re.fullmatch(r" +(\d+) *: 0x([0-9a-f]+)", line):
            pcrs[bank][value[1]] = value[2]
    unsaid = {"0"} if log.startup_locality else set()
    replayed = hexed(replayed_pcrs(log))
    for bank, values in pcrs.items():
        assert without(values, unsaid) == without(replayed.get(bank, {}), unsaid), (name, bank)


def without(values: dict[str, str], unsaid: set[str]) -> dict[str, str]:
    return {pcr: value for pcr, value in values.items() if pcr not in unsaid}


_EVENT = r"- EventNum: (\d+)\n  PCRIndex: (\d+)\n  EventType: (\w+)"


def quoted(expected: dict[str, dict[str, Any]], name: str) -> dict[HashAlg, dict[int, bytes]]:
    values = expected[name]["tpm_pcrs_sha256"]
    return {HashAlg.SHA256: {int(pcr): bytes.fromhex(value) for pcr, value in values.items()}}


def test_captured_boot_is_explained_with_its_ima_list(vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    entries = ima.parse_binary((vectors / "ima/ovmf-uki-bookworm.binary_runtime_measurements").read_bytes())
    logs = Logs(read(vectors, UKI), ima=entries)
    done = replay(logs, quoted(expected, UKI))
    statuses = {row.pcr: row.status for row in done.table.rows if row.bank is HashAlg.SHA256}
    assert {pcr for pcr, status in statuses.items() if status is Status.MATCH} == {*range(8), 9, 10, 11}
    assert all(statuses[pcr] is Status.UNEXTENDED for pcr in (8, *range(12, 24)))
    assert done.table.dropped == {"systemd": 0, "ima": 4}
    boot = understand(done.events)
    assert boot.secure_boot is SecureBoot.ON
    assert [section.name for section in boot.sections] == [".linux", ".osrel", ".cmdline", ".initrd"]
    assert [application.path.rsplit("\\")[-1] for application in boot.applications] == ["BOOTX64.EFI"]


def test_captured_boot_without_its_ima_list_is_unexplained(vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(ReplayRefusal) as caught:
        replay(Logs(read(vectors, UKI)), quoted(expected, UKI))
    assert (caught.value.code, caught.value.place) == ("pcr-unexplained", "sha256 PCR 10")


def test_ima_list_of_another_boot_is_refused(vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    entries = ima.parse_binary((vectors / "ima/ovmf-uki-bookworm.binary_runtime_measurements").read_bytes())
    other = read(vectors, SD_BOOT)
    values = {HashAlg.SHA256: replayed_pcrs(other)[HashAlg.SHA256] | {10: quoted(expected, UKI)[HashAlg.SHA256][10]}}
    with pytest.raises(ReplayRefusal) as caught:
        replay(Logs(other, ima=entries), values)
    assert caught.value.code == "boot-aggregate-mismatch"


def test_boot_phases_missing_from_the_logs_are_a_mismatch(vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    table = tabulate(Logs(read(vectors, SD_BOOT)), quoted(expected, SD_BOOT))
    (row,) = (row for row in table.rows if (row.bank, row.pcr) == (HashAlg.SHA256, 11))
    assert row.status is Status.MISMATCH
    assert row.replayed is not None
    assert row.replayed.hex().startswith("5e81ab39")


def test_what_shim_and_grub_say_of_themselves(vectors: Path) -> None:
    log = read(vectors, "tpm2-tools/event-moklisttrusted.bin")
    boot = understand(replay(Logs(log), replayed_pcrs(log)).events)
    assert [each.name for each in boot.shim_lists] == ["MokList", "MokListX", "MokListTrusted"]
    assert [each.name for each in boot.authorities][-3:] == ["SbatLevel", "MokListTrusted", "Shim"]
    assert [entry.component for entry in boot.sbat_level] == ["sbat"]
    assert len(boot.grub_commands) == 51
    (line,) = boot.command_lines
    assert line.text is not None
    assert line.text.startswith("(hd0,gpt2)/vmlinuz-5.14.0")
    old = read(vectors, "ibmtss/sm2.log")
    names = [each.name for each in understand(replay(Logs(old), replayed_pcrs(old)).events).authorities]
    assert names == ["db", "Shim", "MokList"]
