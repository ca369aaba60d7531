"""Boots of the gateway image in QEMU, as the collector received them: each is judged again, from its bytes alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.replay import Logs, Replay, Status, boot_aggregate, replay
from medvouch.attestation.semantics import Boot, CommandLineSource, SecureBoot, understand
from medvouch.cli.verifying import verify_file
from medvouch.crypto.certificates import EK
from medvouch.crypto.x509 import verify_chain
from medvouch.formats import eventlog, ima, systemd
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cose import Sign
from medvouch.formats.hashing import digest
from medvouch.formats.reference import ReferenceValues
from medvouch.formats.trust import TrustDocument
from medvouch_sim.fixtures import FIXTURES

CAPTURES = FIXTURES / "captures"
NAMES = (
    "delivered", "failed-boot-option", "changed-command-line", "uki-addon", "secure-boot-off", "updated",
)  # fmt: skip
AFFIRMING = {"delivered": "1.0.0", "updated": "1.1.0"}
BANK = HashAlg.SHA256
PHASES = ("enter-initrd", "leave-initrd", "sysinit", "ready")
MAX_BYTES, MAX_TOTAL_BYTES = 400_000, 3_000_000
TRUST = TrustDocument.parse((CAPTURES / "trust.cbor").read_bytes())


@dataclass(frozen=True)
class Capture:
    """One folder."""

    folder: Path

    def read(self, name: str) -> bytes:
        """A file of it."""
        return (self.folder / name).read_bytes()

    @cached_property
    def about(self) -> dict[str, Any]:
        """Provenance, PCR values and verdict."""
        document: dict[str, Any] = json.loads(self.read("capture.json"))
        return document

    @cached_property
    def evidence(self) -> UnverifiedEvidence:
        """What the collector received."""
        return UnverifiedEvidence.parse(self.read("evidence.cbor"))

    @cached_property
    def logs(self) -> Logs:
        """The logs, from their own files."""
        return Logs(
            eventlog.parse(self.read("uefi.log")),
            systemd.parse(self.read("systemd.log")),
            ima.parse_binary(self.read("ima.log")),
        )

    @cached_property
    def pcrs(self) -> dict[int, bytes]:
        """The quoted values, by PCR."""
        return {int(pcr): bytes.fromhex(value) for pcr, value in self.about["pcrs"][BANK.label].items()}

    @cached_property
    def replayed(self) -> Replay:
        """The logs, replayed to these values."""
        return replay(self.logs, {BANK: self.pcrs})

    def boot(self) -> Boot:
        """What the boot was, by its confirmed events; texts of command lines come from the reference values."""
        return understand(self.replayed.events, command_lines=_command_lines())


def _command_lines() -> list[str]:
    payloads = (Sign.parse(message).payload for message in TRUST.references)
    return [text for data in payloads if data for text in ReferenceValues.parse(data).command_lines]


@pytest.fixture(params=NAMES)
def capture(request: pytest.FixtureRequest) -> Capture:
    return Capture(CAPTURES / request.param)


def test_every_folder_is_known_and_small() -> None:
    assert {path.name for path in CAPTURES.iterdir() if path.is_dir()} == set(NAMES)
    sizes = {path: path.stat().st_size for path in CAPTURES.rglob("*") if path.is_file()}
    assert max(sizes.values()) < MAX_BYTES
    assert sum(sizes.values()) < MAX_TOTAL_BYTES


def test_judged_again_the_verdict_is_the_same(capture: Capture) -> None:
    about = capture.about
    nonce, at = bytes.fromhex(about["nonce"]), about["judged_at"]
    document, _ = verify_file(capture.read("evidence.cbor"), TRUST, nonce=nonce, device=about["device"], at=at)
    expected = about["expected"]
    if capture.folder.name in AFFIRMING:
        assert expected == {"code": None, "place": None}
        assert (document["status"], document["release"]) == ("affirming", AFFIRMING[capture.folder.name])
    else:
        assert document["status"] == "contraindicated"
        assert (document["code"], document["place"]) == (expected["code"], expected["place"])


def test_the_logs_explain_every_pcr(capture: Capture) -> None:
    quoted = [row for row in capture.replayed.table.rows if row.bank is BANK]
    assert {row.status for row in quoted} == {Status.MATCH, Status.UNEXTENDED}
    assert {row.pcr for row in quoted} == set(range(16))
    assert capture.evidence.quote.pcrs == {BANK: capture.pcrs}


def test_the_files_are_what_the_evidence_holds(capture: Capture) -> None:
    evidence = capture.evidence
    held = {"uefi.log": evidence.uefi, "systemd.log": evidence.systemd, "ima.log": evidence.ima}
    assert held == {name: capture.read(name) for name in held}


def test_boot_aggregate_begins_imas_list(capture: Capture) -> None:
    first = capture.logs.ima[0]
    assert first.path == ima.BOOT_AGGREGATE
    assert first.file_digest == (BANK.label, boot_aggregate(capture.logs.uefi, BANK.label))
    assert {entry.template for entry in capture.logs.ima} == {"ima-sig"}
    assert "/usr/bin/python3.13" in {entry.path for entry in capture.logs.ima}


def test_pcr_11_is_sections_then_systemds_phases(capture: Capture) -> None:
    value = bytes(32)
    for event in capture.logs.uefi.events:
        if event.pcr == 11:
            value = digest(BANK, value + event.digests[BANK])
    for phase in capture.boot().phases:
        value = digest(BANK, value + digest(BANK, phase.encode()))
    assert value == capture.pcrs[11]
    assert capture.boot().phases == PHASES[: len(capture.boot().phases)]
    assert [section.name for section in capture.boot().sections] == [
        ".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat",
    ]  # fmt: skip


def test_the_ek_certificate_is_the_vendors(capture: Capture) -> None:
    certificate = capture.read("ek.der")
    (root,) = TRUST.certificates["tpm-vendor"]
    issuer = capture.read("ek-issuer.der")
    verified = verify_chain(certificate, [issuer], [root], capture.about["judged_at"], profile=EK)
    assert verified.public_key is not None
    assert x509.load_der_x509_certificate(certificate).subject.rfc4514_string() == ""


def test_provenance_is_told(capture: Capture) -> None:
    about = capture.about
    assert about["command"] == "make capture"
    assert {"ovmf", "qemu-system-x86", "systemd-boot-efi", "systemd", "medvouch-agent"} <= about["packages"].keys()
    assert about["what"]
    assert about["taken_at"].endswith("+00:00")


@pytest.mark.parametrize("name", NAMES)
def test_secure_boot_is_read_from_verified_events(name: str) -> None:
    boot = Capture(CAPTURES / name).boot()
    assert boot.secure_boot is (SecureBoot.OFF if name == "secure-boot-off" else SecureBoot.ON)
    assert bool(boot.authorities) == (name != "secure-boot-off")


@pytest.mark.parametrize(("name", "count"), [("delivered", 2), ("updated", 2), ("uki-addon", 3)])
def test_boot_applications_are_loader_kernel_and_addon(name: str, count: int) -> None:
    applications = Capture(CAPTURES / name).boot().applications
    assert len(applications) == count
    assert applications[0].path.upper().endswith("BOOTX64.EFI")


@pytest.mark.parametrize("name", ["delivered", "failed-boot-option", "secure-boot-off", "updated"])
def test_a_known_command_line_names_the_root(name: str) -> None:
    boot = Capture(CAPTURES / name).boot()
    release = 1 if name == "updated" else 0
    assert [line.source for line in boot.command_lines] == [CommandLineSource.UKI, CommandLineSource.KERNEL]
    assert {line.text for line in boot.command_lines} == {_command_lines()[release]}
    assert boot.root_hash is not None
    assert f"roothash={boot.root_hash.hex()}" in _command_lines()[release]


def test_an_unknown_command_line_names_no_root() -> None:
    boot = Capture(CAPTURES / "changed-command-line").boot()
    assert [line.text for line in boot.command_lines] == [None, None]
    assert boot.root_hash is None


def test_an_addon_shows_in_pcr_12() -> None:
    addon, delivered = (Capture(CAPTURES / name) for name in ("uki-addon", "delivered"))
    assert delivered.pcrs[12] == bytes(32)
    assert addon.pcrs[12] != bytes(32)
    assert any(line.source is CommandLineSource.OVERRIDE for line in addon.boot().command_lines)
    assert addon.boot().root_hash is None


def test_a_failed_option_adds_events_to_pcr_4() -> None:
    failed, delivered = (Capture(CAPTURES / name) for name in ("failed-boot-option", "delivered"))
    extra = [event.data for event in failed.replayed.events.of(4)]
    assert any(data.startswith(b"Returning from EFI Application") for data in extra)
    assert len(extra) == len(delivered.replayed.events.of(4)) + 2
    assert len(failed.boot().applications) == len(delivered.boot().applications)
