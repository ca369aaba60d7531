"""The virtual firmware measures in the order and with the bytes of a real boot that was captured under OVMF."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.formats import event_text, eventlog, uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import Event, EventType
from medvouch.formats.hashing import digest
from medvouch.formats.text import text
from medvouch_sim import firmware
from medvouch_sim.firmware import Machine

SHA256 = HashAlg.SHA256
VARIABLES = {
    EventType.EV_EFI_VARIABLE_DRIVER_CONFIG,
    EventType.EV_EFI_VARIABLE_AUTHORITY,
    EventType.EV_EFI_VARIABLE_BOOT,
}
TEXTS = {EventType.EV_EFI_ACTION, EventType.EV_EVENT_TAG, EventType.EV_IPL, EventType.EV_SEPARATOR}
REPEATED = {EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB, EventType.EV_EFI_VARIABLE_BOOT}
"""As many as there are firmware volumes and boot options."""
NEWER_SECTIONS = (".uname", ".sbat")
"""Measured since systemd 254; the capture is of 252."""

Row = tuple[int, int, str]


@pytest.fixture
def captured(vectors: Path) -> list[Event]:
    """The capture, from the boot option on that succeeded; the one before failed, which adds two events to PCR 4."""
    log = vectors / "eventlogs" / "ovmf" / "ovmf-uki-bookworm.bin"
    events = list(eventlog.parse(log.read_bytes()).events)
    returned = next(n for n, event in enumerate(events) if event.data.startswith(b"Returning from EFI Application"))
    return events[:returned] + events[returned + 2 :]


@pytest.fixture
def virtual(tmp_path: Path) -> list[Event]:
    events = firmware.measure(Machine.create(tmp_path / "disk"), banks=(SHA256,)).logs.uefi.events
    return [event for event in events if text(event.data) not in NEWER_SECTIONS]


def _row(event: Event) -> Row:
    kind = EventType(event.type)
    if kind is EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2:
        kind = EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB
    name = uefi.Variable.parse(event.data).name.rstrip("0123456789") if kind in VARIABLES else ""
    return event.pcr, kind, event_text.describe(event) if kind in TEXTS else name.removesuffix("Order")


def _rows(events: list[Event]) -> list[Row]:
    rows: list[Row] = []
    for row in map(_row, events):
        if row[1] not in REPEATED or row != rows[-1]:
            rows.append(row)
    return rows


def test_order_is_that_of_the_captured_boot(captured: list[Event], virtual: list[Event]) -> None:
    assert _rows(virtual) == _rows(captured)


def test_what_every_machine_measures_alike_is_the_same(captured: list[Event], virtual: list[Event]) -> None:
    """Separators, actions, SecureBoot on, and the names of sections, which stand before the contents in PCR 11."""

    def constant(events: list[Event]) -> list[tuple[int, bytes, bytes]]:
        kinds = {EventType.EV_SEPARATOR, EventType.EV_EFI_ACTION}
        names = [event for event in events if event.type == EventType.EV_IPL][::2]
        policy = [event for event in events if event.pcr == 7][:1]
        kept = [*policy, *(event for event in events if event.type in kinds), *names]
        return [(event.pcr, event.digests[SHA256], event.data) for event in kept]

    assert constant(virtual) == constant(captured)


def test_of_boot_variables_the_value_alone_is_measured(captured: list[Event], virtual: list[Event]) -> None:
    measured = [event for event in captured + virtual if event.type == EventType.EV_EFI_VARIABLE_BOOT]
    values = [uefi.Variable.parse(event.data).data for event in measured]
    assert [digest(SHA256, value) for value in values] == [event.digests[SHA256] for event in measured]


def test_the_initrd_is_its_section(captured: list[Event], virtual: list[Event]) -> None:
    """PCR 9 has of the initrd what PCR 11 has of its section."""
    for events in (captured, virtual):
        (initrd,) = (event for event in events if event.pcr == 9 and b"Linux initrd" in event.data)
        _, section = (event for event in events if event.pcr == 11 and text(event.data) == ".initrd")
        assert initrd.digests[SHA256] == section.digests[SHA256]
