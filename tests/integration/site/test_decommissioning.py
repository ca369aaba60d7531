"""The end of a gateway's life: frozen, receipted, sanitised, proven; and every way in which it must not end."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.adapters.tss import TssTpm
from medvouch.assurance.bundle import BundleTrust, assemble, verify_bundle
from medvouch.attestation import refusals as attestation_refusals
from medvouch.attestation.appraisal import Anchors, Expectation, appraise
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.ownership import open_escrow
from medvouch.attestation.policy import RELEASE_POLICY
from medvouch.attestation.provisioning import IAK_TEMPLATE
from medvouch.attestation.results import verify_signed
from medvouch.attestation.sanitisation import SELECTION, VerifiedSanitisation, verify_sanitisation
from medvouch.collector import decommissioning as collector_side
from medvouch.collector.commanding import CommandRefused
from medvouch.collector.registry import Ended
from medvouch.crypto import refusals as crypto_refusals
from medvouch.crypto.refusals import ESCROW_UNOPENED
from medvouch.daemon import data_key, departing
from medvouch.daemon.recording import Circumstances
from medvouch.errors import NetworkFault, Refusal, TpmFault
from medvouch.formats.sanitisation import SanitisationCertificate, Sanitised, qualifier
from medvouch.lifecycle.life import Life
from medvouch.lifecycle.refusals import DEVICE_DECOMMISSIONED
from medvouch.messages import topics
from medvouch_sim.fixtures import private_key
from medvouch_sim.site import Credential
from support.refusing import assert_refused
from support.sites import HOSPITAL, Scene, eventually, signer
from support.store import kept, ledger

NONCE = bytes(range(32))


def lockout_of(scene: Scene) -> bytes:
    """The owner opens the escrow."""
    record = scene.record
    return open_escrow(record.escrow, private_key("owner"), record.ek_hash).lockout


def ended(scene: Scene) -> Ended:
    found = scene.collector.registry.ended(scene.device)
    assert found is not None
    return found


async def decommissioned(scene: Scene) -> VerifiedSanitisation:
    proof = await scene.collector.decommissioner.decommission(scene.device, lockout_of(scene))
    await scene.gateway.ended()
    return proof


async def frozen(scene: Scene) -> None:
    await scene.collector.challenger.commander.ask(scene.device, "freeze", {})


async def sanitise(scene: Scene, identifier: str, args: dict[str, Any]) -> str:
    return await scene.refused("sanitise", identifier, scene.command("sanitise", identifier, args))


async def refusal_at_start(scene: Scene) -> Refusal:
    await scene.gateway.stop_agent()
    await scene.gateway.start_agent()
    with pytest.raises(Refusal) as caught:
        await scene.gateway.ended()
    scene.gateway._running = None
    return caught.value


async def test_the_whole_end_of_a_life(serving: Scene) -> None:
    await serving.commissioned()
    record, lockout = serving.record, lockout_of(serving)
    before = await serving.collector.challenger.challenge(serving.device)
    await serving.state("attestation")
    stored = kept(serving, data_key.DATA_KEY)
    assert stored is not None
    tpm = serving.agent._around.tpm
    assert len(await serving.agent._worker.run(lambda: data_key.unseal(tpm, stored))) == data_key.KEY_BYTES

    proof = await decommissioned(serving)
    certificate = proof.certificate
    assert (certificate.device_id, certificate.serial, certificate.accountable_owner) == (
        serving.device, record.serial, HOSPITAL,
    )  # fmt: skip
    assert proof.clock.reset_count == 0
    assert (await serving.event("frozen"))["owner"] == HOSPITAL
    told = await serving.collected("decommissioned", about=serving.device)
    assert (told["serial"], told["owner"]) == (record.serial, HOSPITAL)
    await serving.state("identity", life="decommissioned")

    statements = ledger(serving)
    last = statements[-1]
    assert (last.machine, last.before, last.after, last.cause) == ("life", "commissioned", "frozen", "freeze")
    kept_there = ended(serving)
    receipt = verify_signed(kept_there.receipt, [serving.agent._trusted.appraiser.keys[0]]).ear
    assert receipt.ledger_head is not None
    assert receipt.ledger_head.size == certificate.ledger_size == len(statements)
    assert (receipt.ledger_head.root, receipt.ledger_head.counter) == (
        certificate.ledger_root, certificate.ledger_counter,
    )  # fmt: skip
    again = verify_sanitisation(kept_there.sanitisation, record.iak_public, kept_there.nonce, serving.device)
    assert again == proof

    assert kept(serving, data_key.DATA_KEY) is None
    assert serving.agent.standing.life is Life.DECOMMISSIONED
    with pytest.raises(TpmFault):
        data_key.unseal(tpm, stored)
    with pytest.raises(Refusal, match="device-decommissioned"):
        await serving.collector.challenger.challenge(serving.device)
    with pytest.raises(Refusal, match="device-decommissioned"):
        await serving.collector.decommissioner.decommission(serving.device, lockout)
    assert (await refusal_at_start(serving)).kind == DEVICE_DECOMMISSIONED

    revoked = Anchors(
        [serving.site.enrolment_ca.certificate],
        serving.site.verified_references(),
        [serving.collector.revocations.current()],
    )
    evidence, since = UnverifiedEvidence.parse(before.evidence), kept_there.time_ms // 1000
    known = Expectation(appraiser="collector", device=serving.device)
    assert_refused(crypto_refusals.CERTIFICATE_REVOKED, appraise, evidence, known, revoked, RELEASE_POLICY, since)
    assert appraise(evidence, known, revoked, RELEASE_POLICY, since - 1).device == serving.device


async def test_the_whole_life_is_proven_without_the_device(serving: Scene) -> None:
    await serving.commissioned()
    await serving.collector.challenger.challenge(serving.device)
    proof = await decommissioned(serving)
    there = ended(serving)
    store = SqliteStore(serving.gateway.state_dir / "state.db")
    bundle = assemble(
        serving.device,
        store.entries(),
        store.checkpoints(),
        receipt=there.receipt,
        sanitisation=there.sanitisation,
        nonce=there.nonce,
    )
    store.close()
    trust = BundleTrust(
        enrolment=[signer("enrolment").public_key],
        appraisers=[signer("appraiser").public_key],
        commanders=[signer("commander").public_key],
        enrolment_roots=[serving.site.enrolment_ca.certificate],
    )
    life = verify_bundle(bundle.encode(), trust, there.time_ms // 1000)
    assert life.states["life"] == "frozen"
    assert (life.sanitisation, life.by_tpm, life.by_appraiser) == (proof, len(life.entries), len(life.entries))


async def test_the_lockout_auth_is_kept_nowhere(serving: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    lockout = lockout_of(serving)
    await decommissioned(serving)
    await serving.gateway.stop_agent()
    for folder in (serving.gateway.state_dir, serving.site.directory / "collector"):
        for path in folder.rglob("*"):
            assert not path.is_file() or lockout not in path.read_bytes(), path
    assert lockout.hex() not in caplog.text
    assert repr(lockout) not in caplog.text
    answers = [heard for heard in serving.observer.heard if not isinstance(heard.topic, topics.Command)]
    assert not [heard for heard in answers if lockout in heard.message.payload]


async def test_what_is_frozen_attests_and_does_nothing_else(serving: Scene) -> None:
    await frozen(serving)
    await serving.state("identity", life="frozen")
    size = len(ledger(serving))
    for name, args in (("commission", {"owner": HOSPITAL}), ("floor", {"approval": b""}), ("freeze", {})):
        assert await serving.refused(name, f"c-{name}", serving.command(name, f"c-{name}", args)) == "device-frozen"
    for _ in range(2):
        mark = serving.mark
        assert (await serving.collector.challenger.challenge(serving.device)).error is None
        await serving.state("attestation", since=mark)
    mark = serving.mark
    await serving.gateway.reboot()
    await serving.state("identity", since=mark, life="frozen")
    assert len(ledger(serving)) == size


async def test_nothing_is_recorded_after_the_freeze(serving: Scene) -> None:
    await frozen(serving)
    with pytest.raises(Refusal, match="device-frozen"):
        await serving.agent.service._recorder.record(  # type: ignore[union-attr]
            serving.agent.standing.raised(9), Circumstances("nobody")
        )


async def test_only_what_is_frozen_is_sanitised(serving: Scene) -> None:
    args = {"nonce": NONCE, "lockout": lockout_of(serving)}
    assert await sanitise(serving, "c1", args) == "device-not-frozen"
    assert (await serving.collector.challenger.challenge(serving.device)).error is None


async def test_not_without_a_receipt_for_the_ledger_as_it_ends(serving: Scene) -> None:
    args = {"nonce": NONCE, "lockout": lockout_of(serving)}
    await serving.collector.challenger.challenge(serving.device)
    await serving.state("attestation")
    await frozen(serving)
    assert await sanitise(serving, "c1", args) == "receipt-missing"
    mark = serving.mark
    await serving.collector.challenger.challenge(serving.device)
    await serving.state("attestation", since=mark)
    mark = serving.mark
    await serving.gateway.reboot()  # whose checkpoint the receipt does not know
    await serving.state("health", since=mark)
    assert await sanitise(serving, "c2", args) == "receipt-missing"
    assert serving.agent.standing.life is Life.FROZEN
    assert (await decommissioned(serving)).certificate.device_id == serving.device


async def test_a_verdict_that_does_not_affirm_is_no_receipt(serving: Scene) -> None:
    await frozen(serving)
    challenger = serving.collector.challenger
    judge = challenger._judge
    challenger._judge = replace(judge, anchors=replace(judge.anchors, references=()))
    outcome = await serving.collector.challenger.challenge(serving.device)
    assert outcome.error is not None
    await serving.state("attestation", status="none")
    assert await sanitise(serving, "c1", {"nonce": NONCE, "lockout": b""}) == "receipt-missing"


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"nonce": NONCE},
        {"lockout": b"x"},
        {"nonce": NONCE[1:], "lockout": b"x"},
        {"nonce": "text", "lockout": b"x"},
        {"nonce": NONCE, "lockout": "text"},
        {"nonce": NONCE, "lockout": bytes(65)},
    ],
)
async def test_arguments_that_sanitise_does_not_take(serving: Scene, args: dict[str, Any]) -> None:
    await frozen(serving)
    assert await sanitise(serving, "c1", args) == "command-malformed"


async def test_another_lockout_auth(serving: Scene) -> None:
    """It stays frozen, and its TPM takes no further attempt, the right one either, before its recovery time is over."""
    lockout = lockout_of(serving)
    with pytest.raises(CommandRefused) as caught:
        await serving.collector.decommissioner.decommission(serving.device, bytes(32))
    assert caught.value.reason == "tpm-refused"
    await serving.event("command-refused", code="tpm-refused", command="sanitise")
    assert serving.agent.standing.life is Life.FROZEN
    assert kept(serving, data_key.DATA_KEY) is None
    with pytest.raises(CommandRefused, match="lockout"):
        await serving.collector.decommissioner.decommission(serving.device, lockout)
    mark = serving.mark
    await serving.gateway.reboot()
    await serving.state("identity", since=mark, life="frozen")
    assert (await serving.collector.challenger.challenge(serving.device)).error is None


class CutAfterClear(TssTpm):
    """Power goes just after TPM2_Clear: whoever asks next finds nobody there."""

    cleared = False

    def clear(self, lockout: bytes) -> None:
        super().clear(lockout)
        CutAfterClear.cleared = True

    def create_primary(self, template: bytes) -> Any:
        if CutAfterClear.cleared and template == IAK_TEMPLATE:
            raise TpmFault("tpm-unreachable", "the power is off")
        return super().create_primary(template)


@pytest.fixture
def cutting(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    CutAfterClear.cleared = False
    with monkeypatch.context() as patch:
        patch.setattr("medvouch_sim.gateway.TssTpm", CutAfterClear)
        yield patch


async def test_a_power_cut_after_the_clear(cutting: pytest.MonkeyPatch, scene: Scene) -> None:
    await scene.gateway.boot()
    await scene.state("health")
    lockout, device = lockout_of(scene), scene.device
    with pytest.raises(CommandRefused) as caught:
        await scene.collector.decommissioner.decommission(device, lockout)
    assert caught.value.reason == "tpm-unreachable"
    await scene.gateway.cut_power()
    assert kept(scene, departing.INTENT_KEY) is not None
    cutting.undo()
    await scene.gateway.boot()
    await scene.gateway.ended()
    assert scene.collector.registry.find(device) is None
    assert (await scene.collected("decommissioned"))["about"] == device
    assert kept(scene, departing.INTENT_KEY) is None
    assert (await refusal_at_start(scene)).kind == DEVICE_DECOMMISSIONED


async def test_power_that_goes_before_the_clear_leaves_it_frozen(serving: Scene) -> None:
    with pytest.raises(CommandRefused):
        await serving.collector.decommissioner.decommission(serving.device, bytes(32))
    assert kept(serving, departing.INTENT_KEY) is not None
    await serving.gateway.cut_power()
    mark = serving.mark
    await serving.gateway.boot()
    await serving.state("identity", since=mark, life="frozen")


async def test_the_proof_is_repeated_until_it_is_acknowledged(serving: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first acknowledgement is lost; so is the agent. What it says again is taken, and changes nothing."""
    release, answers = serving.site._authority(serving.collector.registry).release, []

    def forged(message: bytes) -> bytes:
        answers.append(release(message))
        return answers[-1][:-1] + bytes([answers[-1][-1] ^ 1])

    authority = serving.collector.decommissioner._authority
    with monkeypatch.context() as patch:
        patch.setattr(authority, "release", forged)
        await serving.collector.decommissioner.decommission(serving.device, lockout_of(serving))
        await eventually(lambda: len(answers) == 1)
    other = topics.enrolment(serving.gateway.bootstrap_name, "released")
    await serving.send(other, release(b"another message"))
    await asyncio.sleep(0.3)
    assert kept(serving, departing.RELEASED_KEY) is None
    first = ended(serving)
    await serving.gateway.cut_power()
    await serving.gateway.boot()
    await serving.gateway.ended()
    assert kept(serving, departing.RELEASED_KEY) is not None
    assert ended(serving) == first


async def test_the_proof_is_said_again_where_nobody_answers(serving: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departing, "REPEAT_S", 0.2)
    said: list[bytes] = []
    take = serving.collector.decommissioner.take

    async def deaf(name: str, payload: bytes) -> None:
        said.append(payload)
        if len(said) > 2:
            await take(name, payload)

    monkeypatch.setattr(serving.collector.decommissioner, "take", deaf)
    await decommissioned(serving)
    assert len(said) == 3
    assert len(set(said)) == 1
    assert [problem.code for problem in serving.agent.health] == ["release-unanswered"]


async def test_a_copied_certificate_no_longer_connects(serving: Scene, tmp_path: Path) -> None:
    client = serving.gateway.client
    copied = Credential(tmp_path / "copied.pem", tmp_path / "copied-key.pem")
    shutil.copy(client.certificate, copied.certificate)
    shutil.copy(client.key, copied.key)
    device = serving.device
    await decommissioned(serving)
    thief = serving.site.connect(device, copied)
    await thief.start([topics.commands(device)])
    try:
        await eventually(lambda: thief.fault is not None)
        assert not thief.connected
    finally:
        await thief.close()


async def test_a_copied_certificate_would_have_connected_before(serving: Scene) -> None:
    await serving.gateway.stop_agent()
    twin = serving.site.connect(serving.device, serving.gateway.client)
    await twin.start([topics.commands(serving.device)])
    await eventually(lambda: twin.connected)
    await twin.close()


async def reenrolled(scene: Scene) -> None:
    """The next owner's installation: an empty state directory, and nothing else that is new."""
    await scene.gateway.stop_agent()
    shutil.rmtree(scene.gateway.state_dir)
    mark = scene.mark
    await scene.gateway.start_agent()
    await scene.state("health", since=mark)


async def test_a_next_owner_enrols_it_anew_and_its_floor_stays(serving: Scene) -> None:
    record = serving.record
    serving.collector.registry.raise_floor(record.ek_hash, 1)
    first = serving.record
    await decommissioned(serving)
    serving.collector.registry.raise_floor(record.ek_hash, 5)
    await reenrolled(serving)
    second = serving.record
    assert (second.device, second.ek_hash) == (first.device, first.ek_hash)
    assert second.attestation_key != first.attestation_key
    assert not set(second.certificates) & set(first.certificates)
    assert (first.floor, second.floor, serving.agent.standing.security_epoch) == (1, 5, 5)


async def test_evidence_of_the_new_enrolment_is_good(serving: Scene) -> None:
    await decommissioned(serving)
    await reenrolled(serving)
    assert (await serving.collector.challenger.challenge(serving.device)).error is None


async def test_an_old_proof_ends_no_new_life(serving: Scene) -> None:
    await decommissioned(serving)
    old = ended(serving)
    parsed = Sanitised.parse(old.sanitisation)
    other = replace(parsed, quote=replace(parsed.quote, signature=parsed.quote.signature + b"x")).encode()
    await serving.send(topics.enrolment("somebody", "sanitised"), other)
    assert (await serving.collected("sanitisation-refused"))["code"] == "sanitisation-unasked"
    mark = serving.mark
    await reenrolled(serving)
    topic = topics.enrolment("somebody", "sanitised")

    await serving.send(topic, old.sanitisation)  # is acknowledged once more, and that is all
    await serving.first(lambda heard: heard.topic == topics.Enrolment("somebody", "released"), since=0)
    record = serving.record

    serving.collector.registry.sanitising(serving.device, collector_side.Sanitising(NONCE, b""))
    await serving.send(topic, old.sanitisation)
    refused = await serving.collected("sanitisation-refused", since=mark)
    assert (refused["about"], refused["code"]) == ("somebody", "sanitisation-binding-mismatch")
    assert serving.record == record


async def said(scene: Scene) -> bytes:
    """A proof that the device itself could make without being cleared."""
    identity = scene.agent.standing.identity
    assert identity is not None

    def say() -> bytes:
        tpm = scene.agent._around.tpm
        certificate = SanitisationCertificate(
            identity.ueid, identity.device_id, identity.serial, 1, bytes(32), 1, "TPM2_Clear", 0, True, "Owner"
        ).encode()
        iak = tpm.create_primary(IAK_TEMPLATE)
        try:
            return Sanitised(certificate, tpm.quote(iak, qualifier(certificate, NONCE), SELECTION)).encode()
        finally:
            tpm.flush(iak)

    return await scene.agent._worker.run(say)


async def refusal_of(scene: Scene, proof: bytes) -> str:
    """The code with which the collector refuses it; the device stays enrolled."""
    mark = scene.mark
    await scene.send(topics.enrolment("somebody", "sanitised"), proof)
    code: str = (await scene.collected("sanitisation-refused", since=mark))["code"]
    assert scene.collector.registry.find(scene.device) is not None
    return code


async def test_a_proof_that_nobody_asked_for(serving: Scene) -> None:
    assert await refusal_of(serving, await said(serving)) == "sanitisation-unasked"


async def test_what_is_no_proof(serving: Scene) -> None:
    assert await refusal_of(serving, bytes(16 * 1024 + 1)) == "sanitisation-limit"
    assert await refusal_of(serving, (await said(serving))[:-1]) == "cbor-truncated"


async def test_a_proof_of_a_tpm_that_was_not_cleared(serving: Scene) -> None:
    serving.collector.registry.sanitising(serving.device, collector_side.Sanitising(NONCE, b""))
    code = attestation_refusals.SANITISATION_BEFORE_CLEAR.code
    assert await refusal_of(serving, await said(serving)) == code


async def test_no_proof_in_time(serving: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def deaf(name: str, payload: bytes) -> None:
        pass

    take = serving.collector.decommissioner.take
    with monkeypatch.context() as patch:
        patch.setattr(serving.collector.decommissioner, "take", deaf)
        with pytest.raises(NetworkFault, match="sanitisation-unproven"):
            await serving.collector.decommissioner.decommission(serving.device, lockout_of(serving), 2.0)
    message = kept(serving, departing.SANITISED_KEY)
    assert message is not None
    await take(serving.gateway.bootstrap_name, message)  # whenever it comes
    assert serving.collector.registry.find(serving.device) is None
    await serving.gateway.ended()


async def test_an_escrow_opens_for_its_owner_and_its_gateway_alone(serving: Scene) -> None:
    record = serving.record
    auths = open_escrow(record.escrow, private_key("owner"), record.ek_hash)
    assert (len(auths.owner), len(auths.lockout)) == (32, 32)
    assert_refused(ESCROW_UNOPENED, open_escrow, record.escrow, private_key("support"), record.ek_hash)
    assert_refused(ESCROW_UNOPENED, open_escrow, record.escrow, private_key("owner"), bytes(32))
