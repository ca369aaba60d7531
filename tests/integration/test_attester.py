"""Evidence of an enrolled gateway on a real TPM that real firmware events were measured into."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters.logs import FileLogs
from medvouch.adapters.system import SystemClock
from medvouch.adapters.tss import TssTpm
from medvouch.attestation import quote_refusals, refusals
from medvouch.attestation.appraisal import Anchors, Appraisal, BootClock, Expectation, appraise
from medvouch.attestation.attester import QUOTE_ATTEMPTS, AttestationKeys, Attester, Description
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.policy import RELEASE_POLICY, STATIC_PCRS
from medvouch.attestation.provisioning import attestation_key
from medvouch.attestation.reference import verify_references
from medvouch.attestation.semantics import SecureBoot
from medvouch.crypto.keys import SoftwareSigner, key_thumbprint
from medvouch.crypto.tpm import public_key
from medvouch.errors import TpmFault
from medvouch.formats import ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import digest
from medvouch.formats.identity import DeviceIdentity
from medvouch.formats.tpm import PcrSelection
from medvouch.formats.tpm_public import Public
from medvouch_sim import firmware
from medvouch_sim.firmware import Machine
from medvouch_sim.prediction import predict, sign_reference
from medvouch_sim.swtpm import BANKS, SwTpm, command
from support.authorities import NOW, key
from support.enrolling import ORDER, World, world
from support.refusing import assert_refused

APPRAISER = "collector"
CLIENT_KEY = key_thumbprint(key("client").public_key())
ONE_PCR = PcrSelection.of({HashAlg.SHA256: [16]})
"""The debug PCR, which no log explains and no policy requires."""

TPM_CAP_HANDLES = 1
TPM_CC_GET_CAPABILITY = 0x17A
TRANSIENT, LOADED_SESSIONS, SAVED_SESSIONS = 0x80000000, 0x02000000, 0x03000000


@dataclass
class Device:
    """An enrolled gateway that has booted; what its agent and its appraiser are made of."""

    swtpm: SwTpm
    machine: Machine
    identity: DeviceIdentity
    anchors: Anchors

    def attester(self, tpm: TssTpm) -> Attester:
        machine, identity = self.machine, self.identity
        description = Description(
            ueid=identity.ueid,
            client_key_thumbprint=CLIENT_KEY,
            oem_id=b"\x00\x01\x02",
            hw_model=identity.model.encode(),
            hw_version=identity.hw_version,
            sw_name="medvouch-gateway",
            sw_version="1.0.0",
        )
        logs = FileLogs(machine.uefi_log, machine.systemd_log, machine.ima_log)
        return Attester(tpm, logs, SystemClock(), AttestationKeys.load(tpm, identity), description)

    def appraise(self, data: bytes, nonce: bytes, last: BootClock | None = None, **changes: Any) -> Appraisal:
        with TssTpm(self.swtpm.tcti()) as tpm:
            lak = public_key(Public.parse(tpm.read_public(attestation_key(tpm))))
        known = {
            "appraiser": APPRAISER,
            "device": self.identity.device_id,
            "nonce": nonce,
            "attestation_key": lak,
            "client_key_thumbprint": CLIENT_KEY,
            "last_clock": last,
        }
        expected = Expectation(**{**known, **changes})
        return appraise(UnverifiedEvidence.parse(data), expected, self.anchors, RELEASE_POLICY, NOW + 2)

    def handles(self) -> list[list[int]]:
        """Transient objects and sessions that the TPM holds."""
        return [self._handles(first) for first in (TRANSIENT, LOADED_SESSIONS, SAVED_SESSIONS)]

    def _handles(self, first: int) -> list[int]:
        answer = self.swtpm.raw(command(TPM_CC_GET_CAPABILITY, TPM_CAP_HANDLES, first, 254))
        assert int.from_bytes(answer[6:10], "big") == 0
        listed = answer[19:]
        return [int.from_bytes(listed[at : at + 4], "big") for at in range(0, len(listed), 4)]


@contextmanager
def enrol(everybody: World, directory: Path) -> Iterator[Device]:
    signer = SoftwareSigner(key("release"))
    messages = [sign_reference(predict(ORDER.model, release), signer) for release in ("1.1.0", "1.0.0")]
    anchors = Anchors([everybody.issuer.certificate], verify_references(messages, [signer.public_key]))
    machine = Machine.create(directory / "disk")
    with everybody.gateway(directory / "tpm") as gateway:
        firmware.boot(machine, gateway.tpm)
        authority, enrollee = everybody.authority(gateway.entry), gateway.enrollee()
        challenge, pending = authority.challenge(enrollee.request(), NOW)
        enrolled = authority.answer(pending, enrollee.proof(challenge), NOW + 1)
        identity = enrollee.accept(enrolled.answer, lambda _: None)
        gateway.tpm.close()
        yield Device(gateway.swtpm, machine, identity, anchors)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with enrol(world(), tmp_path_factory.mktemp("gateway")) as enrolled:
        yield enrolled


@pytest.fixture
def tpm(device: Device) -> Iterator[TssTpm]:
    with TssTpm(device.swtpm.tcti()) as opened:
        yield opened


@pytest.fixture
def attester(device: Device, tpm: TssTpm) -> Attester:
    return device.attester(tpm)


def nonce(number: int) -> bytes:
    return (number + 1).to_bytes(32, "big")


def test_evidence_of_a_release_is_affirmed(device: Device, attester: Attester) -> None:
    appraisal = device.appraise(attester.evidence(nonce(1), APPRAISER, STATIC_PCRS), nonce(1))
    assert appraisal.device == device.identity.device_id
    assert appraisal.release == "1.0.0"
    assert appraisal.boot.secure_boot is SecureBoot.ON
    assert appraisal.claims.ueid == device.identity.ueid
    assert appraisal.claims.boot_count == appraisal.boot_clock.reset_count
    clock = appraisal.boot_clock
    assert attester.boot_id == f"{clock.reset_count}.{clock.restart_count}"


def test_evidence_for_another_challenge_or_appraiser_is_refused(device: Device, attester: Attester) -> None:
    data = attester.evidence(nonce(1), APPRAISER, STATIC_PCRS)
    assert_refused(refusals.NONCE_MISMATCH, device.appraise, data, nonce(2))
    assert_refused(refusals.AUDIENCE_MISMATCH, device.appraise, data, nonce(1), appraiser="another")
    other = attester.evidence(nonce(1), "another", STATIC_PCRS)
    assert_refused(refusals.AUDIENCE_MISMATCH, device.appraise, other, nonce(1))


def test_older_evidence_does_not_follow_newer(device: Device, attester: Attester) -> None:
    older, newer = (attester.evidence(nonce(1), APPRAISER, STATIC_PCRS) for _ in range(2))
    last = device.appraise(newer, nonce(1)).boot_clock
    assert_refused(refusals.CLOCK_WENT_BACK, device.appraise, older, nonce(1), last)
    assert_refused(refusals.CLOCK_WENT_BACK, device.appraise, newer, nonce(1), last)


def test_fewer_pcrs_than_the_policy_requires(device: Device, attester: Attester) -> None:
    data = attester.evidence(nonce(1), APPRAISER, PcrSelection.of({HashAlg.SHA256: range(15)}))
    assert_refused(quote_refusals.PCR_SELECTION_PARTIAL, device.appraise, data, nonce(1))
    data = attester.evidence(nonce(1), APPRAISER, PcrSelection(()))
    assert_refused(refusals.PCR_SELECTION_EMPTY, device.appraise, data, nonce(1))


def test_a_boot_goes_on_between_two_evidences(device: Device, tpm: TssTpm, attester: Attester) -> None:
    """The kernel writes its list before it extends the PCR: first the list runs ahead, then the TPM has caught up."""
    before = device.appraise(attester.evidence(nonce(1), APPRAISER, STATIC_PCRS), nonce(1))
    log = device.machine.ima_log
    entry = ima.parse_binary(log.read_bytes())[1]
    log.write_bytes(log.read_bytes() + entry.encode())
    ahead = device.appraise(attester.evidence(nonce(2), APPRAISER, STATIC_PCRS), nonce(2), before.boot_clock)
    assert ahead.replay.table.dropped["ima"] == 1
    tpm.pcr_extend(10, {bank: digest(bank, entry.hashed) for bank in BANKS})
    after = device.appraise(attester.evidence(nonce(3), APPRAISER, STATIC_PCRS), nonce(3), ahead.boot_clock)
    assert after.replay.table.dropped["ima"] == 0
    assert len(after.replay.events) == len(before.replay.events) + 1


class Restless(TssTpm):
    """Somebody extends the debug PCR each time it was read, `times` times."""

    times = 0

    def pcr_read(self, selection: PcrSelection) -> Mapping[HashAlg, Mapping[int, bytes]]:
        values = super().pcr_read(selection)
        if self.times:
            self.times -= 1
            self.pcr_extend(16, {HashAlg.SHA256: bytes(32)})
        return values


def test_pcrs_that_change_while_they_are_quoted(device: Device) -> None:
    with Restless(device.swtpm.tcti()) as tpm:
        attester = device.attester(tpm)
        tpm.times = QUOTE_ATTEMPTS - 1
        data = attester.evidence(nonce(1), APPRAISER, ONE_PCR)
        assert UnverifiedEvidence.parse(data).quote.pcrs == tpm.pcr_read(ONE_PCR)
        tpm.times = QUOTE_ATTEMPTS
        with pytest.raises(TpmFault, match="pcrs-unstable") as caught:
            attester.evidence(nonce(1), APPRAISER, ONE_PCR)
        assert (tpm.times, caught.value.exit_code) == (0, 4)
        assert caught.value.remedy


def test_two_hundred_evidences_leave_nothing_behind(device: Device, attester: Attester) -> None:
    attester.evidence(nonce(0), APPRAISER, STATIC_PCRS)
    before, last = device.handles(), None
    assert [len(handles) for handles in before] == [1, 0, 0], "the LDevID alone is loaded"
    for number in range(200):
        data = attester.evidence(nonce(number), APPRAISER, STATIC_PCRS)
        if number % 50 == 0:
            last = device.appraise(data, nonce(number), last).boot_clock
    assert device.handles() == before


def test_nothing_stays_loaded_when_the_agent_stops(device: Device) -> None:
    with TssTpm(device.swtpm.tcti()) as tpm:
        device.attester(tpm).evidence(nonce(1), APPRAISER, STATIC_PCRS)
    assert device.handles() == [[], [], []]


def test_a_new_boot_follows_and_a_restored_tpm_does_not(tmp_path: Path) -> None:
    """Whoever restores a copy of the TPM's state takes its resetCount back with it."""
    with enrol(world(), tmp_path) as device:
        swtpm, copy = device.swtpm, tmp_path / "copy"
        first = attested(device, 1, None)
        swtpm.stop()
        shutil.copytree(swtpm.state_dir, copy)
        assert boot(device) > first
        second = attested(device, 2, first)
        assert second.reset_count == first.reset_count + 1
        swtpm.kill()
        boot(device)
        third = attested(device, 3, second, safe=False)
        swtpm.stop()
        shutil.rmtree(swtpm.state_dir)
        shutil.copytree(copy, swtpm.state_dir)
        boot(device)
        assert_refused(refusals.TPM_CLEARED, attested, device, 4, third)


def boot(device: Device) -> BootClock:
    device.swtpm.start()
    with TssTpm(device.swtpm.tcti()) as tpm:
        firmware.boot(device.machine, tpm)
        clock = tpm.read_clock()
    return BootClock(clock.reset_count, clock.restart_count, clock.clock)


def attested(device: Device, number: int, last: BootClock | None, *, safe: bool = True) -> BootClock:
    with TssTpm(device.swtpm.tcti()) as tpm:
        data = device.attester(tpm).evidence(nonce(number), APPRAISER, STATIC_PCRS)
    appraisal = device.appraise(data, nonce(number), last)
    assert appraisal.clock_safe is safe
    return appraisal.boot_clock
