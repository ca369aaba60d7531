"""Releases for parts of which there is one, predicted and published; and a gateway that has a boot loader."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from medvouch.formats.algorithms import HashAlg
from medvouch.formats.pe import authenticode
from medvouch.formats.reference import ReferenceValues
from medvouch.formats.secure_boot import APPENDING
from medvouch.formats.suit_report import CommandRecord, SuitReport
from medvouch.formats.uefi import IMAGE_SECURITY_DATABASE
from medvouch_sim.firmware import Machine
from medvouch_sim.fixtures import loader
from medvouch_sim.gateway import MODEL
from medvouch_sim.prediction import predict, sign_reference
from medvouch_sim.publisher import PartsRelease
from medvouch_sim.secure_boot import forbidding, signed_update
from support.sites import signer
from support.updating import Updatable, updatable

OLD_LOADER, NEW_LOADER = loader("257"), loader("258")
SIGNED_AT = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
DBX = "secure-boot-dbx/append"


def hash_of(image: bytes) -> bytes:
    return authenticode(image, HashAlg.SHA256)


def forbids(*images: bytes) -> bytes:
    """A change of dbx, signed by KEK's key."""
    return signed_update("dbx", APPENDING, SIGNED_AT, [forbidding(*map(hash_of, images))])


def left(name: str, attributes: int, data: bytes) -> Callable[[Machine], None]:
    """As a change of a variable lies there until the next start."""

    def change(machine: Machine) -> None:
        path = machine.efivars / f"{name}-{IMAGE_SECURITY_DATABASE}"
        path.write_bytes(attributes.to_bytes(4, "little") + data)

    return change


def signed(values: ReferenceValues) -> bytes:
    return sign_reference(values, signer("release"), signer("release-2"))


def reference(version: str, loader: bytes = OLD_LOADER) -> bytes:
    """Signed reference values of a release of the fixtures on a machine with this loader."""
    return signed(predict(MODEL, version, loader=loader))


def signed_by_one(version: str, loader: bytes) -> bytes:
    """The same with fewer signatures than it takes."""
    return sign_reference(predict(MODEL, version, loader=loader), signer("release"))


@functools.cache
def base() -> bytes:
    """Reference values of a machine as it is delivered, with a boot loader."""
    return reference("1.0.0")


def release(
    parts: Mapping[str, bytes],
    *,
    loader: bytes = OLD_LOADER,
    change: Callable[[Machine], None] | None = None,
    sequence: int = 2,
    system: str = "1.0.0",
) -> PartsRelease:
    """One whose reference values are those of a machine with this loader and system, after that change."""
    version = f"{system}.{sequence}"
    values = replace(predict(MODEL, system, loader=loader, change=change), release=version)
    return PartsRelease(version, sequence, values.security_epoch, parts, signed(values))


def commands(report: SuitReport) -> list[tuple[int, int]]:
    """Section and component of each command that it has a record of."""
    return [(each.section, each.component) for each in report.records if isinstance(each, CommandRecord)]


@asynccontextmanager
async def gateway_with_loader(
    directory: Path, references: Sequence[bytes], settings: str = ""
) -> AsyncIterator[Updatable]:
    """The collector knows the reference values of what it is delivered with, and these; `settings`: of `[update]`."""
    every = [base(), *references]
    async with updatable(directory, references=every, loader=OLD_LOADER, settings=settings) as scene:
        yield scene


async def directed(scene: Updatable, to: PartsRelease) -> int:
    """Publish it, direct the gateway to it and have it look; the mark before."""
    mark = scene.mark
    scene.publisher.publish_parts(to)
    scene.publisher.direct(scene.gateway.entry.ek_hash, to)
    await scene.look()
    return mark


async def activated(scene: Updatable, to: PartsRelease) -> int:
    mark = await directed(scene, to)
    await scene.update("activated", since=mark)
    return mark


async def closed(scene: Updatable, mark: int) -> None:
    """Restarted, self-checked, and confirmed by the appraiser under predicted values."""
    await scene.gateway.reboot()
    await scene.update("self_checked", since=mark)
    outcome = await scene.collector.challenger.challenge(scene.device)
    assert outcome.error is None
    await scene.update("closed", since=mark)
