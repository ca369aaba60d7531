"""The list of all devices that a maker knows, as its own systems export it (JSON).

    {"devices": [{"ueid": "01...", "serial": "SN-1", "model": "MV-100", "version": "1.0.0", "labels": ["pilot"]}]}

`version` is the one that the device was delivered with. Who is not on the list is in no denominator.
"""

from __future__ import annotations

from dataclasses import dataclass

from medvouch.errors import InputError
from medvouch.formats import json_object
from medvouch.formats.enrolment import device_id
from medvouch.formats.json_object import Node
from medvouch.formats.record import Place
from medvouch.formats.version import parse_version

FORMAT = "fleet"
MAX_DEVICES = 65_536
MAX_FLEET_BYTES = 32 << 20
MAX_LABELS = 16
MAX_TEXT = 64
UEID_BYTES = 33


@dataclass(frozen=True)
class FleetDevice:
    """One device: `ueid` of 33 bytes, and what its maker calls it; `serial` empty where that is not said."""

    ueid: bytes
    serial: str
    model: str
    version: str
    labels: frozenset[str]

    @property
    def device(self) -> str:
        """Its id on topics and in bundles."""
        return device_id(self.ueid)


@dataclass(frozen=True)
class Fleet:
    """All of them, in the order of the file."""

    devices: tuple[FleetDevice, ...]

    @classmethod
    def parse(cls, data: bytes) -> Fleet:
        """Raises InputError `fleet-malformed`, `fleet-limit`; an empty list is no list, nor is one that repeats."""
        root = json_object.parse(data, FORMAT, MAX_FLEET_BYTES)
        devices = tuple(_device(each) for each in root.nodes("devices", MAX_DEVICES))
        if not devices or len({each.device for each in devices}) != len(devices):
            raise (root.place / "devices").malformed("at least one device, and each once")
        return cls(devices)


def _device(given: Node) -> FleetDevice:
    return FleetDevice(
        parse_ueid(given.text("ueid", 2 * UEID_BYTES), given.place / "ueid"),
        given.maybe_text("serial", MAX_TEXT),
        given.text("model", MAX_TEXT),
        _version(given),
        frozenset(given.texts("labels", MAX_LABELS, MAX_TEXT)),
    )


def _version(given: Node) -> str:
    version = given.text("version", MAX_TEXT)
    try:
        parse_version(version)
    except InputError as error:
        raise (given.place / "version").malformed("a version like 1.10.0") from error
    return version


def parse_ueid(text: str, place: Place) -> bytes:
    """A UEID in hexadecimal, as commands show it: small letters, nothing between them."""
    try:
        ueid = bytes.fromhex(text)
    except ValueError as error:
        raise place.malformed("hexadecimal") from error
    if len(ueid) != UEID_BYTES or ueid.hex() != text:
        raise place.malformed(f"{UEID_BYTES} bytes in small hexadecimal")
    return ueid
