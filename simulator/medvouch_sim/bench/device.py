"""The part of a device that installs: slots, a store and a fetcher in a folder, as its agent has them.

`python -m medvouch_sim.bench.device FOLDER RECORD BASE`: install that release from there in a process of its own, and
say how much memory that took.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import medvouch
import medvouch_sim
from medvouch.adapters.folder import AnyFetcher
from medvouch.adapters.http import HttpFetcher
from medvouch.adapters.slots import FileSlots
from medvouch.adapters.store import SqliteStore
from medvouch.daemon.delivery import JOURNAL_KEY, Delivery
from medvouch.daemon.mirrors import Places
from medvouch.daemon.staging import digest_of
from medvouch.errors import EnvironmentFault
from medvouch.formats.update import FetchJournal, IndexPayload, UpdateRecord
from medvouch.update.blocks import index_of

ORIGIN = "http://origin.invalid/"
"""What the manifest says; the image is somewhere else."""
IMAGE = "new.img"
INDEX = "new.img.blocks"
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Device:
    """Its files are in `folder`; slot a runs and is good."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, running: Iterator[bytes], capacity: int) -> Device:
        """As delivered, with an image that runs."""
        FileSlots.create(folder / "slots", running, capacity)
        return cls(folder)

    @property
    def slots(self) -> FileSlots:
        """Its slots."""
        return FileSlots(self.folder / "slots")

    def forget(self) -> None:
        """As if nothing had been installed."""
        self.slots.path("b").unlink(missing_ok=True)
        for path in self.folder.glob("state.db*"):
            path.unlink()

    def install(self, release: Path, base: str) -> None:
        """Deliver the image into the slot and read it back, and activate it. `release`: of `publish`."""
        record, index = _read(release)
        store = SqliteStore(self.folder / "state.db")
        try:
            if store.get(JOURNAL_KEY) is None:
                store.put({JOURNAL_KEY: FetchJournal(record.manifest, record.slot, 0, "", "", index).encode()})
            slots = self.slots
            Delivery(slots, AnyFetcher(HttpFetcher()), store, Places(ORIGIN)).deliver(record, lambda _: None, base)
            if digest_of(slots.read(record.slot, record.size)) != record.digest:
                raise EnvironmentFault("bench-failed", "the slot reads otherwise", remedy="check the disk")
            slots.activate(record.slot)
        finally:
            store.close()


def publish(folder: Path, *, indexed: bool) -> Path:
    """Beside an image `new.img` its index, and what a device knows of the release."""
    image = folder / IMAGE
    size = image.stat().st_size
    with image.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    index = b""
    if indexed:
        with image.open("rb") as file:
            index = index_of(iter(lambda: file.read(_READ_BYTES), b""), size).encode()
        (folder / INDEX).write_bytes(index)
    record = UpdateRecord(
        state="notified", version="2.0.0", sequence=2, security_epoch=1, manifest=bytes(32), uri=f"{ORIGIN}{IMAGE}",
        digest=digest, size=size, reference=b"", slot="b", tries=0, code="",
    )  # fmt: skip
    release = folder / "release"
    named = IndexPayload(f"{ORIGIN}{INDEX}", hashlib.sha256(index).digest(), len(index)) if indexed else None
    release.write_bytes(record.encode())
    (folder / "release.index").write_bytes(named.encode() if named else b"")
    return release


def _read(release: Path) -> tuple[UpdateRecord, IndexPayload | None]:
    index = release.with_name("release.index").read_bytes()
    return UpdateRecord.parse(release.read_bytes()), IndexPayload.parse(index) if index else None


def install_apart(device: Device, release: Path, base: str) -> subprocess.Popen[str]:
    """`Device.install` in a process of its own; it prints its memory, in KiB, before and at most."""
    sources = ":".join(str(Path(str(package.__file__)).parents[1]) for package in (medvouch, medvouch_sim))
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        sys.executable,
        "-m",
        __name__,
        *map(str, (device.folder, release, base)),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": sources})


def _memory(field: str) -> int:
    """KiB of this process; proc(5)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def main(folder: str, release: str, base: str) -> None:
    """What `install_apart` starts."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here on
    before = _memory("VmRSS")
    Device(Path(folder)).install(Path(release), base)
    print(json.dumps({"before": before, "peak": _memory("VmHWM")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
