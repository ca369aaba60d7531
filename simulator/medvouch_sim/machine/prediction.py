"""What a boot of the gateway image measures, computed from what is on its disk before it ever booted.

The release brings PCR 4 (boot loader and kernel image), 9 (command line and initrd as Linux' EFI stub sees them), 10
(what IMA may find), 11 (sections of the kernel image, then systemd's phases) and nothing else: PCR 12 and up stay as
they are. PCRs 0-3, 6 and 7 are the model's: recorded once on another machine of it, and marked so (ADR 21); of PCR 5
the disk's partition table and the loader's configuration are computed, the rest is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from medvouch.attestation.prediction import UKI_SECTIONS
from medvouch.attestation.replay import boot_aggregate
from medvouch.formats import event_text, ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import Event, EventLog, EventType, SpecId
from medvouch.formats.hashing import digest
from medvouch.formats.reference import Mode, PcrReference, ReferenceEvent, ReferenceValues
from medvouch_sim import uki
from medvouch_sim.firmware import PHASES

BANK = HashAlg.SHA256
RECORDED = (0, 1, 2, 3, 6, 7)
_LOADER_CONF_TAG = 0xF5BC582A
"""LOADER_CONF_EVENT_TAG_ID of systemd-boot."""
_CPIO_MAGIC, _CPIO_END = b"070701", b"TRAILER!!!"
_DIRECTORY, _FILE = 0o040555, 0o100444


@dataclass(frozen=True)
class Installed:
    """What is on a disk, as far as a boot of it measures it.

    `loader` and `kernel` are the signed images, `partition_table` is UEFI_GPT_DATA, `files` what IMA may measure
    (SHA-256 by path).
    """

    model: str
    release: str
    security_epoch: int
    loader: bytes
    loader_conf: bytes
    kernel: bytes
    partition_table: bytes
    files: Mapping[str, bytes]


def predict(installed: Installed, baseline: EventLog) -> ReferenceValues:
    """Reference values of a boot; `baseline` is the firmware's log of another machine of the model."""
    sections = dict(uki.sections(installed.kernel))
    boot = {
        4: list(_boot_applications(installed)),
        5: list(_configuration(installed, baseline)),
        9: list(_kernel(sections)),
        **{pcr: list(_recorded(baseline, pcr)) for pcr in RECORDED},
    }
    exact = {pcr: _reference(pcr, Mode.EXACT, events) for pcr, events in boot.items() if events}
    allowed = _reference(10, Mode.ALLOWED, _files(_aggregate(boot, baseline.startup_locality), installed.files))
    kernel_image = _reference(11, Mode.PREFIX, [*_sections(sections), *_phases()])
    rows = {**exact, 10: allowed, 11: kernel_image}
    return ReferenceValues(
        model=installed.model,
        release=installed.release,
        security_epoch=installed.security_epoch,
        command_lines=(sections[".cmdline"].decode(),),
        pcrs=tuple(rows[pcr] for pcr in sorted(rows)),
    )


_Expected = tuple[str, bytes]
"""What it is, for people, and its digest."""


def _reference(pcr: int, mode: Mode, events: Iterable[_Expected]) -> PcrReference:
    found = tuple(ReferenceEvent(text[:256], {BANK.label: value}) for text, value in events)
    return PcrReference(pcr, mode, found)


def _hashed(text: str, data: bytes) -> _Expected:
    return text, digest(BANK, data)


def _recorded(baseline: EventLog, pcr: int) -> Iterator[_Expected]:
    for event in baseline.events:
        if event.pcr == pcr and event.measured:
            yield f"recorded {event_text.title(event)}", event.digests[BANK]


def _boot_applications(installed: Installed) -> Iterator[_Expected]:
    yield _hashed("EV_EFI_ACTION", b"Calling EFI Application from Boot Option")
    yield _hashed("EV_SEPARATOR", bytes(4))
    yield "the boot loader", uki.authenticode(installed.loader, BANK)
    yield f"the kernel image of release {installed.release}", uki.authenticode(installed.kernel, BANK)


def _configuration(installed: Installed, baseline: EventLog) -> Iterator[_Expected]:
    for event in baseline.events:
        if event.pcr != 5 or not event.measured:
            continue
        if event.type == EventType.EV_EFI_GPT_EVENT:
            yield _hashed("the partition table", installed.partition_table)
        elif _is_loader_conf(event):
            yield _hashed("loader.conf", installed.loader_conf)
        else:
            yield f"recorded {event_text.title(event)}", event.digests[BANK]


def _is_loader_conf(event: Event) -> bool:
    return event.type == EventType.EV_EVENT_TAG and event.data.startswith(_LOADER_CONF_TAG.to_bytes(4, "little"))


def _kernel(sections: Mapping[str, bytes]) -> Iterator[_Expected]:
    command_line = sections[".cmdline"].decode() + "\0"
    yield _hashed("the kernel's command line", command_line.encode("utf-16-le"))
    yield _hashed("the initrd", stub_initrd(sections))


def stub_initrd(sections: Mapping[str, bytes]) -> bytes:
    """The initrd that systemd-stub (257) hands to the kernel: the section's, padded to 4, then archives of its own.

    Each archive is one file below /.extra (systemd, src/boot/stub.c, generate_embedded_initrds).
    """
    extra = {".pcrsig": "tpm2-pcr-signature.json", ".pcrpkey": "tpm2-pcr-public-key.pem", ".osrel": "os-release"}
    initrd = _padded(sections.get(".initrd", b""))
    return initrd + b"".join(
        _archive(name, sections[section]) for section, name in extra.items() if section in sections
    )


def _archive(name: str, contents: bytes) -> bytes:
    """A cpio archive (newc) as the stub writes it; no time, no owner, numbered from 1."""
    folder = _cpio(1, _DIRECTORY, b".extra", b"")
    return folder + _cpio(2, _FILE, f".extra/{name}".encode(), contents) + _cpio(0, 0, _CPIO_END, b"")


def _cpio(inode: int, mode: int, name: bytes, contents: bytes) -> bytes:
    fields = (inode, mode, 0, 0, 1, 0, len(contents), 0, 0, 0, 0, len(name) + 1, 0)
    header = _CPIO_MAGIC + b"".join(f"{field:08x}".encode() for field in fields) + name + b"\0"
    if name == _CPIO_END:
        header = header.replace(b"0000000b", b"0000000B")  # a constant in the stub's source, in capitals
    return _padded(header) + _padded(contents)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _sections(sections: Mapping[str, bytes]) -> Iterator[_Expected]:
    for name in UKI_SECTIONS:
        if name in sections:
            yield _hashed(f"the name {name}", name.encode() + b"\0")
            yield _hashed(f"section {name}", sections[name])


def _phases() -> Iterator[_Expected]:
    for phase in PHASES:
        yield _hashed(f"phase {phase}", phase.encode())


def _aggregate(boot: Mapping[int, list[_Expected]], locality: int) -> bytes:
    """What IMA measures first, over the PCRs as they are then."""
    startup = Event(0, 0, EventType.EV_NO_ACTION, {}, b"StartupLocality\0" + bytes([locality]), 0)
    measured = [(pcr, value) for pcr, events in boot.items() for _, value in events]
    events = (Event(0, pcr, EventType.EV_EFI_ACTION, {BANK: value}, b"", 0) for pcr, value in measured)
    aggregate = boot_aggregate(EventLog(SpecId((BANK,)), (startup, *events)), BANK.label)
    assert aggregate is not None
    return aggregate


def _files(aggregate: bytes, files: Mapping[str, bytes]) -> Iterator[_Expected]:
    for name, value in {ima.BOOT_AGGREGATE: aggregate, **files}.items():
        fields = (b"sha256:\0" + value, name.encode() + b"\0", b"")
        yield _hashed(name, ima.join_fields("ima-sig", fields))
