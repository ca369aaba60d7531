"""Whatever bytes come in, parsers of logs raise only InputError; whatever log is made, it survives a round trip."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from medvouch.attestation.log_rules import check_log
from medvouch.attestation.replay import Logs, replay, replayed_pcrs, tabulate
from medvouch.attestation.semantics import understand
from medvouch.errors import InputError, Refusal
from medvouch.formats import event_text, eventlog, ima, ima_ascii, sbat, systemd, uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.boot_option import BootOption
from medvouch.formats.device_path import device_path_text
from medvouch.formats.eventlog import Event, EventLog, EventType, SpecId
from medvouch.formats.gpt import PartitionTable
from medvouch.formats.ima_signature import OF_FILE, ImaSignature
from medvouch.formats.uefi import Variable
from support.boots import SHA1, SHA256, full_boot

BANKS = (SHA1, SHA256)
TYPES = st.sampled_from([*map(int, EventType), 0x12345])


def digests(*banks: HashAlg) -> st.SearchStrategy[dict[HashAlg, bytes]]:
    return st.fixed_dictionaries({bank: st.binary(min_size=bank.size, max_size=bank.size) for bank in banks})


EVENTS = st.lists(st.tuples(st.integers(0, 23), TYPES, digests(*BANKS), st.binary(max_size=80)), max_size=8)
FULL = full_boot(*BANKS)
LOG = FULL.log.encode()
LIST = ima.encode(tuple(FULL.entries))
RECORDS = systemd.encode(FULL.records)


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """`data` with some bytes replaced, removed or inserted."""
    edit = st.tuples(st.integers(0, len(data)), st.integers(0, 4), st.binary(max_size=4))

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = data
        for at, removed, inserted in edits:
            changed = changed[:at] + inserted + changed[at + removed :]
        return changed

    return st.lists(edit, min_size=1, max_size=3).map(apply)


@given(EVENTS)
def test_event_logs_round_trip(parts: list[tuple[int, int, dict[HashAlg, bytes], bytes]]) -> None:
    made = EventLog(SpecId(BANKS), tuple(Event(i, *part, 0) for i, part in enumerate(parts, 1)))
    parsed = eventlog.parse(made.encode())
    assert parsed.encode() == made.encode()
    assert [(e.index, e.pcr, e.type, e.digests, e.data) for e in parsed.events] == [
        (e.index, e.pcr, e.type, e.digests, e.data) for e in made.events
    ]


@given(EVENTS)
def test_a_log_explains_what_it_leads_to(parts: list[tuple[int, int, dict[HashAlg, bytes], bytes]]) -> None:
    log = EventLog(SpecId(BANKS), tuple(Event(i, *part, 0) for i, part in enumerate(parts, 1)))
    done = replay(Logs(log), replayed_pcrs(log))
    assert len(done.events) == sum(event.measured for event in log.events)
    understand(done.events, command_lines=["x"])


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), mutated(LOG)))
def test_event_log_mutations(data: bytes) -> None:
    with suppress(InputError):
        log = eventlog.parse(data)
        assert log.encode() == data
        assert all(event_text.title(event).isprintable() for event in log.events)
        tabulate(Logs(log), FULL.pcrs)


@given(TYPES, st.binary(max_size=120))
def test_describing_never_raises(kind: int, data: bytes) -> None:
    assert event_text.describe(Event(1, 0, kind, {}, data, 0)).isprintable()


@given(st.text(max_size=60), st.binary(max_size=60))
def test_variables_round_trip(name: str, data: bytes) -> None:
    variable = uefi.Variable(uefi.GLOBAL_VARIABLE, name, data)
    assert uefi.Variable.parse(variable.encode()) == variable


@given(st.one_of(st.binary(max_size=120), mutated(uefi.SignatureList(uefi.CERT_SHA256, b"", 20, ()).encode())))
def test_signature_list_mutations(data: bytes) -> None:
    with suppress(InputError):
        assert b"".join(entry.encode() for entry in uefi.parse_signature_lists(data)) == data


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), mutated(LIST)))
def test_ima_mutations(data: bytes) -> None:
    with suppress(InputError):
        entries = ima.parse_binary(data)
        assert ima.encode(entries) == data
        assert all(entry.describe().isprintable() for entry in entries)
        tabulate(Logs(FULL.log, ima=entries), FULL.pcrs)


@given(st.one_of(st.text(max_size=200), mutated(b"10 " + b"00" * 20 + b" ima-sig sha1:00 /init \n").map(bytes.hex)))
def test_ascii_mutations(text: str) -> None:
    with suppress(InputError):
        for entry in ima_ascii.parse_ascii(text):
            assert entry.describe().isprintable()


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), mutated(RECORDS)))
def test_systemd_mutations(data: bytes) -> None:
    with suppress(InputError):
        records = systemd.parse(data)
        assert systemd.parse(systemd.encode(records)) == records
        tabulate(Logs(FULL.log, systemd=records), FULL.pcrs)


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.text(max_size=8), st.integers(), st.booleans()), max_size=4))
def test_systemd_records_round_trip(content: dict[str, str | int | bool]) -> None:
    record = systemd.Record(0, {SHA256: b"1" * 32}, 11, content=content)
    assert systemd.parse(record.encode()) == (record,)


@settings(max_examples=300)
@given(st.binary(max_size=160))
def test_structures_within_events_raise_input_errors_alone(data: bytes) -> None:
    of_variables = (Variable.parse_authority, PartitionTable.parse, BootOption.parse)
    for parse in (*of_variables, device_path_text, sbat.parse, ImaSignature.parse):
        with suppress(InputError):
            parse(data)


@given(st.text(max_size=20), st.binary(max_size=40), st.binary(max_size=20))
def test_boot_options_round_trip(description: str, path: bytes, data: bytes) -> None:
    option = BootOption(1, description.replace("\0", ""), path, data)
    assert BootOption.parse(option.encode()) == option


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=80))
def test_file_signatures_round_trip(key_id: bytes, value: bytes) -> None:
    signature = ImaSignature(OF_FILE, SHA256, key_id, value)
    assert ImaSignature.parse(signature.encode()) == signature


@settings(max_examples=200)
@given(EVENTS)
def test_rules_end_in_a_refusal_or_nothing(parts: list[tuple[int, int, dict[HashAlg, bytes], bytes]]) -> None:
    log = EventLog(SpecId(BANKS), tuple(Event(i, *part, 0) for i, part in enumerate(parts, 1)))
    with suppress(Refusal):
        check_log(log, replay(Logs(log), replayed_pcrs(log)).events, {event.pcr for event in log.events})
