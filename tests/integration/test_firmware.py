"""The virtual firmware on a real swtpm: TPM, logs and tpm2-tools agree."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.replay import Logs, ReplayRefusal, Status, replay, replayed_pcrs
from medvouch.attestation.semantics import SecureBoot, understand
from medvouch.formats import eventlog, ima, systemd
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection
from medvouch_sim import uki
from medvouch_sim.firmware import Machine, boot, measure
from medvouch_sim.images import Image
from medvouch_sim.swtpm import BANKS, SwTpm

SHA256 = HashAlg.SHA256
QUOTED = PcrSelection.of(dict.fromkeys(BANKS, range(16)))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.create(tmp_path / "gateway")


@pytest.fixture
def swtpm(tmp_path: Path) -> Iterator[SwTpm]:
    with SwTpm(tmp_path / "tpm") as running:
        yield running


@pytest.fixture
def tpm(swtpm: SwTpm) -> Iterator[TssTpm]:
    with TssTpm(swtpm.tcti()) as connected:
        yield connected


def logs_of(machine: Machine) -> Logs:
    return Logs(
        eventlog.parse(machine.uefi_log.read_bytes()),
        systemd.parse(machine.systemd_log.read_bytes()),
        ima.parse_binary(machine.ima_log.read_bytes()),
    )


def test_the_tpm_holds_what_was_predicted_and_the_logs_explain_it(machine: Machine, tpm: TssTpm) -> None:
    boot(machine, tpm)
    quoted = tpm.pcr_read(QUOTED)
    assert {b: {p: v[p] for p in range(16)} for b, v in measure(machine).pcrs().items()} == quoted
    assert logs_of(machine) == measure(machine).logs
    replayed = replay(logs_of(machine), quoted)
    assert {row.status for row in replayed.table.rows} == {Status.MATCH, Status.UNEXTENDED}
    assert not any(replayed.table.dropped.values())
    understood = understand(replayed.events)
    assert understood.secure_boot is SecureBoot.ON
    assert len(understood.applications) == 1


def test_tpm2_eventlog_reads_the_log_and_agrees(machine: Machine, tpm: TssTpm) -> None:
    if shutil.which("tpm2_eventlog") is None:
        pytest.skip("tpm2_eventlog is not installed (apt install tpm2-tools)")
    boot(machine, tpm)
    out = subprocess.run(["tpm2_eventlog", machine.uefi_log], capture_output=True, text=True, check=True).stdout
    pcrs = out[out.index("\npcrs:") :]
    for bank in BANKS:
        section = re.search(rf"  {bank.label}:\n((?:    \d+ *: 0x[0-9a-f]+\n)+)", pcrs)
        assert section is not None
        found = {int(n): bytes.fromhex(v) for n, v in re.findall(r"(\d+) *: 0x([0-9a-f]+)", section[1])}
        assert found == replayed_pcrs(logs_of(machine).uefi)[bank]
        assert set(found) == {*range(8), 9, 11}


def test_a_changed_kernel_boots_truthfully(machine: Machine, tpm: TssTpm) -> None:
    image = bytearray(machine.image.uki)
    image[image.index(dict(uki.sections(bytes(image)))[".linux"])] ^= 1
    machine.alter_running_image(lambda honest: Image(bytes(image), honest.files))
    boot(machine, tpm)
    events = replay(logs_of(machine), tpm.pcr_read(QUOTED)).events
    assert understand(events).applications[0].digests[SHA256] == uki.authenticode(bytes(image), SHA256)


def test_a_log_of_another_boot_does_not_explain_the_tpm(machine: Machine, tpm: TssTpm) -> None:
    boot(machine, tpm)
    machine.install("1.1.0")
    with pytest.raises(ReplayRefusal, match="pcr-mismatch"):
        replay(measure(machine).logs, tpm.pcr_read(QUOTED))


def test_every_boot_after_a_reset_is_the_same(machine: Machine, swtpm: SwTpm) -> None:
    values = []
    for _ in range(2):
        with TssTpm(swtpm.tcti()) as tpm:
            boot(machine, tpm)
            values.append(tpm.pcr_read(QUOTED))
        swtpm.power_cycle()
    assert values[0] == values[1]
