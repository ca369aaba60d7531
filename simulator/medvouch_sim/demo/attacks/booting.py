"""Attacks on what a gateway boots: its disk, its logs and its TPM."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from medvouch.adapters.tss import TssTpm
from medvouch.formats.algorithms import HashAlg
from medvouch_sim import uki
from medvouch_sim.demo.attacks.base import Attack, Provoke
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway

GIGABYTE = 1 << 30
FREE_PCR = 13
"""A static PCR that nothing in the boot chain uses."""


async def modified_kernel(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """One byte of the kernel inside the boot image."""
    async with _another_kernel(gateway):
        yield lambda: stage.collector.challenger.challenge(gateway.device)


async def edited_log(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The same, and the log says that the good image was started."""
    honest = gateway.machine.uefi_log.read_bytes()
    async with _another_kernel(gateway):
        gateway.machine.uefi_log.write_bytes(honest)
        yield lambda: stage.collector.challenger.challenge(gateway.device)


@asynccontextmanager
async def _another_kernel(gateway: Gateway) -> AsyncIterator[None]:
    """Booted with one byte of .linux changed inside; with the original after."""
    machine = gateway.machine
    original = machine.image
    at = original.uki.index(dict(uki.sections(original.uki))[".linux"])
    other = original.uki[:at] + bytes([original.uki[at] ^ 1]) + original.uki[at + 1 :]
    await gateway.shut_down()
    machine.alter_running_image(lambda image: replace(image, uki=other))
    await gateway.boot()
    yield
    await gateway.shut_down()
    machine.alter_running_image(lambda _: original)
    await gateway.boot()


async def truncated_log(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The log ends in the middle of its last event."""
    log = gateway.machine.uefi_log
    honest = log.read_bytes()
    log.write_bytes(honest[:-3])
    yield lambda: stage.collector.challenger.challenge(gateway.device)
    log.write_bytes(honest)


async def gigabyte_log(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The log is a gigabyte long (a sparse file)."""
    log = gateway.machine.uefi_log
    honest = log.read_bytes()
    os.truncate(log, GIGABYTE)
    yield lambda: stage.collector.challenger.challenge(gateway.device)
    log.write_bytes(honest)


async def restored_tpm(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The TPM's own state, put back to what it was some boots ago."""
    state = gateway.tpm.state_dir
    old, present = state.with_name("tpm-old"), state.with_name("tpm-present")
    await gateway.shut_down()
    shutil.copytree(state, old)
    for _ in range(2):
        await gateway.boot()
        await gateway.shut_down()
    await gateway.boot()
    await stage.challenge(gateway, "before the TPM is restored")
    await gateway.shut_down()
    shutil.copytree(state, present)
    _replace_folder(state, old)
    mark = stage.mark
    await gateway.boot()
    await stage.observer.first(lambda heard: heard.code == "tpm-behind-ledger", since=mark)  # it notices by itself, too
    yield lambda: stage.collector.challenger.challenge(gateway.device)
    await gateway.shut_down()
    _replace_folder(state, present)
    await gateway.boot()


def _replace_folder(target: Path, source: Path) -> None:
    shutil.rmtree(target)
    source.rename(target)


async def extended_pcr(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """Something extends a PCR and writes no log."""
    with TssTpm(gateway.tpm.tcti()) as tpm:
        tpm.pcr_extend(FREE_PCR, {HashAlg.SHA256: bytes(range(32))})
    yield lambda: stage.collector.challenger.challenge(gateway.device)
    await gateway.reboot()


BOOT_ATTACKS: Sequence[Attack] = (
    Attack("modified kernel", "event-unexpected", modified_kernel),
    Attack("event log edited to hide it", "pcr-mismatch", edited_log),
    Attack("non-reset PCR without events", "pcr-unexplained", extended_pcr),
    Attack("truncated log", "eventlog-truncated", truncated_log),
    Attack("log of a gigabyte", "eventlog-too-large", gigabyte_log),
)
RESTORED_TPM = Attack("resetCount going back", "tpm-cleared", restored_tpm)
