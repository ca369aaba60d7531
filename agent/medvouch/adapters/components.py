"""A Platform of the manifest processor: the inactive slot, small files beside it, and what is fetched over HTTP."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from medvouch.adapters.files import read_bounded, remove_durably, write_durably
from medvouch.errors import Refusal, StorageFault
from medvouch.formats.suit_manifest import ComponentId, component_name
from medvouch.ports import Fetcher, Slots
from medvouch.update import refusals
from medvouch.update.admission import check_url

SYSTEM: ComponentId = (b"slot",)
"""The image of the whole system."""
MAX_COMPONENT_BYTES = 8 << 20
"""Of a component that is a file."""
_SLOT_NUMBERS = {"a": 0, "b": 1}


@dataclass(frozen=True)
class DeviceComponents:
    """The component `slot`, and `files` (ids of the others) in `folder`.

    `allowed`: URL prefixes to fetch from. `versions` of what is installed, by component.
    """

    slots: Slots
    fetcher: Fetcher
    folder: Path
    files: Collection[ComponentId]
    allowed: Sequence[str]
    versions: Mapping[ComponentId, tuple[int, ...]] = field(default_factory=dict)

    def open(self, uri: str) -> Iterator[bytes]:
        """Refusal `url-not-allowed`; NetworkFault."""
        check_url(uri, self.allowed)
        return self.fetcher.fetch(uri)

    def store(self, component: ComponentId, chunks: Iterable[bytes]) -> None:
        """Durable on return."""
        if component == SYSTEM:
            self.slots.write(self.slots.other(), chunks)
        else:
            write_durably(self._path(component), _small(chunks))

    def read(self, component: ComponentId, size: int | None) -> Iterator[bytes]:
        """Refusal `manifest-incomplete` for a slot without a size: nothing else says where its contents end."""
        if component != SYSTEM:
            path = self._path(component)
            return iter([read_bounded(path, MAX_COMPONENT_BYTES)] if path.exists() else [])
        if size is None:
            raise Refusal(refusals.MANIFEST_INCOMPLETE, "no image size is set", place=component_name(component))
        return self.slots.read(self.slots.other(), min(size, self.slots.capacity()))

    def remove(self, component: ComponentId) -> None:
        """A slot is never booted again; a file is gone, durably."""
        if component == SYSTEM:
            self.slots.retire(self.slots.other())
        else:
            remove_durably(self._path(component))

    def slot(self, component: ComponentId) -> int:
        """0 is a, 1 is b; of files 0."""
        if component == SYSTEM:
            return _SLOT_NUMBERS[self.slots.other()]
        self._path(component)
        return 0

    def version(self, component: ComponentId) -> tuple[int, ...]:
        """As it was installed."""
        return self.versions.get(component, (0,))

    def invoke(self, component: ComponentId, arguments: bytes) -> None:
        """The next start tries the slot, once; nothing else can be started, and nothing takes arguments."""
        if component != SYSTEM or arguments:
            raise Refusal(refusals.COMPONENT_UNKNOWN, "nothing to start", place=component_name(component))
        self.slots.activate(self.slots.other())

    def _path(self, component: ComponentId) -> Path:
        name = component_name(component)
        if component not in self.files:
            raise Refusal(refusals.COMPONENT_UNKNOWN, "this device has no such component", place=name)
        return self.folder / quote(name, safe="'")


def _small(chunks: Iterable[bytes]) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > MAX_COMPONENT_BYTES:
            detail = f"more than {MAX_COMPONENT_BYTES} bytes"
            raise StorageFault("component-too-large", detail, remedy="publish it smaller, or as an image for the slot")
    return bytes(data)
