from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.attestation.results import verify_signed
from medvouch.crypto import merkle
from medvouch.crypto.keys import load_spki
from medvouch.crypto.tpm import public_key
from medvouch.errors import StorageFault
from medvouch.formats.ledger import CertifiedCheckpoint, Entry
from medvouch.formats.tpm_public import Public
from medvouch.ledger.checkpoints import verify_checkpoints
from medvouch.ledger.statements import Author, VerifiedEntry, verify_entries
from medvouch.messages import topics
from medvouch.ports import Commit, LedgerRow, Message
from support.sites import HOSPITAL, Scene, eventually, signer


def database(scene: Scene) -> Path:
    return scene.gateway.state_dir / "state.db"


def ledger(scene: Scene) -> tuple[tuple[VerifiedEntry, ...], list[CertifiedCheckpoint]]:
    """What is on the device's disk, its entries verified."""
    store = SqliteStore(database(scene))
    try:
        entries = [Entry.parse(data) for data in store.entries()]
        checkpoints = [CertifiedCheckpoint.parse(data) for data in store.checkpoints()]
        assert [merkle.leaf_hash(entry.statement) for entry in entries] == list(store.leaves())
    finally:
        store.close()
    identity = scene.agent.standing.identity
    assert identity is not None
    key = public_key(Public.parse(identity.ldevid_public))
    return verify_entries(entries, key, Author(identity.device_id, identity.ueid)), checkpoints


async def test_every_transition_is_an_entry_that_the_tpm_confirms(serving: Scene) -> None:
    await serving.commissioned()
    outcome = await serving.collector.challenger.challenge(serving.device)
    await serving.state("attestation")
    entries, checkpoints = ledger(serving)
    told = [(e.statement.machine, e.statement.before, e.statement.after, e.statement.cause) for e in entries]
    assert told == [
        ("life", "manufactured", "enrolled", "enrol"),
        ("life", "enrolled", "commissioned", "commission"),
        ("attestation", "", "affirming", "result"),
    ]
    assert [sorted(entry.attachments) for entry in entries] == [["answer"], ["command"], ["ear"]]
    assert entries[1].statement.owner == HOSPITAL
    assert entries[2].attachments["ear"] == outcome.result
    record = serving.collector.registry.find(serving.device)
    assert record is not None
    key = load_spki(record.attestation_key)
    verified = verify_checkpoints(checkpoints, entries, key, record.nv_names)
    assert [each.checkpoint.size for each in verified] == [1, 2]
    head = verify_signed(outcome.result, [signer("appraiser").public_key]).ear.ledger_head
    assert head is not None
    assert (head.size, head.counter) == (2, verified[-1].checkpoint.counter)
    assert head.root == merkle.root([entry.leaf for entry in entries[:2]])
    assert record.last_head == head


async def test_each_boot_is_a_checkpoint_and_the_next_evidence_continues_the_last(serving: Scene) -> None:
    challenger = serving.collector.challenger
    first = await challenger.challenge(serving.device)
    await serving.state("attestation")
    mark = serving.mark
    await serving.gateway.reboot()
    second = await challenger.challenge(serving.device)
    await serving.state("attestation", since=mark)
    assert first.ear.ledger_head is not None
    assert second.ear.ledger_head is not None
    assert (first.ear.ledger_head.size, second.ear.ledger_head.size) == (1, 2)
    assert second.ear.ledger_head.counter == first.ear.ledger_head.counter + 1


async def test_a_disk_put_back_to_yesterday_is_noticed_on_both_sides(serving: Scene) -> None:
    await serving.gateway.stop_agent()
    yesterday = database(serving).with_name("yesterday.db")
    shutil.copy(database(serving), yesterday)
    mark = serving.mark
    await serving.gateway.start_agent()
    await serving.status("online", since=mark)
    await serving.commissioned()
    assert (await serving.collector.challenger.challenge(serving.device)).error is None
    await serving.gateway.shut_down()
    for leftover in database(serving).parent.glob("state.db-*"):
        leftover.unlink()
    shutil.copy(yesterday, database(serving))
    mark = serving.mark
    await serving.gateway.boot()
    assert (await serving.event("checkpoint-failed", since=mark))["code"] == "ledger-behind-tpm"
    assert (await serving.state("health", since=mark, component="ledger"))["code"] == "ledger-behind-tpm"
    outcome = await serving.collector.challenger.challenge(serving.device)
    assert outcome.error is not None
    assert outcome.error.code == "ledger-rolled-back"


async def test_a_fork_is_noticed_by_whoever_confirmed_the_other_branch(serving: Scene) -> None:
    """Root on the device redefines the past with the device's own keys: the last entry is another."""
    assert (await serving.collector.challenger.challenge(serving.device)).error is None
    await serving.state("attestation")
    assert (await serving.collector.challenger.challenge(serving.device)).error is None
    await serving.gateway.stop_agent()
    store = SqliteStore(database(serving))
    entry = Entry.parse(store.entries()[1])
    forged = Entry(entry.statement[:-1] + bytes([entry.statement[-1] ^ 1]), entry.attachments)
    row = (forged.encode(), merkle.leaf_hash(forged.statement))
    store._db.execute("UPDATE ledger SET entry = ?, leaf = ? WHERE number = 1", row)
    store.close()
    await serving.gateway.start_agent()
    outcome = await serving.collector.challenger.challenge(serving.device)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.place) == ("ledger-history-changed", "entry 2")


async def test_what_was_committed_is_told_after_a_restart(serving: Scene) -> None:
    await serving.gateway.stop_agent()
    store = SqliteStore(database(serving))
    event = topics.event(serving.device, "kept")
    store.commit(Commit({"a": b"1"}, messages=[Message(event, b"{}"), Message(event, b"[]", correlation=b"x")]))
    assert [message for _, message in store.outbox(0, 10)] == [
        Message(event, b"{}"), Message(event, b"[]", correlation=b"x"),
    ]  # fmt: skip
    store.close()
    mark = serving.mark
    await serving.gateway.start_agent()
    await serving.first(lambda heard: heard.message.topic == event and heard.message.payload == b"[]", since=mark)
    told = [heard.message.payload for heard in serving.observer.heard[mark:] if heard.message.topic == event]
    assert told == [b"{}", b"[]"]
    agent_store = serving.agent._store
    await eventually(lambda: not agent_store.outbox(0, 10))


def row(index: int) -> LedgerRow:
    return LedgerRow(index, b"entry", bytes(32))


@pytest.mark.parametrize("index", [0, 2])
def test_a_number_that_is_taken_or_leaves_a_gap_changes_nothing(tmp_path: Path, index: int) -> None:
    store = SqliteStore(tmp_path / "state.db")
    store.commit(Commit({"key": b"before"}, row(0)))
    with pytest.raises(StorageFault, match="ledger-number-taken"):
        store.commit(Commit({"key": b"after"}, row(index), (1, b"checkpoint"), [Message("topic", b"")]))
    assert store.get("key") == b"before"
    assert len(store.entries()) == 1
    assert store.checkpoints() == []
    assert store.outbox(0, 10) == []
    store.close()


def test_checkpoints_come_back_by_their_counter(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    for counter in (255, 256, 1 << 40):
        store.commit(Commit(checkpoint=(counter, str(counter).encode())))
    assert store.checkpoints() == [b"255", b"256", str(1 << 40).encode()]
    assert store.checkpoints(newest=1) == [str(1 << 40).encode()]
    store.close()
