"""What is done to gateways on the test stand: reference values predicted, disks altered, boots judged."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medvouch.adapters.files import write_durably
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.collector.challenging import Outcome
from medvouch.collector.collector import Collector
from medvouch.errors import MedvouchError, NetworkFault
from medvouch.formats import eventlog
from medvouch.formats.eventlog import EventLog
from medvouch_sim.fixtures import SECURITY_EPOCHS
from medvouch_sim.machine.building import LOADER_CONF, Release, Workshop, copy_into, kernel_name, write_table
from medvouch_sim.machine.host import Host
from medvouch_sim.machine.layout import Disk, lay_out
from medvouch_sim.machine.measured_files import measured_files
from medvouch_sim.machine.prediction import Installed, predict
from medvouch_sim.machine.stand import MODEL, Gateway, Stand, attest, timed
from medvouch_sim.machine.vm import HARDWARE
from medvouch_sim.prediction import sign_reference
from medvouch_sim.site import release_signers

VICTIM = "usr/lib/systemd/systemd"
"""The first program of the root that runs: one of its blocks is altered."""
_EXTENT = re.compile(r"^\s*\d+:.*:\s*(\d+)\.\.\s*\d+\s*\|", re.MULTILINE)
"""A line of dump.erofs: number, logical range, its size, physical range, its size."""
_BLOCK = 4096


async def baseline(host: Host, source: Path, disk: Disk) -> EventLog:
    """The firmware's log of another machine of the model, recorded at its first boot and kept, whatever its verdict."""
    path = _baseline_path(host)
    if not path.exists():
        stand = Stand(host, host.work / "golden")
        golden = stand.gateway("golden", source, disk)
        async with stand.open([golden]) as collector:
            outcome = await attest(collector, golden)
        write_durably(path, UnverifiedEvidence.parse(outcome.evidence).uefi)
    return eventlog.parse(path.read_bytes())


def _baseline_path(host: Host) -> Path:
    """One for each firmware and each kind of machine, beside the host: it outlives what is made there."""
    made_of = json.dumps([host.versions(), HARDWARE]).encode()
    return host.directory.parent / f"baseline-{hashlib.sha256(made_of).hexdigest()[:12]}.log"


def reference(workshop: Workshop, release: Release, disk: Disk, recorded: EventLog) -> bytes:
    """Signed reference values of a release on a disk."""
    installed = Installed(
        model=MODEL,
        release=release.version,
        security_epoch=SECURITY_EPOCHS[release.version],
        loader=workshop.loader.read_bytes(),
        loader_conf=LOADER_CONF,
        kernel=release.kernel.read_bytes(),
        partition_table=disk.measured(),
        files=measured_files(workshop.tree),
    )
    return sign_reference(predict(installed, recorded), *release_signers())


def install_on_esp(workshop: Workshop, gateway: Gateway, files: Mapping[str, Path]) -> None:
    """Make the ESP anew, with these files beside the boot loader."""
    esp = gateway.vm.directory / "esp.img"
    workshop.write_esp(esp, gateway.disk["esp"].size, files)
    with gateway.vm.disk.open("r+b") as disk:
        disk.seek(gateway.disk["esp"].offset)
        disk.write(esp.read_bytes())
    esp.unlink()


def update(workshop: Workshop, gateway: Gateway, releases: Sequence[Release]) -> None:
    """Install the second release in slot b beside the first, as an installer does: root, tree, names, kernel image."""
    disk = lay_out([release.root_hash for release in releases])
    copy_into(gateway.vm.disk, disk, "root-b", releases[1].root)
    copy_into(gateway.vm.disk, disk, "verity-b", releases[1].tree)
    write_table(gateway.vm.disk, disk)
    install_on_esp(workshop, gateway, {kernel_name(release): release.kernel for release in releases})


def alter_block(host: Host, gateway: Gateway, release: Release) -> int:
    """Flip one bit of a block that holds a piece of VICTIM; the block's number within the root."""
    said = host.run("dump.erofs", f"--path=/{VICTIM}", "-e", release.root)
    found = _EXTENT.search(said)
    if found is None:
        raise NetworkFault("extent-unknown", f"dump.erofs names no extent of /{VICTIM}")
    offset = int(found[1])
    with gateway.vm.disk.open("r+b") as disk:
        disk.seek(gateway.disk["root-a"].offset + offset)
        (byte,) = disk.read(1)
        disk.seek(-1, 1)
        disk.write(bytes([byte ^ 1]))
    return offset // _BLOCK


@dataclass(frozen=True)
class Expected:
    """What must come out of a boot: the code of the refusal (None: affirming), how its place begins, what it names."""

    code: str | None
    place: str = ""
    names: str = ""


@dataclass(frozen=True)
class Verdict:
    """What came out of a boot; `outcome` None where no evidence came."""

    what: str
    expected: Expected
    outcome: Outcome | None
    error: MedvouchError | None

    @property
    def failure(self) -> str | None:
        """What differs from what was expected, or None."""
        wanted, error = self.expected, self.error
        code, place, detail = (error.code, error.place, error.detail) if error else (None, "", "")
        if code == wanted.code and place.startswith(wanted.place) and wanted.names in detail:
            return None
        words = " ".join(filter(None, (wanted.code or "affirming", wanted.place, wanted.names)))
        return f"{self.what}: expected {words}, found {code or 'affirming'} {place} {detail}".strip()


async def judge(collector: Collector, gateway: Gateway, what: str, expected: Expected) -> Verdict:
    """Boot, challenge, and say what came of it."""
    outcome: Outcome | None = None
    error: MedvouchError | None = None
    with timed(what):
        try:
            outcome = await attest(collector, gateway)
            error = outcome.error
        except NetworkFault as fault:
            error = fault
    print(f"  {error.code} ({error.place}): {error.detail}" if error else "  affirming", flush=True)
    return Verdict(what, expected, outcome, error)
