"""A gateway's disk, and a virtual firmware that measures it into a TPM as EDK2, systemd-stub, systemd and IMA do.

`measure` says what a boot from a disk measures, without a TPM; `boot` extends exactly that and leaves the logs. The
firmware measures whatever is on the disk truthfully and starts it: Secure Boot is measured, not enforced, so that a
changed image boots and only its measurements tell. The boot record says which slot it boots; the device path that it
measures is the same for both, and so is all that a release measures.

A machine with a boot loader has boot options for it and for the one before it, both on its EFI system partition, and
the loader starts the slot. What the system left for the firmware, capsules and changed variables, is taken before
anything is measured (`firmware_updates`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from medvouch.adapters.files import read_bounded, write_durably
from medvouch.adapters.slots import FileSlots
from medvouch.attestation import prediction
from medvouch.attestation.replay import Logs, Measurement, boot_aggregate, reset_value
from medvouch.errors import InputError, StorageFault
from medvouch.formats import eventlog, ima, systemd, uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.boot_option import ACTIVE, BootOption
from medvouch.formats.eventlog import Event, EventLog, EventType, SpecId
from medvouch.formats.hashing import digest
from medvouch.formats.systemd import Record
from medvouch.ports import Tpm
from medvouch_sim import firmware_updates
from medvouch_sim.fixtures import FIXTURES, device_path
from medvouch_sim.images import MAX_IMAGE_BYTES, Image, build_image, read_image
from medvouch_sim.swtpm import BANKS

PHASES = ("enter-initrd", "leave-initrd", "sysinit", "ready")
FIRST_BOOT_ID = "0" * 32
SLOT_BYTES = 4 << 20
"""The capacity of a slot."""

LOADER_FILE, PREVIOUS_FILE = "EFI/systemd/systemd-bootx64.efi", "EFI/systemd/previous.efi"
"""On the EFI system partition of a machine with a boot loader."""

_CALLING = b"Calling EFI Application from Boot Option"
_RETURNING = b"Returning from EFI Application from Boot Option"
_AGGREGATE_BANK = HashAlg.SHA256
_IMA_PCR = 10
_PHASE_INTERVAL_US = 1_000_000


@dataclass(frozen=True)
class Machine:
    """A gateway's disk: slots/, nvram/*.var, firmware/, sys/, esp/ and logs/ in `directory`."""

    directory: Path

    @classmethod
    def create(cls, directory: Path, release: str = "1.0.0", *, loader: bytes = b"") -> Machine:
        """A new disk as the maker delivers it: that release is in slot a, running and good.

        `loader`: its boot loader, if it has one.
        """
        machine = cls(directory)
        for folder in (machine.nvram, machine.firmware, machine.logs):
            folder.mkdir(parents=True)
        for path in (FIXTURES / "machine").iterdir():
            shutil.copy(path, machine.nvram if path.suffix == ".var" else machine.firmware)
        if loader:
            machine.loader.parent.mkdir(parents=True)
            machine.loader.write_bytes(loader)
            for name, data in loader_options().items():
                (machine.nvram / f"{name}.var").write_bytes(data)
        FileSlots.create(machine.slots.directory, [build_image(release)], SLOT_BYTES)
        firmware_updates.deliver(machine)
        return machine

    def install(self, release: str) -> None:
        """Replace what is in the running slot by a release."""
        write_durably(self.running_image, build_image(release))

    def alter_running_image(self, alter: Callable[[Image], Image]) -> None:
        """Replace what is in the running slot by something made of it."""
        write_durably(self.running_image, alter(self.image).encode())

    @property
    def slots(self) -> FileSlots:
        """The system slots and their boot record."""
        return FileSlots(self.directory / "slots")

    @property
    def running_image(self) -> Path:
        """The image file that this boot came from."""
        return self.slots.path(self.slots.running())

    @property
    def image(self) -> Image:
        """What is in it; raises InputError `image-*`, StorageFault where there is no such file."""
        return read_image(read_bounded(self.running_image, MAX_IMAGE_BYTES))

    @property
    def nvram(self) -> Path:
        """UEFI variables, NAME.var each; one that is missing is empty."""
        return self.directory / "nvram"

    @property
    def firmware(self) -> Path:
        """Firmware volumes (*.bin) and firmware-version.txt."""
        return self.directory / "firmware"

    @property
    def esp(self) -> Path:
        """The EFI system partition."""
        return self.directory / "esp"

    @property
    def loader(self) -> Path:
        """The boot loader on it."""
        return self.esp / LOADER_FILE

    @property
    def previous_loader(self) -> Path:
        """The one before it, where there was one."""
        return self.esp / PREVIOUS_FILE

    @property
    def has_loader(self) -> bool:
        """Whether the firmware starts a boot loader, and not the kernel image itself."""
        return self.variable("Boot0001") != b""

    @property
    def sysfs(self) -> Path:
        """As /sys/firmware has it."""
        return self.directory / "sys"

    @property
    def efivars(self) -> Path:
        """The variables that the system sees and may change."""
        return self.sysfs / "efi" / "efivars"

    @property
    def resource(self) -> Path:
        """The firmware's entry in the resource table (ESRT)."""
        return self.sysfs / "efi" / "esrt" / "entries" / "entry0"

    @property
    def firmware_version(self) -> int:
        """As the resource table has it."""
        return int((self.resource / "fw_version").read_text())

    @property
    def logs(self) -> Path:
        """Where a boot leaves its measurement logs."""
        return self.directory / "logs"

    @property
    def uefi_log(self) -> Path:
        """The firmware's log, as /sys/kernel/security/tpm0 has it."""
        return self.logs / "binary_bios_measurements"

    @property
    def systemd_log(self) -> Path:
        """As /run/log/systemd has it."""
        return self.logs / "tpm2-measure.log"

    @property
    def ima_log(self) -> Path:
        """As /sys/kernel/security/ima has it."""
        return self.logs / "binary_runtime_measurements"

    def variable(self, name: str) -> bytes:
        """Contents of a UEFI variable."""
        path = self.nvram / f"{name}.var"
        return path.read_bytes() if path.exists() else b""


@dataclass(frozen=True)
class Measurements:
    """All that one boot measures, as its logs will say it."""

    logs: Logs
    banks: tuple[HashAlg, ...]

    @property
    def steps(self) -> tuple[Measurement, ...]:
        """Every extend in the order in which it happens; `digests` has all banks."""
        firmware = (Measurement("uefi", e.pcr, e.digests, e) for e in self.logs.uefi.events if e.measured)
        system = (Measurement("systemd", r.pcr, r.digests, r) for r in self.logs.systemd if r.pcr is not None)
        files = (Measurement("ima", e.pcr, _digests(self.banks, e.hashed), e) for e in self.logs.ima)
        return (*firmware, *files, *system)

    def pcrs(self) -> dict[HashAlg, dict[int, bytes]]:
        """What PCRs 0-23 of a TPM hold after this boot, by bank."""
        values = {bank: {pcr: reset_value(bank, pcr) for pcr in range(eventlog.PCR_COUNT)} for bank in self.banks}
        for step in self.steps:
            for bank, measured in step.digests.items():
                values[bank][step.pcr] = digest(bank, values[bank][step.pcr] + measured)
        return values


def measure(machine: Machine, *, banks: tuple[HashAlg, ...] = BANKS, boot_id: str = FIRST_BOOT_ID) -> Measurements:
    """What a boot of the running slot measures; only the text of systemd's log depends on `boot_id` (32 hex digits).

    Raises InputError `image-*` for a slot, `pe-*` for a boot image in it, and `uefi-*` for a db, that could not be
    booted; StorageFault where the slot cannot be read.
    """
    image = machine.image
    log = _FirmwareLog(banks)
    _platform(log, machine)
    _boot_options(log, machine, image.uki)
    _unified_kernel(log, image.uki)
    written = eventlog.parse(EventLog(SpecId(banks), tuple(log.events)).encode())
    records = tuple(_phases(banks, boot_id))
    return Measurements(Logs(written, records, tuple(_files(image, written))), banks)


def boot(machine: Machine, tpm: Tpm, *, boot_id: str = FIRST_BOOT_ID) -> None:
    """Measure the slot whose turn it is into a TPM that was just reset and has the banks BANKS; write the logs.

    Raises as `measure` does where that slot does not boot; an armed attempt is spent then, and the default is next.
    """
    firmware_updates.take(machine)
    machine.slots.start_next()
    measurements = measure(machine, boot_id=boot_id)
    for step in measurements.steps:
        tpm.pcr_extend(step.pcr, step.digests)
    logs = measurements.logs
    machine.uefi_log.write_bytes(logs.uefi.encode())
    machine.systemd_log.write_bytes(systemd.encode(logs.systemd))
    machine.ima_log.write_bytes(ima.encode(logs.ima))


def _digests(banks: tuple[HashAlg, ...], data: bytes) -> dict[HashAlg, bytes]:
    return {bank: digest(bank, data) for bank in banks}


@dataclass
class _FirmwareLog:
    """Collects events; number 0 is the Spec ID event."""

    banks: tuple[HashAlg, ...]
    events: list[Event] = field(default_factory=list)

    def hashed(self, pcr: int, event_type: EventType, data: bytes) -> None:
        """An event whose digest is the hash of its data."""
        self.add(prediction.hashed(self.banks, pcr, event_type, data))

    def add(self, *events: Event) -> None:
        """These, numbered."""
        for event in events:
            self.events.append(event._replace(index=len(self.events) + 1))


def _platform(log: _FirmwareLog, machine: Machine) -> None:
    """PCRs 0, 1 and 7 up to where the firmware hands over to boot options."""
    version = (machine.firmware / "firmware-version.txt").read_text()
    volumes = {path.stem: path.read_bytes() for path in machine.firmware.glob("*.bin")}
    variables = {path.stem: path.read_bytes() for path in machine.nvram.glob("*.var")}
    log.add(*prediction.firmware(version, volumes, variables, log.banks))


def loader_options() -> dict[str, bytes]:
    """The boot options of a machine with a boot loader, in their order."""
    files = (("Boot0000", "medvouch", LOADER_FILE), ("Boot0001", "medvouch before", PREVIOUS_FILE))
    options = {name: BootOption(ACTIVE, words, device_path(file), b"").encode() for name, words, file in files}
    return {"BootOrder": bytes([0, 0, 1, 0]), **options}


def _boot_options(log: _FirmwareLog, machine: Machine, image: bytes) -> None:
    """PCR 4, the separators of PCRs 0-6, with Secure Boot on the authority of what is started in PCR 7, and what that
    is: the first option that leads somewhere, and the kernel image where that is a loader.
    """
    log.hashed(4, EventType.EV_EFI_ACTION, _CALLING)
    for pcr in range(7):
        log.hashed(pcr, EventType.EV_SEPARATOR, prediction.NORMAL_SEPARATOR)
    started = _started(log, machine, image)
    _authority(log, machine)
    log.add(*started)


def _started(log: _FirmwareLog, machine: Machine, image: bytes) -> list[Event]:
    kernel = prediction.application(image, device_path(), log.banks)
    if not machine.has_loader:
        return [kernel]
    for path, file in ((machine.loader, LOADER_FILE), (machine.previous_loader, PREVIOUS_FILE)):
        with suppress(StorageFault, InputError):
            loader = read_bounded(path, MAX_IMAGE_BYTES)
            return [prediction.application(loader, device_path(file), log.banks), kernel]
        log.hashed(4, EventType.EV_EFI_ACTION, _RETURNING)
        log.hashed(4, EventType.EV_EFI_ACTION, _CALLING)
    raise StorageFault("no-boot-loader", f"neither {LOADER_FILE} nor {PREVIOUS_FILE} starts", remedy="install anew")


def _authority(log: _FirmwareLog, machine: Machine) -> None:
    if machine.variable("SecureBoot") == b"\1":
        for owner, certificate in _first_signature(machine.variable("db")):
            authority = uefi.Variable(uefi.IMAGE_SECURITY_DATABASE, "db", owner.bytes_le + certificate)
            log.hashed(7, EventType.EV_EFI_VARIABLE_AUTHORITY, authority.encode())


def _first_signature(database: bytes) -> tuple[tuple[UUID, bytes], ...]:
    """The entry that verifies images here: the first, or none."""
    return tuple(entry for each in uefi.parse_signature_lists(database) for entry in each.signatures)[:1]


def _unified_kernel(log: _FirmwareLog, image: bytes) -> None:
    """The kernel image runs; leaving the firmware: PCR 5."""
    log.add(*prediction.unified_kernel(image, log.banks))
    for action in (b"Exit Boot Services Invocation", b"Exit Boot Services Returned with Success"):
        log.hashed(5, EventType.EV_EFI_ACTION, action)


def _phases(banks: tuple[HashAlg, ...], boot_id: str) -> Iterator[Record]:
    for index, phase in enumerate(PHASES):
        timestamp = (index + 1) * _PHASE_INTERVAL_US
        content = {"string": phase, "bootId": boot_id, "timestamp": timestamp, "eventType": systemd.PHASE}
        yield Record(index, _digests(banks, phase.encode()), pcr=11, content=content)


def _files(image: Image, log: EventLog) -> Iterator[ima.Entry]:
    label = _AGGREGATE_BANK.label
    aggregate = boot_aggregate(log, label)
    if aggregate is None:
        raise ValueError(f"no {label} bank is measured")
    measured = {ima.BOOT_AGGREGATE: aggregate}
    for path, contents in sorted(image.files.items()):
        measured[f"/{path}"] = digest(_AGGREGATE_BANK, contents)
    for index, (name, value) in enumerate(measured.items()):
        yield ima.make(index, _IMA_PCR, "ima-ng", (label.encode() + b":\0" + value, name.encode() + b"\0"))
