"""A device that manifests are run on: two slots, small files, and what a server has."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path

from medvouch.adapters.components import SYSTEM, DeviceComponents
from medvouch.adapters.slots import FileSlots
from medvouch.errors import NetworkFault
from medvouch.formats.suit_commands import Code, Command, CommandSequence
from medvouch.formats.suit_manifest import Common, ComponentId, Manifest, Member
from medvouch.update.execution import Execution, Procedure
from medvouch.update.processor import DeviceClass
from medvouch.update.verification import VerifiedEnvelope, verify_envelope
from medvouch_sim.suit_setting import override
from support.suit import CHECKS, DEVICE, IMAGE, QUALITY_KEYS, RELEASE_KEYS, enclosed, signed, verified

CAPACITY = 1 << 20
OLD = b"old system"
NOTE: ComponentId = (b"note",)
COPY: ComponentId = (b"copy",)
BELOW: ComponentId = (b"below",)
FILES = ((b"reference",), NOTE, COPY, BELOW, (*BELOW, *NOTE), (*BELOW, *BELOW), (*BELOW, *BELOW, *NOTE))
ALLOWED = ["https://updates.example/"]
IDENTITY = override(vendor_id=DEVICE.vendor_id, class_id=DEVICE.class_id)
SHARED = (Command(Code.SET_COMPONENT_INDEX, True), IDENTITY, *CHECKS, Command(Code.SET_COMPONENT_INDEX, 0))


class Shelf:
    """A Fetcher of what a dictionary holds."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def fetch(self, url: str) -> Generator[bytes, None, None]:
        if url not in self.files:
            raise NetworkFault("fetch-not-found", url)
        yield from (self.files[url][at : at + 100] for at in range(0, len(self.files[url]), 100))


class Device:
    """One, with its state in a folder."""

    def __init__(self, folder: Path, files: Mapping[str, bytes] | None = None, identity: DeviceClass = DEVICE) -> None:
        self.identity = identity
        self.slots = FileSlots.create(folder / "slots", [OLD], CAPACITY)
        (folder / "files").mkdir()
        shelf = Shelf({"https://updates.example/gateway-1.1.0.efi": IMAGE, **(files or {})})
        versions = {SYSTEM: (1, 0), NOTE: (2, 1, -1)}
        self.components = DeviceComponents(self.slots, shelf, folder / "files", FILES, ALLOWED, versions)

    def execution(self, envelope: VerifiedEnvelope) -> Execution:
        return Execution(envelope, self.identity, self.components, verify)

    def run(self, content: Manifest, procedure: Procedure = Procedure.UPDATE, **payloads: bytes) -> Execution:
        """A manifest signed by enough, as far as it goes."""
        execution = self.execution(verified(signed(enclosed(content, **payloads))))
        execution.run(procedure)
        return execution

    def holds(self, component: ComponentId) -> bytes:
        return b"".join(self.components.read(component, len(IMAGE) if component == SYSTEM else None))


def verify(data: bytes, prefix: ComponentId) -> VerifiedEnvelope:
    return verify_envelope(data, RELEASE_KEYS, QUALITY_KEYS, prefix=prefix)


def installing(
    *commands: Command,
    components: tuple[ComponentId, ...] = (SYSTEM, NOTE, COPY),
    shared: CommandSequence = SHARED,
    dependencies: Mapping[int, ComponentId | None] | None = None,
    more: Mapping[Member, CommandSequence] | None = None,
) -> Manifest:
    """A manifest with these commands in its install section."""
    common = Common(components, shared, dependencies or {})
    sequences = {**({Member.INSTALL: commands} if commands else {}), **(more or {})}
    return replace(Manifest(11, common, sequences), version=(1, 1, 0))
