"""What a virtual firmware does at its start with what the system left for it: capsules, and changed variables.

A real firmware takes a change of a variable while the system writes it; this one cannot answer the write, and takes it
at its next start: where it is not signed by a key of KEK, or not later than the last one, what was before stays.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from medvouch.errors import InputError
from medvouch.formats.secure_boot import APPEND, APPENDING, DATABASES, REPLACING, SignedUpdate
from medvouch.formats.uefi import GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE
from medvouch_sim.capsules import FILE_CAPSULES, FIRMWARE_CLASS, REFUSED, SUCCESS, open_capsule
from medvouch_sim.secure_boot import signed_by

if TYPE_CHECKING:
    from medvouch_sim.firmware import Machine

_ATTRIBUTES = struct.Struct("<I")
_INDICATIONS = struct.Struct("<IQ")
_CAPSULE_ON_DISK = Path("EFI/UpdateCapsule")
FIRST_VERSION = 100
"""Of the firmware that machines are delivered with, as the resource table has it."""


def deliver(machine: Machine) -> None:
    """Variables as the system sees them, and the resource table, of a new machine."""
    machine.efivars.mkdir(parents=True)
    for name in DATABASES:
        _publish(machine, name)
    (machine.efivars / f"SecureBoot-{GLOBAL_VARIABLE}").write_bytes(
        _ATTRIBUTES.pack(6) + machine.variable("SecureBoot")
    )
    for name, value in (("OsIndicationsSupported", FILE_CAPSULES), ("OsIndications", 0)):
        (machine.efivars / f"{name}-{GLOBAL_VARIABLE}").write_bytes(_INDICATIONS.pack(7, value))
    (machine.sysfs / "efi" / "fw_platform_size").write_text("64\n")
    machine.resource.mkdir(parents=True)
    for name, text in {"fw_class": str(FIRMWARE_CLASS), "fw_type": "1", "capsule_flags": "0x0",
                       "lowest_supported_fw_version": "1"}.items():  # fmt: skip
        (machine.resource / name).write_text(f"{text}\n")
    _attempted(machine, FIRST_VERSION, SUCCESS)


def take(machine: Machine) -> None:
    """All that waits, first capsules."""
    if _capsules_wait(machine):
        for path in sorted((machine.esp / _CAPSULE_ON_DISK).glob("*.cap")):
            _flash(machine, path.read_bytes())
            path.unlink()
        (machine.efivars / f"OsIndications-{GLOBAL_VARIABLE}").write_bytes(_INDICATIONS.pack(7, 0))
    for name in DATABASES:
        _change(machine, name)


def _capsules_wait(machine: Machine) -> bool:
    _, indications = _INDICATIONS.unpack((machine.efivars / f"OsIndications-{GLOBAL_VARIABLE}").read_bytes())
    return bool(indications & FILE_CAPSULES)


def _flash(machine: Machine, capsule: bytes) -> None:
    found = open_capsule(capsule, machine.variable("KEK"))
    if found is None:
        _attempted(machine, machine.firmware_version, REFUSED)
        return
    version, files = found
    for name, data in files.items():
        (machine.firmware / name).write_bytes(data)
    _attempted(machine, version, SUCCESS)


def _attempted(machine: Machine, version: int, status: int) -> None:
    for name, number in (("fw_version", version), ("last_attempt_version", version), ("last_attempt_status", status)):
        (machine.resource / name).write_text(f"{number}\n")


def _change(machine: Machine, name: str) -> None:
    left = _variable_file(machine, name).read_bytes()
    if left != _ATTRIBUTES.pack(REPLACING) + machine.variable(name):
        with suppress(InputError, struct.error):
            (attributes,) = _ATTRIBUTES.unpack_from(left)
            _taken(machine, name, attributes, SignedUpdate.parse(left[_ATTRIBUTES.size :]))
        _publish(machine, name)


def _taken(machine: Machine, name: str, attributes: int, update: SignedUpdate) -> None:
    memory = machine.nvram / f"{name}.time"
    last = memory.read_text() if memory.exists() else ""
    late_enough = attributes & APPEND or not last or update.time > datetime.fromisoformat(last)
    covered = update.covered(name, attributes)
    if attributes not in (REPLACING, APPENDING) or not late_enough:
        return
    if not signed_by(update.signature, covered, machine.variable("KEK")):
        return
    (machine.nvram / f"{name}.var").write_bytes(update.applied(machine.variable(name), attributes))
    memory.write_text(max(last, update.time.isoformat()))


def _publish(machine: Machine, name: str) -> None:
    _variable_file(machine, name).write_bytes(_ATTRIBUTES.pack(REPLACING) + machine.variable(name))


def _variable_file(machine: Machine, name: str) -> Path:
    return machine.efivars / f"{name}-{IMAGE_SECURITY_DATABASE}"
