"""The boot loader on the EFI system partition: whatever a crash leaves there, one boot entry starts a whole loader."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from medvouch.adapters import boot_loader
from medvouch.adapters.boot_loader import BootLoader
from medvouch.errors import InputError, StorageFault
from medvouch.formats.algorithms import HashAlg
from medvouch_sim.firmware import Machine, measure
from medvouch_sim.fixtures import loader
from medvouch_sim.uki import authenticode

FIRST, OLD, NEW = (loader(version) for version in ("256", "257", "258"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.create(tmp_path / "disk", loader=OLD)


def of(machine: Machine) -> BootLoader:
    return BootLoader(machine.loader, machine.previous_loader)


def booted(machine: Machine) -> bytes:
    """The loader that a start of the machine measures."""
    digests = {event.digests[HashAlg.SHA256] for event in measure(machine).logs.uefi.events if event.pcr == 4}
    return next(each for each in (FIRST, OLD, NEW) if authenticode(each, HashAlg.SHA256) in digests)


def held(machine: Machine) -> bytes:
    return b"".join(of(machine).read())


def test_the_one_before_is_kept(machine: Machine) -> None:
    part = of(machine)
    part.store([NEW[:100], NEW[100:]])
    assert (held(machine), machine.previous_loader.read_bytes(), booted(machine)) == (NEW, OLD, NEW)
    part.store([NEW])
    assert machine.previous_loader.read_bytes() == OLD
    part.store([FIRST])
    assert (held(machine), machine.previous_loader.read_bytes()) == (FIRST, NEW)


def test_what_is_no_program_changes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="pe-malformed"):
        of(machine).store([b"no program at all".ljust(200)])
    monkeypatch.setattr(boot_loader, "MAX_LOADER_BYTES", len(NEW) - 1)
    with pytest.raises(StorageFault, match="component-too-large"):
        of(machine).store([NEW])
    assert (booted(machine), machine.previous_loader.exists()) == (OLD, False)


def test_a_system_partition_that_is_not_mounted(machine: Machine) -> None:
    """What would be written below its mount point is nothing that a firmware starts."""
    shutil.rmtree(machine.loader.parent)
    for call in (of(machine).store, of(machine).check):
        with pytest.raises(StorageFault, match="esp-missing"):
            call([NEW])
    assert not machine.loader.parent.exists()


def test_checked_and_not_written(machine: Machine) -> None:
    assert of(machine).check([NEW[:100], NEW[100:]]) == NEW
    with pytest.raises(InputError, match="pe-malformed"):
        of(machine).check([b"no program at all".ljust(200)])
    assert (booted(machine), machine.previous_loader.exists()) == (OLD, False)


def test_a_damaged_loader_is_not_kept_in_place_of_a_good_one(machine: Machine) -> None:
    of(machine).store([NEW])
    machine.loader.write_bytes(NEW[:-600])
    of(machine).store([FIRST])
    assert (booted(machine), machine.previous_loader.read_bytes()) == (FIRST, OLD)


def test_a_first_loader(machine: Machine) -> None:
    machine.loader.unlink()
    assert held(machine) == b""
    of(machine).store([NEW])
    assert (booted(machine), machine.previous_loader.exists()) == (NEW, False)


# --- crashes ---------------------------------------------------------------------------------------------------------


class Cut(Exception):
    """The power."""


def crash_states(machine: Machine, folder: Path) -> Iterator[Machine]:
    """The disks that a power cut may leave on FAT: around each rename, and within it, when the name that is replaced is
    gone and the new one is not there yet. What was fsynced is there; a file beside may have come to its half.
    """
    for number in range(4):
        for state in ("before", "half", "within", "after"):
            copy = Machine(folder / f"{number}-{state}")
            shutil.copytree(machine.directory, copy.directory)
            try:
                with _cut(number, state):
                    of(copy).store([NEW])
            except Cut:
                yield copy


class _cut:  # noqa: N801 - as a context manager is called
    """The power goes at the rename of this number."""

    def __init__(self, number: int, state: str) -> None:
        self._left, self._state = number, state
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> None:
        replaced = Path.replace

        def replace(source: Path, target: Path) -> Path:
            if self._left:
                self._left -= 1
                return replaced(source, target)
            match self._state:
                case "half":
                    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
                case "within":
                    target.unlink(missing_ok=True)
                case "after":
                    replaced(source, target)
            raise Cut

        self._patch.setattr(Path, "replace", replace)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


@pytest.mark.parametrize("before", [None, FIRST])
def test_wherever_the_power_goes_something_whole_starts(machine: Machine, tmp_path: Path, before: bytes | None) -> None:
    if before:
        machine.previous_loader.write_bytes(before)
    count = 0
    for state in crash_states(machine, tmp_path):
        count += 1
        assert booted(state) in (OLD, NEW)
        of(state).store([NEW])
        assert (booted(state), state.previous_loader.read_bytes()) == (NEW, OLD)
    assert count == 8
