"""The parts of which this device has one, as it is configured: for the agent itself, and for its helper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medvouch.adapters.boot_loader import BootLoader
from medvouch.adapters.components import DeviceComponents, Part
from medvouch.adapters.efivars import SecureBootDatabase
from medvouch.adapters.fwupd import Fwupd
from medvouch.adapters.slots import FileSlots
from medvouch.cli.config import UpdateConfig
from medvouch.cli.trusting import role_of
from medvouch.errors import ConfigFault, NetworkFault
from medvouch.formats.suit_manifest import ComponentId
from medvouch.formats.trust import TrustDocument
from medvouch.ports import Source
from medvouch.update.execution import Procedure
from medvouch.update.parts import BOOT_LOADER, FIRMWARE, REFERENCE_FILE, SECURE_BOOT, Outcome, Signers, process
from medvouch.update.processor import DeviceClass
from medvouch.update.verification import RoleKeys

FOLDER = "parts"
"""Below the state directory: what is staged, and what is remembered."""


def device_parts(settings: UpdateConfig, folder: Path) -> dict[ComponentId, Part]:
    """By component; `folder` is where they keep what they remember. Raises ConfigFault `loader-alone`."""
    parts: dict[ComponentId, Part] = {}
    if settings.esp_loader:
        if not settings.esp_previous or settings.esp_previous == settings.esp_loader:
            detail = "update.esp_loader needs an update.esp_previous, where the loader before it is kept"
            raise ConfigFault("loader-alone", detail, remedy="name a file with a boot entry of its own, or neither")
        parts[BOOT_LOADER] = BootLoader(Path(settings.esp_loader), Path(settings.esp_previous))
    if settings.efivars:
        for part, (name, attributes) in SECURE_BOOT.items():
            parts[part] = SecureBootDatabase(Path(settings.efivars), name, attributes, folder / f"{name}.last")
    if settings.fwupd:
        parts[FIRMWARE] = Fwupd(Path(settings.fwupd), folder / "firmware.cab")
    return parts


class Nowhere:
    """A Source of whoever has no network."""

    def fetch(self, url: str) -> Iterator[bytes]:
        """NetworkFault `fetch-unreachable`."""
        raise NetworkFault("fetch-unreachable", url, remedy="have it staged before it is installed")


@dataclass(frozen=True)
class PartsRunner:
    """Runs the manifests of releases for `parts`, which `signers` must have signed; `folder` is where they stage."""

    settings: UpdateConfig
    signers: Signers
    folder: Path
    parts: Mapping[ComponentId, Part]

    @classmethod
    def configured(cls, settings: UpdateConfig, trust: TrustDocument, folder: Path) -> PartsRunner:
        """Raises ConfigFault."""
        return cls(settings, signers_of(trust), folder, device_parts(settings, folder))

    def components(self, source: Source) -> DeviceComponents:
        """What manifests are run on."""
        slots, allowed = FileSlots(self.settings.slots), self.settings.payloads
        return DeviceComponents(slots, source, self.folder, [REFERENCE_FILE], allowed, parts=self.parts)

    def run(self, envelope: bytes, procedure: Procedure, source: Source) -> Outcome:
        """As `update.parts.process`."""
        return process(envelope, procedure, self.signers, self.device, self.components(source))

    @property
    def device(self) -> DeviceClass:
        """For whom releases have to be."""
        return DeviceClass.named(self.settings.vendor, self.settings.class_name)


def signers_of(trust: TrustDocument) -> Signers:
    """Whether or not their roles have expired: what was admitted in time is installed. Raises as `role_of`."""
    roles = (role_of(trust, name) for name in ("release", "quality"))
    return Signers(*(RoleKeys(role.keys, role.threshold, role.components) for role in roles))
