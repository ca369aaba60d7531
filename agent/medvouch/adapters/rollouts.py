"""Rollouts as files in one folder, `NAME.cbor`, each replaced as a whole."""

from __future__ import annotations

from pathlib import Path

from medvouch.adapters.files import read_bounded, write_durably
from medvouch.errors import InputError, StorageFault, UsageFault
from medvouch.formats.rollout import MAX_ROLLOUT_BYTES, Rollout

MAX_ROLLOUTS = 1024
_SUFFIX = ".cbor"


class RolloutFolder:
    """Those in `folder`, which is made by the first write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """All, in their order."""
        return sorted(path.stem for path in self._folder.glob(f"[!.]*{_SUFFIX}"))[:MAX_ROLLOUTS]

    def read(self, name: str) -> Rollout:
        """One. UsageFault `rollout-unknown` where there is none, StorageFault `rollout-corrupt` for a damaged one."""
        path = self._folder / f"{name}{_SUFFIX}"
        if name not in self.names():
            remedy = f"there are {', '.join(self.names()) or 'none'}"
            raise UsageFault("rollout-unknown", f"there is no rollout {name[:64]!r} in {self._folder}", remedy=remedy)
        try:
            return Rollout.parse(read_bounded(path, MAX_ROLLOUT_BYTES))
        except InputError as error:
            remedy = "restore it from a backup, or start the rollout anew under another name"
            raise StorageFault(
                "rollout-corrupt", f"{path}: {error.detail}", place=error.place, remedy=remedy
            ) from error

    def all(self) -> list[Rollout]:
        """Each of them. Raises as `read`."""
        return [self.read(name) for name in self.names()]

    def write(self, rollout: Rollout) -> None:
        """Durable on return."""
        write_durably(self._folder / f"{rollout.name}{_SUFFIX}", rollout.encode())
