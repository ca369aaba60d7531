"""The components of a device, as far as the manifests of other tests do not come."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.adapters import components
from medvouch.adapters.components import SYSTEM
from medvouch.errors import StorageFault
from medvouch.update import refusals
from support.executing import BELOW, NOTE, Device
from support.refusing import assert_refused


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
