from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from medvouch.adapters.slots import FileSlots
from medvouch.adapters.tss import TssTpm
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.cli import wiring
from medvouch.crypto.floor import approve
from medvouch.daemon import updating
from medvouch.daemon.self_check import SelfCheck
from medvouch.daemon.standing import UPDATE_KEY
from medvouch.daemon.updating import Updating
from medvouch.errors import EnvironmentFault, Refusal, StorageFault, TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cose import Sign1
from medvouch.formats.ear import Tier
from medvouch.formats.enrolment import ueid
from medvouch.formats.ledger import Entry, Statement
from medvouch.formats.suit_commands import Parameters
from medvouch.formats.suit_manifest import Member
from medvouch.formats.suit_report import CommandRecord, Failure, Reason, SuitReport, SystemClaims
from medvouch.formats.trust import key_name
from medvouch.formats.update import UpdateRecord
from medvouch.messages import topics
from medvouch.update.processor import DeviceClass
from medvouch.update.transitions import Cause
from medvouch_sim.observer import Heard
from medvouch_sim.repository_server import Exchange
from support import sites
from support.sites import eventually, signer
from support.updating import Updatable, reference, release, updatable


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    async with updatable(tmp_path) as scene:
        yield scene


def held_up(scene: Updatable, since: int, code: str) -> list[Heard]:
    """What the gateway said of updates that a fault stopped."""
    wanted = topics.Event(scene.device, "update-held-up")
    said = [heard for heard in scene.observer.heard[since:] if heard.topic == wanted]
    return [heard for heard in said if heard.payload is not None and heard.payload.fields["code"] == code]


PENDING = Failure(0, CommandRecord((), Member.PAYLOAD_FETCH, 0, 0), Reason.INVOKE_PENDING)
UNSTARTED = replace(PENDING, record=CommandRecord((), Member.INVOKE, 0, 0))


def reports(scene: Updatable) -> list[tuple[str, SuitReport]]:
    """Those in the ledger, each named by digest, and what the update came to with it."""
    found = []
    for entry in map(Entry.parse, scene.agent._store.entries()):
        statement = Statement.parse(Sign1.parse(entry.statement).payload or b"")
        if report := entry.attachments.get("suit-report"):
            assert statement.digests["suit-report"] == hashlib.sha256(report).digest()
            found.append((statement.after, SuitReport.parse(report)))
    return found


async def test_how_far_it_has_come_is_shown_while_it_comes(scene: Updatable) -> None:
    size = len(release("1.1.0").image)
    await scene.with_settings(f"bandwidth = {max(size // 2, 1024)}")
    await scene.directed(release("1.1.0"))

    def coming(fields: Any) -> bool:
        return fields is not None and 0 < fields.get("percent", 0) < 100

    service = scene.agent.service
    assert service is not None
    await eventually(lambda: coming(service.status()["update"]))
    shown = (await scene.agent.control("status", {}, 0))["update"]
    assert (shown["state"], shown["total"]) == ("notified", size)
    assert shown["percent"] == 100 * shown["bytes"] // size
    assert coming(await scene.agent.control("consent", {}, 0))


async def test_an_update_from_the_directive_to_the_verdict(scene: Updatable) -> None:
    mark = await scene.directed(release("1.1.0"))
    for state in ("notified", "staged", "activated"):
        assert (await scene.update(state, since=mark))["version"] == "1.1.0"
    progress = await scene.event("update-progress", since=mark, percent=100)
    assert progress["bytes"] == progress["total"] == len(release("1.1.0").image)
    assert scene.gateway.release == "1.0.0"
    await scene.gateway.reboot()
    for state in ("booted", "self_checked"):
        await scene.update(state, since=mark)
    assert scene.gateway.release == "1.1.0"
    assert (await scene.state("update", since=mark, state="self_checked"))["outcome"] == "installed_unattested"
    outcome = await scene.collector.challenger.challenge(scene.device)
    assert outcome.error is None
    assert outcome.appraisal is not None
    assert (outcome.appraisal.release, outcome.appraisal.claims.update_state) == ("1.1.0", "self_checked")
    image = release("1.1.0").image
    found = SystemClaims((b"slot",), Parameters(image_digest=hashlib.sha256(image).digest(), image_size=len(image)))
    report = outcome.appraisal.suit_report
    assert report is not None
    assert (report.records, report.failure, report.nonce) == ((found,), None, outcome.appraisal.claims.nonce)
    kept = replace(report, nonce=None)
    assert reports(scene) == [("notified", replace(kept, records=(), failure=PENDING)),
                              ("staged", replace(kept, failure=UNSTARTED)), ("self_checked", kept)]  # fmt: skip
    closed = await scene.state("update", since=mark, state="closed")
    assert (closed["outcome"], closed["security_epoch"]) == ("attested", 2)


async def test_there_is_nothing_to_do_twice(scene: Updatable) -> None:
    await scene.installed(release("1.1.0"))
    mark = scene.mark
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    await scene.update("closed", since=mark)
    mark = scene.mark
    await scene.look()
    await scene.said(topics.State(scene.device, "attestation"), since=0)
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    await scene.state("attestation", since=mark)
    assert [heard for heard in scene.observer.heard[mark:] if heard.topic == topics.Event(scene.device, "update")] == []
    requests = scene.publisher.server.requests
    assert sum(path.endswith(".img") for path in requests) == 1


async def test_what_is_refused_changes_nothing(scene: Updatable) -> None:
    """Admission says no: the slots stay, nothing is recorded, and a good release is taken afterwards."""
    old = replace(release("1.1.0"), device=DeviceClass.named("devices.example", "another"))
    mark = await scene.directed(old)
    refused = await scene.turned_down("manifest-other-class", since=mark)
    assert refused["detail"]
    assert scene.agent.standing.update is None
    assert scene.gateway.slots.activated() is None
    again = replace(release("1.1.0"), sequence=3)
    mark = await scene.activated(again)
    assert (await scene.state("update", since=mark, state="activated"))["sequence"] == 3


async def test_a_directive_that_says_another_sequence_than_its_release(scene: Updatable) -> None:
    mark = await scene.directed(release("1.1.0"), alter=lambda directive: replace(directive, sequence=7))
    await scene.turned_down("directive-mismatch", since=mark)
    assert scene.agent.standing.update is None


async def test_a_manifest_without_reference_values(scene: Updatable) -> None:
    """There is nothing to check the first boot against: signed by all, and not enough."""
    bare = replace(release("1.1.0"), reference=b"")
    scene.publisher.publish(bare, scene.publisher.envelope(bare, contents={}))
    scene.publisher.direct(scene.gateway.entry.ek_hash, bare)
    mark = scene.mark
    await scene.look()
    await scene.turned_down("manifest-incomplete", since=mark)


async def test_a_payload_that_is_not_the_signed_one_fails_the_update_once(scene: Updatable) -> None:
    wrong = replace(release("1.1.0"), digest=bytes(32))
    mark = await scene.directed(wrong)
    assert (await scene.update("failed", since=mark))["reason"] == "payload-mismatch"
    await scene.turned_down("payload-mismatch", since=mark)
    state, report = reports(scene)[-1]
    assert (state, report.failure) == ("failed", replace(PENDING, code=1, reason=Reason.OPERATION_FAILED))
    fetched = len(scene.publisher.server.requests)
    mark = scene.mark
    await scene.look()
    await eventually(lambda: any(path.endswith("timestamp.json") for path in scene.publisher.server.requests[fetched:]))
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    await scene.state("attestation", since=mark)
    assert not any(path.endswith(".img") for path in scene.publisher.server.requests[fetched:])
    await scene.gateway.reboot()
    assert scene.gateway.release == "1.0.0"
    await scene.installed(replace(release("1.1.0"), sequence=3))


async def test_a_release_that_does_not_boot_falls_back(scene: Updatable) -> None:
    await scene.activated(replace(release("1.1.0"), image=b"no image at all"))
    mark = scene.mark
    await scene.gateway.reboot()
    failed = await scene.update("failed", since=mark)
    assert failed["reason"] == "slot-fell-back"
    assert scene.gateway.release == "1.0.0"
    outcome = await scene.collector.challenger.challenge(scene.device)
    assert outcome.appraisal is not None
    assert outcome.appraisal.claims.update_state == "failed"


async def test_a_release_that_measures_otherwise_than_it_says_is_given_up_at_once(scene: Updatable) -> None:
    """The self-check needs no network, and its evidence is kept."""
    await scene.activated(replace(release("1.1.0"), reference=reference("1.0.0")))
    mark = scene.mark
    await scene.gateway.reboot()
    failed = await scene.update("failed", since=mark)
    assert failed["reason"] == "event-unexpected"
    slots = scene.gateway.slots
    await eventually(lambda: slots.record().states[failed["slot"]] == "bad")
    await scene.gateway.reboot()
    assert scene.gateway.release == "1.0.0"
    failure = reports(scene)[-1][1].failure
    assert failure is not None
    assert failure.record.section == Member.INVOKE
    entry = next(entry for entry in map(Entry.parse, scene.agent._store.entries()) if "evidence" in entry.attachments)
    assert UnverifiedEvidence.parse(entry.attachments["evidence"]).checkpoint is not None


async def test_a_repository_that_cannot_be_reached_is_a_problem_until_it_can(scene: Updatable) -> None:
    scene.publisher.publish(release("1.1.0"))
    scene.publisher.direct(scene.gateway.entry.ek_hash, release("1.1.0"))
    scene.publisher.server.misbehave("metadata/", lambda exchange: exchange.head(500, Content_Length="0"))
    mark = scene.mark
    await scene.look()
    assert (await scene.event("update-held-up", since=mark))["code"] == "fetch-failed"
    assert (await scene.state("health", since=mark, component="update"))["code"] == "fetch-failed"
    scene.publisher.server.behave()
    mark = scene.mark
    await scene.look()
    await scene.update("activated", since=mark)
    await scene.state("health", since=mark, state="ok")


async def test_an_interrupted_download_is_taken_up_again(scene: Updatable) -> None:
    def half(exchange: Exchange) -> None:
        exchange.head(200, Content_Length="100000")
        exchange.body(bytes(20_000))

    scene.publisher.server.misbehave("images/", half)
    mark = await scene.directed(release("1.1.0"))
    assert (await scene.event("update-held-up", since=mark))["code"] in {"fetch-unreachable", "payload-mismatch"}
    assert scene.agent.standing.update is not None
    assert scene.agent.standing.update.state == "notified"
    scene.publisher.server.behave()
    await scene.gateway.reboot()
    await scene.update("activated", since=mark)


async def test_a_release_that_cannot_be_fetched_gives_way_to_another(scene: Updatable) -> None:
    scene.publisher.server.misbehave("images/1.1.0.img", lambda exchange: exchange.head(404, Content_Length="0"))
    mark = await scene.directed(release("1.1.0"))
    assert (await scene.event("update-held-up", since=mark))["code"] == "fetch-not-found"
    mark = await scene.directed(replace(release("1.1.0"), version="1.1.1", sequence=3))
    assert (await scene.update("activated", since=mark))["version"] == "1.1.1"


async def test_power_goes_after_activation_and_before_confirmation(scene: Updatable) -> None:
    mark = await scene.activated(release("1.1.0"))
    await scene.gateway.cut_power()
    await scene.gateway.boot()
    await scene.update("self_checked", since=mark)
    assert scene.gateway.release == "1.1.0"


async def test_a_confirmed_slot_whose_record_was_lost_is_checked_again(scene: Updatable) -> None:
    """Power goes between the boot record and the ledger."""
    mark = await scene.activated(release("1.1.0"))
    with pytest.MonkeyPatch.context() as patch:
        moved = Updating._move

        async def stop(self: Updating, record: UpdateRecord, cause: Cause, **options: Any) -> UpdateRecord:
            if cause is Cause.SELF_CHECK:
                raise StorageFault("state-full", "no space", remedy="none")
            return await moved(self, record, cause, **options)

        patch.setattr(Updating, "_move", stop)
        await scene.gateway.reboot()
        await eventually(lambda: len(held_up(scene, mark, "state-full")) == 2)  # at the start, and once in service
    assert scene.agent.standing.update is not None
    assert scene.agent.standing.update.state == "booted"
    mark = scene.mark
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)


async def test_a_slot_that_loses_power_before_it_is_confirmed_is_tried_again_and_not_for_ever(
    scene: Updatable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "MAX_TRIES", 2)

    async def never(self: Updating, record: UpdateRecord) -> None:
        return None

    monkeypatch.setattr(Updating, "_self_check", never)
    await scene.activated(release("1.1.0"))
    mark = scene.mark
    await scene.gateway.reboot()
    await scene.update("booted", since=mark)
    await scene.gateway.cut_power()
    mark = scene.mark
    await scene.gateway.boot()
    assert scene.gateway.release == "1.0.0"
    await scene.update("staged", since=mark)
    assert (await scene.update("activated", since=mark))["tries"] == 2
    mark = scene.mark
    await scene.gateway.reboot()
    await scene.update("booted", since=mark)
    await scene.gateway.cut_power()
    mark = scene.mark
    await scene.gateway.boot()
    assert (await scene.update("failed", since=mark))["reason"] == "slot-fell-back"


async def test_a_self_check_that_a_fault_stopped_is_made_up_for(scene: Updatable) -> None:
    await scene.activated(release("1.1.0"))
    mark = scene.mark
    with pytest.MonkeyPatch.context() as patch:

        async def busy(self: SelfCheck) -> bytes:
            raise TpmFault("tpm-refused", "it is busy", remedy="none")

        patch.setattr(SelfCheck, "evidence", busy)
        await scene.gateway.reboot()
        await eventually(lambda: len(held_up(scene, mark, "tpm-refused")) == 2)
        assert [problem.code for problem in scene.agent.health] == ["tpm-refused"]
    await scene.look()
    await scene.update("self_checked", since=mark)
    await scene.state("health", since=mark, state="ok")
    assert scene.gateway.slots.record().states[scene.gateway.slots.running()] == "good"


async def test_a_restart_that_does_not_come_is_asked_for_again(
    scene: Updatable, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def fails(command: str) -> None:
        asked.append(command)
        raise EnvironmentFault("command-failed", "exit status 1", remedy="none")

    monkeypatch.setattr(wiring, "run_command", fails)
    mark = await scene.activated(release("1.1.0"))
    await scene.event("update-held-up", since=mark, code="command-failed")
    await scene.state("health", since=mark, component="update", code="command-failed")
    await scene.look()
    await eventually(lambda: len(asked) == 2)
    assert [problem.code for problem in scene.agent.health] == ["command-failed"]


async def test_a_slot_that_failed_is_left_however_often_that_takes(
    scene: Updatable, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.activated(replace(release("1.1.0"), reference=reference("1.0.0")))
    mark = scene.mark
    asked: list[str] = []

    async def fails(command: str) -> None:
        asked.append(command)
        raise EnvironmentFault("command-failed", "exit status 1", remedy="none")

    monkeypatch.setattr(wiring, "run_command", fails)
    await scene.gateway.reboot()
    await scene.update("failed", since=mark)
    await eventually(lambda: len(asked) == 2)  # at the start, and once in service
    await scene.gateway.reboot()
    assert scene.gateway.release == "1.0.0"
    assert len(asked) == 2


async def test_what_was_chosen_goes_to_the_slot_that_is_not_running_when_it_comes(scene: Updatable) -> None:
    scene.publisher.server.misbehave("images/1.1.0.img", lambda exchange: exchange.head(404, Content_Length="0"))
    mark = await scene.directed(release("1.1.0"))
    await scene.event("update-held-up", since=mark, code="fetch-not-found")
    record = scene.agent.standing.update
    assert record is not None
    scene.agent._store.put({UPDATE_KEY: replace(record, slot=scene.gateway.slots.running()).encode()})
    scene.publisher.server.behave()
    await scene.look()
    assert (await scene.update("activated", since=mark))["slot"] == scene.gateway.slots.other()


async def test_a_release_that_was_staged_before_the_floor_rose_is_not_started(
    scene: Updatable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: FileSlots, slot: str) -> None:
        raise StorageFault("slot-unwritable", "no space", remedy="none")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileSlots, "activate", full)
        mark = await scene.directed(release("1.1.0"))
        await scene.event("update-held-up", since=mark, code="slot-unwritable")
    device = scene.collector.registry.find(scene.device)
    assert device is not None
    approver, reached = signer("appraiser"), device.floor
    while reached <= release("1.1.0").security_epoch:
        counter = device.floor_base + reached - device.floor
        approval = approve(approver, device.nv_names["floor"], counter, ueid(device.ek_hash))
        answer = await scene.collector.challenger.commander.ask(scene.device, "floor", {"approval": approval.encode()})
        reached = answer["security_epoch"]
    await scene.look()
    assert (await scene.update("failed", since=mark))["reason"] == "epoch-below-floor"
    assert scene.gateway.slots.activated() is None


async def test_a_start_that_power_hid_from_the_record_counts_as_a_try(scene: Updatable) -> None:
    """Power goes between the boot record and the ledger: the slot is armed, and said to be staged."""
    moved = Updating._move

    async def stop(self: Updating, record: UpdateRecord, cause: Cause, **options: Any) -> UpdateRecord:
        if cause is Cause.ACTIVATE:
            raise StorageFault("state-full", "no space", remedy="none")
        return await moved(self, record, cause, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Updating, "_move", stop)
        mark = await scene.directed(release("1.1.0"))
        await scene.event("update-held-up", since=mark, code="state-full")
        await scene.gateway.cut_power()
    await scene.gateway.boot()
    assert (await scene.update("self_checked", since=mark))["tries"] == 1


async def test_only_a_good_verdict_on_this_boot_closes_an_update(scene: Updatable) -> None:
    mark = await scene.installed(release("1.1.0"))
    with TssTpm(scene.gateway.tpm.tcti()) as tpm:
        tpm.pcr_extend(13, {HashAlg.SHA256: bytes(32)})
    assert (await scene.collector.challenger.challenge(scene.device)).error is not None
    await scene.state("attestation", since=mark, status="contraindicated")
    record = scene.agent.standing.update
    assert record is not None
    assert record.state == "self_checked"
    earlier = scene.agent.updating
    assert earlier is not None
    verdict = scene.agent.standing.last_verdict
    assert verdict is not None
    await earlier.judged(replace(verdict, status=Tier.AFFIRMING, boot_count=1))
    assert scene.agent.standing.update == record
    mark = scene.mark
    await scene.gateway.reboot()
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    await scene.update("closed", since=mark)


async def test_a_newer_trust_document_counts_from_the_next_start_on(scene: Updatable) -> None:
    trust = scene.site.trust
    newer = replace(trust, version=trust.version + 1)
    scene.publisher.trust(newer.encode())
    mark = scene.mark
    await scene.look()
    assert (await scene.event("trust-adopted", since=mark))["version"] == newer.version
    assert scene.agent.standing.trust == newer.encode()
    unusable = replace(newer, version=9, roles={"owner": trust.roles["owner"]})
    scene.publisher.trust(unusable.encode())
    mark = scene.mark
    await scene.look()
    assert (await scene.event("update-held-up", since=mark))["code"] == "trust-incomplete"
    strangers = replace(newer, version=10, roles={**trust.roles, "commander": trust.roles["support"]})
    scene.publisher.trust(strangers.encode())
    mark = scene.mark
    await scene.look()
    assert (await scene.event("trust-adopted", since=mark))["version"] == 10
    mark = scene.mark
    await scene.gateway.reboot()
    await scene.status("online", since=mark)
    command = scene.command("commission", "77", {"owner": "nobody"})
    assert await scene.refused("commission", "77", command) == "command-forged"


async def test_a_release_by_keys_that_may_not_name_its_components(scene: Updatable) -> None:
    """From the next start on, when the trust document says so."""
    trust = scene.site.trust
    keys = trust.roles["release"].keys
    limited = {key_name(key): ("reference", "radio") for key in keys}
    scene.publisher.trust(replace(trust, version=trust.version + 1, components=limited).encode())
    mark = scene.mark
    await scene.look()
    await scene.event("trust-adopted", since=mark)
    mark = scene.mark
    await scene.gateway.reboot()
    await scene.status("online", since=mark)
    mark = await scene.directed(release("1.1.0"))
    refused = await scene.turned_down("manifest-component-unauthorised", since=mark)
    assert refused["place"] == "slot"
    assert scene.agent.standing.update is None


async def test_a_trust_document_older_than_the_one_in_use_is_not_adopted(scene: Updatable) -> None:
    """The image came with a newer one than the repository had brought before."""
    trust = scene.site.trust
    scene.publisher.trust(replace(trust, version=trust.version + 1).encode())
    mark = scene.mark
    await scene.look()
    await scene.event("trust-adopted", since=mark)
    scene.site.trust_path.write_bytes(replace(trust, version=trust.version + 5).encode())
    await scene.gateway.reboot()
    mark, asked = scene.mark, len(scene.publisher.server.requests)
    scene.publisher.trust(replace(trust, version=trust.version + 3).encode())
    await scene.look()
    await eventually(lambda: any("trust.cbor" in path for path in scene.publisher.server.requests[asked:]))
    scene.publisher.trust(replace(trust, version=trust.version + 6).encode())
    await scene.look()
    assert (await scene.event("trust-adopted", since=mark))["version"] == trust.version + 6


async def test_a_user_of_the_machine_asks_for_the_update(scene: Updatable) -> None:
    scene.publisher.publish(release("1.1.0"))
    scene.publisher.direct(scene.gateway.entry.ek_hash, release("1.1.0"))
    mark = scene.mark
    assert await scene.agent.control("update", {}, 0) == {"state": "none"}
    await scene.update("activated", since=mark)
    status = await scene.agent.control("status", {}, 0)
    assert (status["update"]["version"], status["update"]["state"]) == ("1.1.0", "activated")
    assert (await scene.agent.control("update", {}, 0))["state"] == "activated"


async def test_a_gateway_without_a_repository_says_so(tmp_path: Path) -> None:
    async with sites.scene(tmp_path) as plain:
        await plain.gateway.boot()
        await plain.state("health")
        assert await plain.refused("update", "1", plain.command("update", "1", {})) == "updates-off"
        with pytest.raises(Refusal, match="updates-off"):
            await plain.agent.control("update", {}, 0)
