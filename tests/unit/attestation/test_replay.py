"""Replay against quoted PCRs: what is confirmed, and what each lie in a log leads to."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from medvouch.attestation import measurements, registers
from medvouch.attestation import replay as replaying
from medvouch.attestation.refusals import TABLE
from medvouch.attestation.replay import Logs, Replay, ReplayRefusal, Status, replay, replayed_pcrs, tabulate
from medvouch.errors import Refusal
from medvouch.formats import ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import Event, EventLog, EventType, SpecId
from medvouch.formats.hashing import HASHERS
from medvouch.formats.systemd import Record
from support.boots import SHA1, SHA256, SHA384, BootBuilder, full_boot, sha

Pcrs = dict[HashAlg, dict[int, bytes]]


def refused(logs: Logs, quoted: Pcrs) -> ReplayRefusal:
    with pytest.raises(ReplayRefusal) as caught:
        replay(logs, quoted)
    assert TABLE[caught.value.code] is caught.value.kind
    return caught.value


def status(logs: Logs, quoted: Pcrs, bank: HashAlg, pcr: int) -> Status:
    (row,) = (row for row in tabulate(logs, quoted).rows if (row.bank, row.pcr) == (bank, pcr))
    return row.status


def with_events(boot: BootBuilder, *events: Event) -> Logs:
    return replace(boot.logs, uefi=EventLog(SpecId(boot.banks), events))


def test_all_of_a_boot_is_confirmed() -> None:
    boot = full_boot(SHA256, SHA384)
    done = replay(boot.logs, boot.pcrs)
    assert isinstance(done, Replay)
    assert len(done.events) == len(boot.events) + len(boot.records) + len(boot.entries)
    assert [event.log for event in done.events.of(11)] == ["uefi"] * 4 + ["systemd"] * 2
    assert {event.describe() for event in done.events.of(15)} == {"systemd record 2 machine-id machine-id:0"}
    assert done.table.dropped == {"systemd": 0, "ima": 0}
    assert {row.status for row in done.table.rows} == {Status.MATCH, Status.UNEXTENDED}


def test_data_of_each_log() -> None:
    boot = full_boot().entry("/raced", b"\1" * 32, violation=True)
    done = replay(boot.logs, boot.pcrs)
    assert done.events.of(4)[0].data == b"Calling EFI Application from Boot Option"
    assert done.events.of(15)[0].data == b"machine-id:0"
    first, _, raced = done.events.of(10)
    assert first.data == boot.entries[0].data
    assert raced.data == b""
    assert raced.digests == {SHA256: b"\xff" * 32}


def test_growing_logs_are_cut_where_the_quote_stands() -> None:
    boot = full_boot()
    quoted = {SHA256: dict(boot.pcrs[SHA256])}
    boot.record(11, "sysinit").record(11, "ready").entry("/late", b"\1" * 32)
    done = replay(boot.logs, quoted)
    assert done.table.dropped == {"systemd": 2, "ima": 1}
    assert b"ready" not in {event.data for event in done.events}


def test_firmware_events_after_the_quote_are_not_dropped() -> None:
    boot = full_boot()
    quoted = {SHA256: dict(boot.pcrs[SHA256])}
    boot.event(4, EventType.EV_EFI_ACTION, b"later")
    error = refused(boot.logs, quoted)
    assert (error.code, error.place) == ("pcr-mismatch", "sha256 PCR 4")


def test_edited_event_names_bank_pcr_and_last_event() -> None:
    boot = full_boot()
    last = boot.events[-6]
    assert last.type == EventType.EV_EFI_BOOT_SERVICES_APPLICATION
    events = [e._replace(digests={SHA256: sha(SHA256, b"good")}) if e is last else e for e in boot.events]
    error = refused(with_events(boot, *events), boot.pcrs)
    assert (error.code, error.place) == ("pcr-mismatch", "sha256 PCR 4")
    assert "EV_EFI_BOOT_SERVICES_APPLICATION: \\EFI\\BOOT\\BOOTX64.EFI" in str(error)
    assert boot.pcrs[SHA256][4].hex() in str(error)
    assert [row.pcr for row in error.table.rows if row.status is Status.MISMATCH] == [4]


def test_event_turned_into_no_action_is_a_mismatch() -> None:
    boot = full_boot()
    events = [e._replace(type=EventType.EV_NO_ACTION) if e.pcr == 7 else e for e in boot.events]
    error = refused(with_events(boot, *events), boot.pcrs)
    assert (error.code, error.place) == ("pcr-unexplained", "sha256 PCR 7")


def test_pcr_extended_without_an_event() -> None:
    boot = full_boot()
    boot.extend(12, {SHA256: sha(SHA256, b"unknown")})
    error = refused(boot.logs, boot.pcrs)
    assert (error.code, error.place) == ("pcr-unexplained", "sha256 PCR 12")
    assert status(boot.logs, boot.pcrs, SHA256, 12) is Status.NO_EVENTS


def test_pcr_extended_beyond_its_events() -> None:
    boot = full_boot()
    boot.extend(9, {SHA256: sha(SHA256, b"unknown")})
    assert refused(boot.logs, boot.pcrs).code == "pcr-mismatch"


def test_pcr_at_reset_value_with_firmware_events_is_a_mismatch() -> None:
    boot = full_boot()
    boot.pcrs[SHA256][4] = bytes(32)
    assert refused(boot.logs, boot.pcrs).place == "sha256 PCR 4"


def test_growing_log_of_an_unextended_pcr_is_all_dropped() -> None:
    boot = full_boot()
    quoted = {SHA256: boot.pcrs[SHA256] | {10: bytes(32)}}
    done = replay(boot.logs, quoted)
    assert (done.events.of(10), done.table.dropped["ima"]) == ((), 2)
    assert status(boot.logs, quoted, SHA256, 10) is Status.UNEXTENDED


def test_unquoted_pcrs_and_banks_confirm_nothing() -> None:
    boot = full_boot(SHA256, SHA384)
    done = replay(boot.logs, {SHA256: {0: boot.pcrs[SHA256][0]}})
    assert {event.pcr for event in done.events} == {0}
    assert all(event.digests.keys() == {SHA256} for event in done.events)
    assert status(boot.logs, {SHA256: {}}, SHA384, 4) is Status.NOT_QUOTED


def test_event_without_a_digest_in_a_quoted_bank_is_not_confirmed() -> None:
    boot = full_boot(SHA256)
    forged = Event(99, 7, EventType.EV_EFI_VARIABLE_AUTHORITY, {SHA1: b"1" * 20}, b"forged", 0)
    logs = replace(boot.logs, uefi=EventLog(SpecId((SHA1, SHA256)), (*boot.events, forged)))
    done = replay(logs, boot.pcrs)
    assert b"forged" not in {event.data for event in done.events}
    assert status(logs, boot.pcrs, SHA1, 7) is Status.NOT_QUOTED


def test_banks_must_agree_on_one_prefix() -> None:
    boot = full_boot(SHA256, SHA384)
    quoted = {bank: dict(values) for bank, values in boot.pcrs.items()}
    boot.record(11, "sysinit")
    quoted[SHA384][11] = boot.pcrs[SHA384][11]
    error = refused(boot.logs, quoted)
    assert (error.code, error.place) == ("pcr-mismatch", "sha256 PCR 11")
    assert status(boot.logs, quoted, SHA384, 11) is Status.MISMATCH


def test_the_bank_that_no_prefix_explains_is_named() -> None:
    boot = full_boot(SHA256, SHA384)
    boot.pcrs[SHA384][11] = b"\1" * 48
    assert refused(boot.logs, boot.pcrs).place == "sha384 PCR 11"
    assert status(boot.logs, boot.pcrs, SHA256, 11) is Status.MATCH


def test_bank_that_the_log_does_not_serve_is_unexplained() -> None:
    boot = full_boot()
    quoted = boot.pcrs | {SHA384: {0: b"\1" * 48}}
    assert refused(boot.logs, quoted).place == "sha384 PCR 0"


def test_bank_that_cannot_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {bank: hasher for bank, hasher in HASHERS.items() if bank is not HashAlg.SM3_256}
    for module in (replaying, registers):
        monkeypatch.setattr(module, "HASHERS", MappingProxyType(known))
    boot = full_boot()
    for check in (replay, tabulate):
        with pytest.raises(Refusal) as caught:
            check(boot.logs, boot.pcrs | {HashAlg.SM3_256: {0: bytes(32)}})
        assert caught.value.code == "bank-unsupported"
    log = EventLog(SpecId((HashAlg.SM3_256,)), (Event(1, 0, 1, {HashAlg.SM3_256: bytes(32)}, b"", 0),))
    assert replayed_pcrs(log) == {}


@pytest.mark.parametrize("locality", [0, 3, 4])
def test_startup_locality(locality: int) -> None:
    boot = BootBuilder().locality(locality).event(0, EventType.EV_POST_CODE, b"code")
    assert replayed_pcrs(boot.log)[SHA256] == {0: boot.pcrs[SHA256][0]}
    replay(boot.logs, boot.pcrs)


def test_startup_locality_hidden() -> None:
    boot = BootBuilder().locality(3).event(0, EventType.EV_POST_CODE, b"code")
    assert refused(with_events(boot, *boot.events[1:]), boot.pcrs).place == "sha256 PCR 0"


def test_startup_locality_is_a_reset_value() -> None:
    boot = BootBuilder().locality(3)
    assert status(boot.logs, boot.pcrs, SHA256, 0) is Status.UNEXTENDED


def test_hardware_crtm() -> None:
    boot = BootBuilder()
    boot.pcrs[SHA256][0] = (4).to_bytes(32, "big")
    boot.event(0, EventType.EV_EFI_HCRTM_EVENT, b"HCRTM")
    assert len(replay(boot.logs, boot.pcrs).events) == 1


def test_drtm_pcrs_start_at_all_ones() -> None:
    boot = BootBuilder().event(17, EventType.EV_EVENT_TAG, b"late launch")
    assert len(replay(boot.logs, boot.pcrs).events.of(17)) == 1
    zero = {SHA256: boot.pcrs[SHA256] | {18: bytes(32)}}
    assert refused(boot.logs, zero).code == "pcr-unexplained"


def test_nv_records_extend_no_pcr() -> None:
    boot = full_boot()
    nv = Record(9, {SHA256: b"1" * 32}, nv_index=0x01D10200)
    replay(replace(boot.logs, systemd=(nv, *boot.records)), boot.pcrs)


def altered(entry: ima.Entry, **changes: Any) -> ima.Entry:
    return entry._replace(**changes)


def test_ima_template_hash_must_hold() -> None:
    boot = full_boot()
    boot.entries[1] = altered(boot.entries[1], template_hash=b"\1" * 20)
    error = refused(boot.logs, boot.pcrs)
    assert (error.code, error.place) == ("ima-template-mismatch", "ima entry 1")


def test_ima_entry_altered_altogether_is_a_mismatch() -> None:
    boot = full_boot()
    boot.entries[1] = ima.make(1, 10, "ima-ng", (b"sha256:\0" + b"\1" * 32, b"/init\0"))
    assert refused(boot.logs, boot.pcrs).place == "sha256 PCR 10"


def test_violation_is_not_taken_for_an_entry() -> None:
    boot = full_boot()
    boot.entries[1] = altered(boot.entries[1], template_hash=bytes(20))
    assert refused(boot.logs, boot.pcrs).place == "sha256 PCR 10"


def test_boot_aggregate_of_another_boot() -> None:
    boot = BootBuilder().firmware()
    boot.entry(ima.BOOT_AGGREGATE, b"\1" * 32)
    error = refused(boot.logs, boot.pcrs)
    assert (error.code, error.place) == ("boot-aggregate-mismatch", "ima entry 0")


def test_boot_aggregate_in_a_bank_that_the_log_lacks() -> None:
    boot = BootBuilder().firmware()
    boot.entry(ima.BOOT_AGGREGATE, b"\1" * 20, "sha1")
    assert refused(boot.logs, boot.pcrs).code == "boot-aggregate-mismatch"
    unknown = BootBuilder().firmware().entry(ima.BOOT_AGGREGATE, b"", "md5")
    assert refused(unknown.logs, unknown.pcrs).code == "boot-aggregate-mismatch"


def test_boot_aggregate_in_sha1_covers_pcrs_0_to_7() -> None:
    boot = BootBuilder((SHA1, SHA256)).firmware()
    expected = sha(SHA1, b"".join(boot.pcrs[SHA1][pcr] for pcr in range(8)))
    boot.entry(ima.BOOT_AGGREGATE, expected, "sha1")
    assert len(replay(boot.logs, boot.pcrs).events.of(10)) == 1


def test_boot_aggregate_of_other_banks_covers_pcrs_0_to_9() -> None:
    boot = BootBuilder().firmware()
    expected = sha(SHA256, b"".join(boot.pcrs[SHA256][pcr] for pcr in range(10)))
    boot.entry(ima.BOOT_AGGREGATE, expected)
    assert len(replay(boot.logs, boot.pcrs).events.of(10)) == 1


@pytest.mark.parametrize("violation", [False, True])
def test_list_that_does_not_begin_with_the_boot_aggregate(violation: bool) -> None:
    boot = BootBuilder().firmware()
    boot.entry(ima.BOOT_AGGREGATE if violation else "/init", b"\1" * 32, violation=violation)
    assert refused(boot.logs, boot.pcrs).code == "boot-aggregate-missing"


def test_boot_aggregate_without_a_digest() -> None:
    boot = BootBuilder().firmware()
    entry = ima.make(0, 10, "n-ng", (b"boot_aggregate\0",))
    boot.extend(10, {SHA256: sha(SHA256, entry.data)})
    assert refused(replace(boot.logs, ima=(entry,)), boot.pcrs).code == "boot-aggregate-missing"


def test_replaying_is_linear_in_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event is hashed twice in each bank, its data and its extend, however the log is made, and never again."""
    hashed: list[int] = []

    def counting(data: bytes) -> Any:
        hashed.append(len(data))
        return HASHERS[SHA256](data)

    boot = BootBuilder().firmware().system()
    counts = []
    for number in (100, 200, 400):
        while len(boot.entries) < number:
            boot.entry(f"/{len(boot.entries)}", b"\1" * 32)
        wrong = {SHA256: boot.pcrs[SHA256] | {10: b"\1" * 32}}
        with monkeypatch.context() as patched:
            for module in (registers, measurements):
                patched.setattr(module, "HASHERS", MappingProxyType({**HASHERS, SHA256: counting}))
            hashed.clear()
            tabulate(boot.logs, wrong)
        counts.append(len(hashed))
    assert counts[2] - counts[1] == 2 * (counts[1] - counts[0]) == 2 * 3 * 100
