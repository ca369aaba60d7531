"""Releases for parts of which there is one: to a verdict under predicted values, through power cuts, and failing."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from medvouch.adapters.helper import HelperServer, listen
from medvouch.adapters.logs import FileLogs
from medvouch.assurance.release_references import release_references
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.cli import installing
from medvouch.daemon.parts import PartsWay
from medvouch.daemon.self_check import SelfCheck
from medvouch.daemon.updating import Updating
from medvouch.errors import StorageFault, TpmFault
from medvouch.formats.data_format import DataFormat, DataState
from medvouch.formats.ledger import Entry
from medvouch.formats.secure_boot import APPENDING, REPLACING
from medvouch.formats.suit_commands import Parameters
from medvouch.formats.suit_manifest import Member
from medvouch.formats.suit_report import CommandRecord, Failure, Reason
from medvouch.formats.update import UpdateRecord
from medvouch.update.transitions import Cause
from medvouch.update.verification import RoleKeys
from medvouch_sim.fixtures import certificate_list, loader
from medvouch_sim.publisher import PartsRelease, Release
from medvouch_sim.secure_boot import forbidding, signed_update
from support import parts
from support.parts import DBX, NEW_LOADER, OLD_LOADER, activated, closed, commands, directed, forbids, left
from support.sites import signer
from support.updating import Updatable

LOADER_RELEASE = parts.release({"boot-loader": NEW_LOADER}, loader=NEW_LOADER)
OLDER_LOADER = loader("256")
FORBIDDEN = forbids(OLDER_LOADER)
DBX_RELEASE = parts.release({DBX: FORBIDDEN}, change=left("dbx", APPENDING, FORBIDDEN))
KNOWN = [LOADER_RELEASE.reference, DBX_RELEASE.reference]


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Updatable]:
    async with parts.gateway_with_loader(tmp_path, KNOWN) as scene:
        yield scene


def loaders(scene: Updatable) -> tuple[bytes, bytes | None]:
    machine = scene.gateway.machine
    before = machine.previous_loader
    return machine.loader.read_bytes(), before.read_bytes() if before.exists() else None


def own(records: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without those of the shared sequence, which checks vendor and class."""
    return [record for record in records if record[0] != 3]


async def test_a_boot_loader(scene: Updatable) -> None:
    mark = await activated(scene, LOADER_RELEASE)
    assert loaders(scene) == (NEW_LOADER, OLD_LOADER)
    report = scene.agent.standing.suit_report
    await closed(scene, mark)
    assert report is not None
    assert report.failure == Failure(0, CommandRecord((), Member.VALIDATE, 0, 0), Reason.INVOKE_PENDING)
    fetch, install, validate = Member.PAYLOAD_FETCH, Member.INSTALL, Member.VALIDATE
    check = Member.CANDIDATE_VERIFICATION
    done = [(fetch, 1)] * 2 + [(fetch, 2)] * 2 + [(check, 1), (check, 2)] + [(install, 0)] * 2
    assert own(commands(report)) == done
    copied = next(each for each in report.records if isinstance(each, CommandRecord) and each.section == install)
    assert copied.properties.source_component == 1
    after = scene.agent.standing.suit_report
    assert after is not None
    assert after.failure is None
    assert own(commands(after)) == [*done, (validate, 0)]
    assert scene.agent.standing.installed.version == "1.0.0.2"
    folder = scene.gateway.state_dir / "parts"
    assert not list(folder.glob("staged*"))


async def test_the_appraiser_takes_old_and_new_meanwhile(scene: Updatable) -> None:
    """The new values are those of the signed envelope; which of the two a boot was, the verdict says."""
    release, quality = (
        RoleKeys([signer(name).public_key for name in names], threshold)
        for names, threshold in ((("release", "release-2", "release-3"), 2), (("quality",), 1))
    )
    (carried,) = release_references(scene.publisher.parts_envelope(DBX_RELEASE), release, quality)
    assert carried in scene.collector.challenger._judge.anchors.references
    before = await scene.collector.challenger.challenge(scene.device)
    mark = await activated(scene, DBX_RELEASE)
    await closed(scene, mark)
    after = await scene.collector.challenger.challenge(scene.device)
    assert [outcome.appraisal and outcome.appraisal.release for outcome in (before, after)] == ["1.0.0", "1.0.0.2"]
    assert parts.hash_of(OLDER_LOADER) in scene.gateway.machine.variable("dbx")


async def test_a_new_certificate_in_db(tmp_path: Path) -> None:
    """One release with two parts; db is replaced: the old certificate, which this device booted with, and a new one."""
    lists = [certificate_list("medvouch test db"), certificate_list("medvouch test db 2")]
    data = signed_update("db", REPLACING, parts.SIGNED_AT, lists)
    release = parts.release(
        {"boot-loader": NEW_LOADER, "secure-boot-db": data}, loader=NEW_LOADER, change=left("db", REPLACING, data)
    )
    async with parts.gateway_with_loader(tmp_path, [release.reference]) as scene:
        await closed(scene, await activated(scene, release))
        assert scene.gateway.machine.variable("db") == b"".join(each.encode() for each in lists)


async def test_the_helper_writes_what_the_agent_may_not(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="helper-") as short:
        path = Path(short) / "i.sock"
        settings = f'helper = "{path}"\n'
        async with parts.gateway_with_loader(tmp_path, KNOWN, settings=settings) as scene:
            answer = installing._parts(scene.gateway.config(), tmp_path / "root")
            with helping(path, HelperServer(FileLogs(path, path, path), os.getuid(), answer)):
                await closed(scene, await activated(scene, LOADER_RELEASE))
            assert loaders(scene) == (NEW_LOADER, OLD_LOADER)
            assert (tmp_path / "root" / "last-sequence").read_bytes() == b"2"


@contextmanager
def helping(path: Path, server: HelperServer) -> Iterator[None]:
    """The helper answers on a socket."""
    listener = listen(path, os.getuid())

    def serve() -> None:
        with suppress(OSError):  # of accept, once the listener is shut down
            server.serve(listener)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


async def test_the_product_s_data_stays_as_it_is(tmp_path: Path) -> None:
    """A boot loader for a system whose data has another format than what was delivered."""
    system = replace(Release.of_fixtures("1.1.0", parts.reference("1.1.0")), data=DataFormat(writes=1))
    loader_alone = parts.release({"boot-loader": NEW_LOADER}, loader=NEW_LOADER, sequence=3, system="1.1.0")
    known = [system.reference, loader_alone.reference]
    async with parts.gateway_with_loader(tmp_path, known, 'migrate_command = "/bin/true"\n') as scene:
        mark = await scene.installed(system)
        assert (await scene.collector.challenger.challenge(scene.device)).error is None
        await scene.event("data-migrated", since=mark, cause="contract")
        await closed(scene, await activated(scene, loader_alone))
        assert scene.agent.standing.data_installed == system.data
        assert scene.agent.standing.data_state == DataState(1, 1, "contract 1")


# --- power cuts ------------------------------------------------------------------------------------------------------


async def test_power_goes_before_anything_is_installed(scene: Updatable, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stop(self: PartsWay, record: UpdateRecord) -> None:
        raise StorageFault("state-full", "no space", remedy="none")

    with monkeypatch.context() as patch:
        patch.setattr(PartsWay, "recheck", stop)
        mark = await directed(scene, LOADER_RELEASE)
        await scene.event("update-held-up", since=mark, code="state-full")
        assert loaders(scene) == (OLD_LOADER, None)
        await scene.gateway.cut_power()
    mark = scene.mark
    await scene.gateway.boot()
    await scene.update("activated", since=mark)
    await closed(scene, mark)
    assert sum(path.endswith(".boot-loader") for path in scene.publisher.server.requests) == 1


@pytest.mark.parametrize("opted_out", [False, True])
async def test_power_goes_between_installation_and_record(
    scene: Updatable, monkeypatch: pytest.MonkeyPatch, opted_out: bool
) -> None:
    """It boots the new loader then, is installed once more, which changes nothing, and is tried by another start.

    Nobody's wish leaves it at that: what was installed would be in no record.
    """
    moved = Updating._move

    async def stop(self: Updating, record: UpdateRecord, cause: Cause, **options: Any) -> UpdateRecord:
        if cause is Cause.ACTIVATE:
            raise StorageFault("state-full", "no space", remedy="none")
        return await moved(self, record, cause, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Updating, "_move", stop)
        mark = await directed(scene, LOADER_RELEASE)
        await scene.event("update-held-up", since=mark, code="state-full")
        assert loaders(scene) == (NEW_LOADER, OLD_LOADER)
        if opted_out:
            await scene.agent.control("consent", {"cause": "opt-out"}, 1000)
        await scene.gateway.cut_power()
    mark = scene.mark
    await scene.gateway.boot()
    await scene.update("activated", since=mark)
    assert loaders(scene) == (NEW_LOADER, OLD_LOADER)
    await closed(scene, mark)


async def test_power_goes_before_the_restart_and_before_it_is_confirmed(
    scene: Updatable, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = await activated(scene, DBX_RELEASE)

    async def busy(self: SelfCheck) -> bytes:
        raise TpmFault("tpm-refused", "it is busy", remedy="none")

    with monkeypatch.context() as patch:
        patch.setattr(SelfCheck, "evidence", busy)
        await scene.gateway.cut_power()
        await scene.gateway.boot()
        await scene.update("booted", since=mark)
        await scene.gateway.cut_power()
    mark = scene.mark
    await scene.gateway.boot()
    await scene.update("self_checked", since=mark)
    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    await scene.update("closed", since=mark)


async def test_a_restart_that_does_not_come_is_waited_for(scene: Updatable) -> None:
    """The agent alone starts again: nothing was tried yet."""
    mark = await activated(scene, LOADER_RELEASE)
    await scene.gateway.stop_agent()
    again = scene.mark
    await scene.gateway.start_agent()
    await scene.status("online", since=again)
    assert scene.agent.standing.update is not None
    assert scene.agent.standing.update.state == "activated"
    await closed(scene, mark)


# --- what fails ------------------------------------------------------------------------------------------------------


async def test_a_wrong_prediction_fails_and_the_next_release_mends_it(scene: Updatable) -> None:
    """The self-check's evidence is kept; there is no slot to go back to, and no restart is asked for."""
    wrong = parts.release({"boot-loader": OLDER_LOADER}, loader=NEW_LOADER)
    await activated(scene, wrong)
    mark = scene.mark
    await scene.gateway.reboot()
    failed = await scene.update("failed", since=mark)
    assert (failed["reason"], failed["slot"]) == ("event-unexpected", "parts")
    entry = next(entry for entry in map(Entry.parse, scene.agent._store.entries()) if "evidence" in entry.attachments)
    assert UnverifiedEvidence.parse(entry.attachments["evidence"]).checkpoint is not None
    outcome = await scene.collector.challenger.challenge(scene.device)
    assert outcome.error is not None
    assert outcome.error.code == "event-unexpected"
    await scene.gateway.reboot()
    assert scene.agent.standing.update is not None
    assert scene.agent.standing.update.state == "failed"
    mended = replace(LOADER_RELEASE, version="1.0.0.3", sequence=3)
    mark = await activated(scene, mended)
    await closed(scene, mark)
    assert loaders(scene) == (NEW_LOADER, OLDER_LOADER)


async def test_a_loader_that_does_not_start_leaves_the_one_before(scene: Updatable) -> None:
    """The firmware takes its second boot entry; that is not what was predicted."""
    await activated(scene, LOADER_RELEASE)
    scene.gateway.machine.loader.write_bytes(NEW_LOADER[:512])
    mark = scene.mark
    await scene.gateway.reboot()
    assert (await scene.update("failed", since=mark))["reason"] == "event-unexpected"
    assert scene.gateway.release == "1.0.0"


async def test_a_change_of_dbx_that_the_firmware_does_not_take(scene: Updatable) -> None:
    """Signed by release and quality, and not by a key of KEK: the device fails it, and the appraiser sees the old dbx.

    One that the firmware takes comes through afterwards, signed no later.
    """
    lists = [forbidding(parts.hash_of(OLDER_LOADER))]
    foreign = signed_update("dbx", APPENDING, parts.SIGNED_AT, lists, by="medvouch test db")
    await activated(scene, replace(DBX_RELEASE, parts={DBX: foreign}))
    mark, before = scene.mark, scene.gateway.machine.variable("dbx")
    await scene.gateway.reboot()
    assert (await scene.update("failed", since=mark))["reason"] == "event-unexpected"
    assert scene.gateway.machine.variable("dbx") == before
    outcome = await scene.collector.challenger.challenge(scene.device)
    assert outcome.error is None
    assert outcome.appraisal is not None
    assert outcome.appraisal.release == "1.0.0"
    again = parts.release({DBX: FORBIDDEN}, change=left("dbx", APPENDING, FORBIDDEN), sequence=3)
    mark = await activated(scene, again)
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)
    assert scene.gateway.machine.variable("dbx") != before


LOCKING = forbids(OLD_LOADER)
STRANGE = signed_update("db", REPLACING, parts.SIGNED_AT, [certificate_list("medvouch test db 2")])


@pytest.mark.parametrize(
    ("release", "code"),
    [
        (replace(LOADER_RELEASE, reference=parts.reference("1.1.0", loader=NEW_LOADER)), "reference-of-another-system"),
        (replace(LOADER_RELEASE, reference=parts.signed_by_one("1.0.0", loader=NEW_LOADER)), "reference-untrusted"),
        (parts.release({DBX: LOCKING}, change=left("dbx", APPENDING, LOCKING)), "secure-boot-update-locks-out"),
        (parts.release({"secure-boot-db": STRANGE}), "secure-boot-update-locks-out"),
    ],
    ids=["of-another-system", "signed-by-one", "locks-out", "locks-out-of-db"],
)
async def test_what_is_refused_changes_nothing(scene: Updatable, release: PartsRelease, code: str) -> None:
    """It is refused before the first byte of a part is another."""
    mark = await directed(scene, release)
    assert (await scene.update("failed", since=mark))["reason"] == code
    await scene.turned_down(code, since=mark)
    assert loaders(scene) == (OLD_LOADER, None)
    assert not (scene.gateway.state_dir / "parts" / "dbx.last").exists()


async def test_a_part_that_this_device_does_not_have_begins_no_update(scene: Updatable) -> None:
    mark = await directed(scene, parts.release({"firmware": b"a cabinet"}))
    await scene.turned_down("manifest-component-unknown", since=mark)
    assert scene.agent.standing.update is None
    assert loaders(scene) == (OLD_LOADER, None)


async def test_the_report_names_the_command_that_failed(scene: Updatable) -> None:
    """A payload that is not the signed one, at its fetch; a change of dbx that no firmware could take, at its copy."""
    envelope = scene.publisher.parts_envelope(LOADER_RELEASE)
    scene.publisher.publish_parts(replace(LOADER_RELEASE, parts={"boot-loader": OLDER_LOADER}), envelope)
    scene.publisher.direct(scene.gateway.entry.ek_hash, LOADER_RELEASE)
    mark = scene.mark
    await scene.look()
    assert (await scene.update("failed", since=mark))["reason"] == "payload-mismatch"
    assert failed_at(scene) == (Member.PAYLOAD_FETCH, 1)
    mark = await directed(scene, parts.release({DBX: FORBIDDEN[:-1]}, sequence=3))
    assert (await scene.update("failed", since=mark))["reason"] == "secure-boot-update-malformed"
    assert failed_at(scene) == (Member.INSTALL, 0)


async def test_a_part_that_is_refused_leaves_those_before_it(scene: Updatable) -> None:
    """All are asked before the first is written; the report has no commands that were not carried out."""
    spoilt = parts.release({"boot-loader": NEW_LOADER, DBX: FORBIDDEN[:-1]}, loader=NEW_LOADER)
    mark = await directed(scene, spoilt)
    assert (await scene.update("failed", since=mark))["reason"] == "secure-boot-update-malformed"
    assert loaders(scene) == (OLD_LOADER, None)
    assert failed_at(scene) == (Member.INSTALL, 1)
    report = scene.agent.standing.suit_report
    assert report is not None
    assert Member.INSTALL not in {section for section, _ in commands(report)}
    await scene.gateway.reboot()
    assert (await scene.collector.challenger.challenge(scene.device)).error is None


def failed_at(scene: Updatable) -> tuple[int, int]:
    """Section and component of the command that ended the update."""
    report = scene.agent.standing.suit_report
    assert report is not None
    assert report.failure is not None
    assert report.failure.reason is Reason.OPERATION_FAILED
    assert report.failure.record.properties != Parameters()
    return report.failure.record.section, report.failure.record.component
