"""What a device is to the manifest processor: components with contents, and a place where contents come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from medvouch.formats.suit_manifest import ComponentId


class Platform(Protocol):
    """The components of a device. Blocking; each call raises EnvironmentFault where the device or the network fails.

    Which components there are is the platform's to say: one that it has not is Refusal `manifest-component-unknown`.
    """

    def rehearsal(self) -> Platform:
        """The same, but parts of which there is one are not written: they refuse what they would, and read as then."""
        ...

    def open(self, uri: str) -> Iterator[bytes]:
        """What stands at a URI, as it comes; Refusal where it must not be fetched from."""
        ...

    def store(self, component: ComponentId, chunks: Iterable[bytes]) -> None:
        """Replace the contents as a whole; an error of `chunks` is raised, and then the old contents are gone too."""
        ...

    def read(self, component: ComponentId, size: int | None) -> Iterator[bytes]:
        """The contents from the medium, if there are any; `size` bytes of a slot, which has no end of its own."""
        ...

    def remove(self, component: ComponentId) -> None:
        """Nothing is there any more."""
        ...

    def slot(self, component: ComponentId) -> int:
        """The number of the slot that `store` writes."""
        ...

    def version(self, component: ComponentId) -> tuple[int, ...]:
        """The version of the contents, as numbers; (0,) where there are none."""
        ...

    def invoke(self, component: ComponentId, arguments: bytes) -> None:
        """Start the contents, or see to it that the next start does."""
        ...
