"""Figures of updates: how long an image takes, what memory, how many bytes over the wire, and how soon a no comes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.crypto.cose import sign1
from medvouch.crypto.keys import SoftwareSigner, key_thumbprint
from medvouch.errors import EnvironmentFault, InputError, Refusal
from medvouch.formats.cose import KID, Header
from medvouch.formats.suit import MAX_SIGNATURES, Envelope
from medvouch.release.manifests import build_manifest, integrated, sign_envelope
from medvouch.update.payload import Payload
from medvouch.update.processor import REFERENCE, SLOT, DeviceClass, plan
from medvouch.update.signatures import MAX_WORK
from medvouch.update.verification import RoleKeys, verify_envelope
from medvouch_sim.bench import rauc
from medvouch_sim.bench.device import IMAGE, Device, install_apart, publish
from medvouch_sim.bench.figures import DELTA, INSTALL, OTA_MEMORY, RAUC, REFUSE, RESUME, Effort, Figure
from medvouch_sim.bench.relay import Relay
from medvouch_sim.publisher import signer
from medvouch_sim.repository_server import RepositoryServer

MIB = 1 << 20
BLOCK = 4096
CHANGED = 100
"""One block of so many is another in the new image."""
SEED = 6
SMALL_RUNS = 5
WAIT_S = 300.0


def measure(names: Sequence[str], effort: Effort, say: Callable[[str], None]) -> list[Figure]:
    """The figures of these names, in the order of OTA; nothing is left on the disk."""
    measures = {
        INSTALL: _install,
        OTA_MEMORY: _memory,
        DELTA: _delta,
        RESUME: _resume,
        REFUSE: _refuse,
        RAUC: _rauc,
    }
    figures = []
    for name, take in measures.items():
        if name in names:
            with tempfile.TemporaryDirectory(prefix="medvouch-bench-", dir=_large()) as folder:
                figures.append(take(Path(folder), effort, say))
    return figures


def _large() -> str | None:
    """Where gigabytes may lie: /tmp is memory on many systems. None: where the environment says."""
    return None if "TMPDIR" in os.environ else "/var/tmp"  # noqa: S108 - a folder of our own is made in it


def _noise(mib: int, seed: int = SEED) -> Iterator[bytes]:
    source = random.Random(seed)  # noqa: S311 - the same image every time
    for _ in range(mib):
        yield source.randbytes(MIB)


def _write(path: Path, chunks: Iterator[bytes]) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)


# --- time -------------------------------------------------------------------------------------------------------------


def _install(folder: Path, effort: Effort, say: Callable[[str], None]) -> Figure:
    """From a folder, so that neither has a network to wait for."""
    say(f"{INSTALL}: {effort.install_mib} MiB, {effort.installs} times")
    _write(folder / IMAGE, _noise(effort.install_mib))
    release = publish(folder, indexed=False)
    device = Device.create(folder / "device", iter([b"old"]), effort.install_mib * MIB)
    pairs = []
    for _ in range(effort.installs):
        device.forget()
        os.sync()
        least = _bare(folder / IMAGE, folder / "bare.img")
        os.sync()
        started = time.perf_counter()
        device.install(release, f"file://{folder}")
        pairs.append((time.perf_counter() - started, least))
    return Figure.of_pairs(INSTALL, pairs, "dd conv=fsync, then dd iflag=direct | openssl dgst -sha256")


def _bare(image: Path, slot: Path) -> float:
    started = time.perf_counter()
    _run(f"dd if={image} of={slot} bs=1M conv=fsync status=none && "
         f"dd if={slot} bs=1M iflag=direct status=none | openssl dgst -sha256")  # fmt: skip
    took = time.perf_counter() - started
    slot.unlink()
    return took


def _run(line: str) -> None:
    subprocess.run(["bash", "-o", "pipefail", "-ec", line], check=True, stdout=subprocess.DEVNULL)


def _rauc(folder: Path, effort: Effort, say: Callable[[str], None]) -> Figure:
    say(f"{RAUC}: {effort.rauc_mib} MiB, {effort.raucs} times")
    _write(folder / IMAGE, _noise(effort.rauc_mib))
    release = publish(folder, indexed=False)
    device = Device.create(folder / "device", iter([b"old"]), effort.rauc_mib * MIB)
    pairs = []
    with rauc.service(folder / "rauc", folder / IMAGE) as install:
        for _ in range(effort.raucs):
            device.forget()
            os.sync()
            started = time.perf_counter()
            device.install(release, f"file://{folder}")
            ours = time.perf_counter() - started
            os.sync()
            pairs.append((ours, install()))
    return Figure.of_pairs(RAUC, pairs, f"{rauc.version()} install: plain bundle, raw slot, session bus")


# --- memory -----------------------------------------------------------------------------------------------------------


def _memory(folder: Path, effort: Effort, say: Callable[[str], None]) -> Figure:
    """Of images of zeros, which take no room on the server, and all of it in the slot.

    How many chunks wait between two threads at most is chance, which a small image has less often: the most of several.
    """
    few, many = effort.memory_mib
    small = max(_extra_mib(folder / str(few), few, say) for _ in range(SMALL_RUNS))
    large = _extra_mib(folder / str(many), many, say)
    described = "an image of {} MiB, where it is one of {}".format(*effort.memory_mib)
    return Figure(OTA_MEMORY, large, "MiB", described, small, round(large / small, 3))


def _extra_mib(folder: Path, mib: int, say: Callable[[str], None]) -> float:
    say(f"{OTA_MEMORY}: {mib} MiB over HTTP")
    (folder / "served").mkdir(parents=True)
    with (folder / "served" / IMAGE).open("wb") as file:
        file.truncate(mib * MIB)
    release = publish(folder / "served", indexed=False)
    device = Device.create(folder / "device", iter([b"old"]), mib * MIB)
    with RepositoryServer(folder / "served") as server, install_apart(device, release, server.url) as process:
        said, _ = process.communicate()
    if process.returncode:
        raise EnvironmentFault("bench-failed", f"installing {mib} MiB did", remedy="look at what it said above")
    shutil.rmtree(folder)
    kib = json.loads(said)
    extra: float = kib["peak"] - kib["before"]
    return round(extra / 1024, 2)


# --- bytes ------------------------------------------------------------------------------------------------------------


def _delta(folder: Path, effort: Effort, say: Callable[[str], None]) -> Figure:
    say(f"{DELTA}: {effort.delta_mib} MiB, one block of {CHANGED} another")
    served = folder / "served"
    served.mkdir()
    device = Device.create(folder / "device", _noise(effort.delta_mib), effort.delta_mib * MIB)
    _write(served / IMAGE, _altered(effort.delta_mib))
    release = publish(served, indexed=True)
    with RepositoryServer(served) as server, Relay(server.port) as wire:
        device.install(release, f"http://127.0.0.1:{wire.port}")
    wired = wire.to_client + wire.to_server
    size = effort.delta_mib * MIB
    return Figure(DELTA, wired, "bytes", "the image", size, round(wired / size, 5))


def _altered(mib: int) -> Iterator[bytes]:
    """The same image with one block of CHANGED another, at random."""
    count = mib * MIB // BLOCK
    others = set(random.Random(SEED).sample(range(count), max(count // CHANGED, 1)))  # noqa: S311 - likewise
    fresh = random.Random(SEED + 1)  # noqa: S311 - likewise
    for number, chunk in enumerate(_noise(mib)):
        first = number * MIB // BLOCK
        blocks = (chunk[at : at + BLOCK] for at in range(0, MIB, BLOCK))
        yield b"".join(fresh.randbytes(BLOCK) if first + at in others else each for at, each in enumerate(blocks))


def _resume(folder: Path, effort: Effort, say: Callable[[str], None]) -> Figure:
    """A process that installs is killed half way through, as fast as it can; another goes on."""
    say(f"{RESUME}: {effort.resume_mib} MiB, killed at half of it")
    served = folder / "served"
    served.mkdir()
    _write(served / IMAGE, _noise(effort.resume_mib))
    release = publish(served, indexed=True)
    device = Device.create(folder / "device", iter([b"old"]), effort.resume_mib * MIB)
    with RepositoryServer(served) as server, Relay(server.port) as wire:
        base = f"http://127.0.0.1:{wire.port}"
        with install_apart(device, release, base) as process:
            _until_written(device, effort.resume_mib * MIB // 2, process)
            process.kill()
        device.install(release, base)
    wired = wire.to_client
    needed = sum((served / name).stat().st_size for name in (IMAGE, f"{IMAGE}.blocks"))
    return Figure(RESUME, wired - needed, "bytes")


def _until_written(device: Device, size: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + WAIT_S
    while device.slots.extent("b") < size:
        if process.poll() is not None or time.monotonic() > deadline:
            raise EnvironmentFault("bench-failed", "it was through before it was killed", remedy="try again")
        time.sleep(0.001)


# --- no ---------------------------------------------------------------------------------------------------------------


def _refuse(folder: Path, effort: Effort, say: Callable[[str], None]) -> Figure:  # noqa: ARG001 - it needs no disk
    """The slowest of several: a flipped bit, signatures too few, of strangers and of many, another class of devices."""
    say(f"{REFUSE}: {effort.refusals} times")
    ours = DeviceClass.named("devices.example", "gateway-1")
    makers, quality = [signer("release"), signer("release-2")], [signer("quality")]
    roles = RoleKeys([each.public_key for each in makers], 2), RoleKeys([each.public_key for each in quality])

    def envelope(device: DeviceClass, *, by: Sequence[str] = ("release", "release-2")) -> bytes:
        contents = {REFERENCE: bytes(8192)}
        image = Payload(SLOT, "https://updates.example/x.img", hashlib.sha256(b"x").digest(), 1 << 30)
        manifest = build_manifest(
            sequence=7, version="2.0.0", security_epoch=1, device=device, image=image, contents=contents
        )
        return sign_envelope(manifest, [signer(role) for role in by], quality, integrated(contents))

    flipped = bytearray(envelope(ours))
    flipped[len(flipped) // 2] ^= 1
    bad = {
        "a flipped bit": bytes(flipped),
        "a signature too few": envelope(ours, by=["release"]),
        "a stranger's signature": envelope(ours, by=["release", "director"]),
        "another class": envelope(DeviceClass.named("devices.example", "other")),
    }
    cases = {what: (data, roles) for what, data in bad.items()} | dict(_crowds(Envelope.parse(envelope(ours))))
    took = {what: median(_refusal(*case, ours) for _ in range(effort.refusals)) for what, case in cases.items()}
    slowest = max(took, key=lambda what: took[what])
    return Figure(REFUSE, round(took[slowest] * 1e3, 3), "ms", f"the slowest of {len(cases)}: {slowest}")


_Roles = tuple[RoleKeys, RoleKeys]
_CROWDS = (
    (ec.SECP256R1(), 64, MAX_SIGNATURES, False),
    (ec.SECP256R1(), 64, MAX_SIGNATURES, True),
    (ec.SECP256R1(), MAX_WORK, 1, False),
    (ec.SECP256R1(), MAX_WORK // MAX_SIGNATURES, MAX_SIGNATURES, False),
    (ec.SECP384R1(), MAX_WORK // 5, 1, False),
)
"""Curve, keys of both roles, strangers who sign, and whether they name their keys: more work than is done, and the most
that is.
"""


def _crowds(envelope: Envelope) -> Iterator[tuple[str, tuple[bytes, _Roles]]]:
    """What is worst for whoever checks: many signatures of strangers, roles of many keys."""
    for curve, number, strangers, named in _CROWDS:
        keys = [ec.generate_private_key(curve).public_key() for _ in range(number)]
        signers = [SoftwareSigner(ec.generate_private_key(curve)) for _ in range(strangers)]
        kids: list[Header] = [{KID: key_thumbprint(each.public_key)} if named else {} for each in signers]
        pairs = zip(signers, kids, strict=True)
        blocks = tuple(sign1(envelope.signed, each, protected=kid, detached=True) for each, kid in pairs)
        what = f"{strangers} strangers{' with kids' if named else ''}, {number} keys on {curve.name}"
        yield what, (replace(envelope, signatures=blocks).encode(), (RoleKeys(keys[1:]), RoleKeys(keys[:1])))


def _refusal(data: bytes, roles: _Roles, device: DeviceClass) -> float:
    started = time.perf_counter()
    try:
        plan(verify_envelope(data, *roles), device)
    except (Refusal, InputError):
        return time.perf_counter() - started
    raise EnvironmentFault("bench-failed", "a bad manifest was taken", remedy="run the tests")
