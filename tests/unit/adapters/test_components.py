"""The components of a device, as far as the manifests of other tests do not come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medvouch.adapters import components
from medvouch.adapters.boot_loader import BootLoader
from medvouch.adapters.components import SYSTEM
from medvouch.errors import StorageFault
from medvouch.update import refusals
from medvouch.update.parts import BOOT_LOADER, FIRMWARE, staged
from medvouch_sim.fixtures import loader
from support.executing import BELOW, NOTE, Device
from support.refusing import assert_refused

LOADER = loader("257")


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_a_component_that_is_a_file_is_small(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "MAX_COMPONENT_BYTES", 1000)
    device.components.store(NOTE, [bytes(600), bytes(400)])
    with pytest.raises(StorageFault, match="component-too-large"):
        device.components.store(NOTE, iter([bytes(600), bytes(401)]))
    assert device.holds(NOTE) == bytes(1000)


def test_what_the_device_does_not_have(device: Device) -> None:
    known = device.components
    for call in (
        lambda: known.store((b"boiler",), [b""]), lambda: known.read((b"boiler",), None),
        lambda: known.remove((b"boiler",)), lambda: known.slot((b"boiler",)), lambda: known.invoke((b"boiler",), b""),
    ):  # fmt: skip
        assert_refused(refusals.COMPONENT_UNKNOWN, call)


def test_components_do_not_share_files(device: Device) -> None:
    """Also where one's name has a slash in it, and where one is below another."""
    device.components.store(BELOW, [b"below"])
    device.components.store((*BELOW, *NOTE), [b"note"])
    assert (device.holds(BELOW), device.holds((*BELOW, *NOTE))) == (b"below", b"note")
    device.components.remove(BELOW)
    device.components.remove(BELOW)
    assert (device.holds(BELOW), device.holds((*BELOW, *NOTE))) == (b"", b"note")


def test_slots_and_versions(device: Device) -> None:
    assert (device.components.slot(SYSTEM), device.components.slot(NOTE)) == (1, 0)
    assert (device.components.version(SYSTEM), device.components.version(BELOW)) == ((1, 0), (0,))


def test_parts_and_where_they_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is staged may be larger than other files, and is staged only for parts that there are."""
    device = Device(tmp_path)
    (tmp_path / "loader").write_bytes(LOADER)
    part = BootLoader(tmp_path / "loader", tmp_path / "previous")
    known = replace(device.components, parts={BOOT_LOADER: part})
    assert (b"".join(known.read(BOOT_LOADER, None)), known.slot(BOOT_LOADER)) == (LOADER, 0)
    monkeypatch.setattr(components, "MAX_COMPONENT_BYTES", 10)
    monkeypatch.setattr(components, "MAX_STAGED_BYTES", len(LOADER))
    known.store(staged(BOOT_LOADER), [LOADER])
    with pytest.raises(StorageFault, match="component-too-large"):
        known.store(staged(BOOT_LOADER), [LOADER, b"!"])
    known.store(BOOT_LOADER, known.read(staged(BOOT_LOADER), None))
    known.remove(staged(BOOT_LOADER))
    assert list(known.read(staged(BOOT_LOADER), None)) == []
    for component in (staged(FIRMWARE), FIRMWARE):
        assert_refused(refusals.COMPONENT_UNKNOWN, known.store, component, [b"x"])
    for call in (known.remove, lambda component: known.invoke(component, b"")):
        assert_refused(refusals.COMPONENT_UNKNOWN, call, BOOT_LOADER)
