"""A Platform of the manifest processor: the inactive slot, parts of which there is one, small files, and a fetcher."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from medvouch.adapters.files import bounded, read_chunks, remove_durably, write_chunks_durably
from medvouch.errors import Refusal
from medvouch.formats.suit_manifest import ComponentId, component_name
from medvouch.ports import Slots, Source
from medvouch.update import refusals
from medvouch.update.admission import check_url
from medvouch.update.parts import STAGED

SYSTEM: ComponentId = (b"slot",)
"""The image of the whole system."""
MAX_COMPONENT_BYTES = 8 << 20
"""Of a component that is a file."""
MAX_STAGED_BYTES = 64 << 20
"""Of what waits to be installed into a part."""
_SLOT_NUMBERS = {"a": 0, "b": 1}


class Part(Protocol):
    """Something of which a device has one, such as its boot loader."""

    def store(self, chunks: Iterable[bytes]) -> None:
        """Put this in its place, durably; once more is no different. An error of `chunks` leaves what was there."""
        ...

    def check(self, chunks: Iterable[bytes]) -> bytes:
        """Raise what `store` would raise for what it is given, and write nothing.

        Returned is what `read` would give afterwards, where that is the payload itself.
        """
        ...

    def read(self) -> Iterator[bytes]:
        """What is there; nothing where it cannot be read."""
        ...


class Rehearsed:
    """A part that takes what the real one would take, and writes nothing."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._held: bytes | None = None

    def store(self, chunks: Iterable[bytes]) -> None:
        """As the real one, and afterwards `read` gives it."""
        self._held = self.check(chunks)

    def check(self, chunks: Iterable[bytes]) -> bytes:
        """As the real one."""
        return self._part.check(chunks)

    def read(self) -> Iterator[bytes]:
        """As the real one, before anything was stored here."""
        return self._part.read() if self._held is None else iter([self._held])


@dataclass(frozen=True)
class DeviceComponents:
    """The component `slot`, `parts`, and `files` (ids of the others) in `folder`, where parts are staged, too.

    `allowed`: URL prefixes to fetch from. `versions` of what is installed, by component.
    """

    slots: Slots
    fetcher: Source
    folder: Path
    files: Collection[ComponentId]
    allowed: Sequence[str]
    versions: Mapping[ComponentId, tuple[int, ...]] = field(default_factory=dict)
    parts: Mapping[ComponentId, Part] = field(default_factory=dict)

    def rehearsal(self) -> DeviceComponents:
        """The same, with parts that nothing is written to."""
        return replace(self, parts={component: Rehearsed(part) for component, part in self.parts.items()})

    def open(self, uri: str) -> Iterator[bytes]:
        """Refusal `url-not-allowed`; NetworkFault."""
        check_url(uri, self.allowed)
        return self.fetcher.fetch(uri)

    def store(self, component: ComponentId, chunks: Iterable[bytes]) -> None:
        """Durable on return."""
        if component == SYSTEM:
            self.slots.write(self.slots.other(), chunks)
        elif part := self.parts.get(component):
            part.store(chunks)
        else:
            limit = MAX_STAGED_BYTES if self._waits(component) else MAX_COMPONENT_BYTES
            write_chunks_durably(self._path(component), bounded(chunks, limit))

    def read(self, component: ComponentId, size: int | None) -> Iterator[bytes]:
        """Refusal `manifest-incomplete` for a slot without a size: nothing else says where its contents end."""
        if part := self.parts.get(component):
            return part.read()
        if component != SYSTEM:
            return read_chunks(self._path(component))
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
        if component not in self.parts:
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

    def _waits(self, component: ComponentId) -> bool:
        return component[:1] == (STAGED,) and component[1:] in self.parts

    def _path(self, component: ComponentId) -> Path:
        name = component_name(component)
        if component not in self.files and not self._waits(component):
            raise Refusal(refusals.COMPONENT_UNKNOWN, "this device has no such component", place=name)
        return self.folder / quote(name, safe="'")
