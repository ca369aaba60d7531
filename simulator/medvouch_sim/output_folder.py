"""The folder that a run writes to: what is emptied is what an earlier run left, and nobody's own files."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from medvouch.errors import StorageFault, UsageFault


def emptied(folder: Path, leftovers: Collection[str]) -> None:
    """Make `folder` an empty one; UsageFault, and all is left alone, where it holds anything but `leftovers`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted(folder.iterdir())
    except OSError as error:
        remedy = "name a folder that can be written to (--out DIR)"
        raise StorageFault("out-unusable", f"{folder}: {error.strerror}", remedy=remedy) from error
    strange = [path.name for path in found if path.name not in leftovers]
    if strange:
        detail = f"{folder} holds `{strange[0]}`, which no run has left there; it would be emptied"
        raise UsageFault("out-in-use", detail, remedy="name an empty folder (--out DIR), or remove that one")
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
