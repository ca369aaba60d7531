"""Where updates may come from: mirrors and sites of their own in turn, the repository itself last, or only a stick.

No place is trusted more than another, since all of them are held to the same signatures. Metadata of one refresh is of
one place, so that two mirrors that lag behind each other are not taken for one that mixes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from medvouch.errors import InputError, MedvouchError, NetworkFault, Refusal
from medvouch.formats.tuf_versions import NONE_SEEN, Versions
from medvouch.update.repository import Repository

log = logging.getLogger(__name__)

T = TypeVar("T")

ELSEWHERE = "payloads/"
"""Below a mirror: what the repository's payloads are that stand elsewhere than below it."""


@dataclass(frozen=True)
class Places:
    """Base URLs: of the `repository`, of its `mirrors`, and of `payloads` as manifests name them."""

    repository: str
    mirrors: Sequence[str] = ()
    payloads: Sequence[str] = ()

    def bases(self, only: str = "") -> list[str]:
        """To be tried in this order; `only`: a stick that somebody put in."""
        return [only] if only else [*self.mirrors, self.repository]

    def at(self, base: str, uri: str) -> str:
        """Where a payload stands at one of `bases`; the repository's are where their manifest says."""
        if base == self.repository:
            return uri
        return f"{base.rstrip('/')}/{self._below(uri)}"

    def _below(self, uri: str) -> str:
        repository = f"{self.repository.rstrip('/')}/"
        if uri.startswith(repository):
            return uri.removeprefix(repository)
        prefix = next((place for place in self.payloads if uri.startswith(place)), "")
        return ELSEWHERE + uri.removeprefix(prefix).lstrip("/")


def folder_url(path: str) -> str:
    """The base URL of a directory (an absolute path)."""
    return f"file://{quote(path)}"


class Mirrors:
    """The repository as the first place has it that shows a state to be believed.

    `make` gets a base URL, and the versions below which nothing is.
    """

    def __init__(self, make: Callable[[str, Versions], Repository], places: Places) -> None:
        self._make = make
        self._places = places
        self._current: Repository | None = None
        self._floor = NONE_SEEN
        self._left: list[str] = []

    @property
    def current(self) -> Repository:
        """As it was refreshed last."""
        assert self._current is not None, "refresh() comes first"
        return self._current

    def refresh(self, floor: Versions = NONE_SEEN, only: str = "") -> Repository:
        """Raises what the first place raised that must not be believed, else what the last one did."""
        self._floor, self._left = floor, self._places.bases(only)
        return self._next()

    def ask(self, question: Callable[[Repository], T]) -> T:
        """What the repository says, after `refresh`; where a place cannot back what it showed, the next one is asked.

        Raises what `question` does; of several places, what it did of the first.
        """
        while True:
            try:
                return question(self.current)
            except (NetworkFault, Refusal, InputError) as error:
                if not self._left or not _of_the_place(error):
                    raise
                log.warning("the next place is asked: %s", error)
                try:
                    self._next()
                except (NetworkFault, Refusal, InputError):
                    raise error from None

    def _next(self) -> Repository:
        refused: list[MedvouchError] = []
        failed: list[MedvouchError] = []
        while self._left:
            base = self._left.pop(0)
            repository = self._make(base, self._floor)
            try:
                repository.refresh()
            except (NetworkFault, Refusal, InputError) as error:
                log.warning("%s: %s", base, error)
                (failed if isinstance(error, NetworkFault) else refused).append(error)
                continue
            self._current = repository
            return repository
        raise (refused or failed[-1:])[0]


def _of_the_place(error: MedvouchError) -> bool:
    """Whether another place may have it right: metadata below the top level, or a target, that is not what was signed.

    What a directive or a manifest says is signed, and the same everywhere.
    """
    return isinstance(error, NetworkFault) or error.code.startswith(("metadata-", "target-mismatch"))
