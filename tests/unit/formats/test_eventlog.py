"""The event log parser, beyond the published logs."""

from __future__ import annotations

import struct

import pytest

from medvouch.errors import InputError
from medvouch.formats import eventlog
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import Event, EventLog, EventType, SpecId

SHA1, SHA256 = HashAlg.SHA1, HashAlg.SHA256


def event(index: int = 1, pcr: int = 0, kind: int = EventType.EV_POST_CODE, data: bytes = b"data") -> Event:
    return Event(index, pcr, kind, {SHA1: b"1" * 20, SHA256: b"2" * 32}, data, 0)


def agile(*events: Event, spec: SpecId | None = None) -> bytes:
    return EventLog(spec or SpecId((SHA1, SHA256)), events).encode()


def code(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        eventlog.parse(data)
    assert "offset" in caught.value.place or "byte" in caught.value.place
    return caught.value.code


def test_round_trip_counts_as_tpm2_eventlog() -> None:
    log = eventlog.parse(agile(event(), event(2, 7)))
    assert [(e.index, e.pcr, e.data) for e in log.events] == [(1, 0, b"data"), (2, 7, b"data")]
    assert log.banks == (SHA1, SHA256)
    assert log.encode() == agile(event(), event(2, 7))


def test_sha1_log() -> None:
    data = Event(0, 4, EventType.EV_IPL, {SHA1: b"1" * 20}, b"grub", 0).encode_sha1()
    log = eventlog.parse(data + data)
    assert (log.spec, log.banks, [e.index for e in log.events]) == (None, (SHA1,), [0, 1])
    assert log.encode() == data + data


def test_every_truncation_within_one_event() -> None:
    data = agile(event())
    start = len(agile())
    for size in set(range(len(data))) - {start}:
        assert code(data[:size]) == "eventlog-truncated"


@pytest.mark.parametrize("inside", [True, False])
def test_vendor_information_inside_or_outside_the_size(inside: bool) -> None:
    spec = SpecId((SHA1, SHA256), vendor_info=b"vendor", vendor_info_inside=inside)
    log = eventlog.parse(agile(event(), spec=spec))
    assert log.spec == spec
    assert len(log.events) == 1


def patched(offset: int, layout: str, value: int, data: bytes = b"") -> bytes:
    changed = bytearray(data or agile(event()))
    struct.pack_into(layout, changed, offset, value)
    return bytes(changed)


EVENT = len(agile())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (patched(0, "<I", 1), "malformed"),  # Spec ID in PCR 1
        (patched(8, "<B", 1), "malformed"),  # Spec ID with a digest
        (patched(28, "<I", 38), "trailing"),  # larger than what it holds
        (patched(28, "<I", 35), "truncated"),
        (patched(56, "<I", 9), "limit"),  # more banks than there are hashes
        (patched(56, "<I", 0), "malformed"),
        (patched(60, "<H", 0x4711), "malformed"),  # unknown bank
        (patched(62, "<H", 32), "malformed"),  # SHA-1 of 32 bytes
        (patched(64, "<I", 0x00140004), "malformed"),  # SHA-1 twice
        (patched(EVENT + 8, "<I", 0), "malformed"),  # no digests
        (patched(EVENT + 8, "<I", 3), "malformed"),
        (patched(EVENT + 12, "<H", SHA256 + 1), "malformed"),  # undeclared bank
        (patched(EVENT + 68, "<I", eventlog.MAX_EVENT_BYTES + 1), "limit"),
        (patched(EVENT + 68, "<I", eventlog.MAX_EVENT_BYTES), "truncated"),
        (agile(event())[:-4] + b"dat", "truncated"),
        (b"", "truncated"),
        (bytes(eventlog.MAX_LOG_BYTES + 1), "limit"),
    ],
)
def test_refused(data: bytes, expected: str) -> None:
    assert code(data) == f"eventlog-{expected}"


@pytest.mark.parametrize("size", [1, 3, 11, 12, 16, 64, 4096])
@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"A"])
def test_trailing_bytes_are_no_event(size: int, byte: bytes) -> None:
    assert code(agile(event()) + byte * size) in ("eventlog-truncated", "eventlog-malformed")


def test_banks_in_another_order_and_fewer_of_them() -> None:
    swapped = Event(1, 0, 1, {SHA256: b"2" * 32, SHA1: b"1" * 20}, b"x", 0)
    one = Event(2, 0, 1, {SHA256: b"2" * 32}, b"y", 0)
    log = eventlog.parse(agile(swapped, one, event(3)))
    assert [list(each.digests) for each in log.events] == [[SHA256, SHA1], [SHA256], [SHA1, SHA256]]
    assert log.encode() == agile(swapped, one, event(3))


def test_two_digests_of_one_bank() -> None:
    digest = struct.pack("<H", SHA1) + b"1" * 20
    twice = struct.pack("<III", 0, 1, 2) + digest + digest + struct.pack("<I", 0)
    assert code(agile() + twice) == "eventlog-malformed"


def test_too_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "MAX_EVENTS", 2)
    eventlog.parse(agile(event(), event()))
    assert code(agile(event(), event(), event())) == "eventlog-limit"


def test_no_action_may_name_no_pcr() -> None:
    log = eventlog.parse(agile(event(pcr=0xFFFFFFFF, kind=EventType.EV_NO_ACTION)))
    assert not log.events[0].measured


def locality(value: int, data: bytes = b"StartupLocality\0") -> Event:
    return event(kind=EventType.EV_NO_ACTION, data=data + bytes([value]))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((), 0),
        ((locality(3), event()), 3),
        ((event(pcr=7), locality(3)), 3),
        ((event(), locality(3)), 0),  # after a measurement it says nothing
        ((locality(3, b"StartupLocalitx\0"), event()), 0),
        ((event(kind=EventType.EV_EFI_HCRTM_EVENT),), 4),
        ((event(), event(kind=EventType.EV_EFI_HCRTM_EVENT)), 0),
    ],
)
def test_startup_locality(events: tuple[Event, ...], expected: int) -> None:
    assert EventLog(SpecId((SHA1, SHA256)), events).startup_locality == expected


def test_type_names() -> None:
    assert (eventlog.type_name(0x8000000C), eventlog.type_name(0x12345)) == ("EV_EFI_VARIABLE_BOOT2", "0x00012345")
