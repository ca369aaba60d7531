"""What a boot will measure, as events, from the files that it boots; and what of it an update changes.

Predicted is what EDK2, systemd-stub and Linux' EFI stub do. It is events, not PCR values: a firmware adds events of its
own (a boot option that failed, a setup menu that was opened), and which are there only a machine tells.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import zip_longest

from medvouch.attestation.replay import Measurement
from medvouch.formats import pe, uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import Event, EventType
from medvouch.formats.hashing import digest
from medvouch.formats.reference import Mode, PcrReference, ReferenceEvent

UKI_SECTIONS = (".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey")
"""What systemd-stub measures, in its order (UAPI group, Unified Kernel Image: canonical order)."""
SECURE_BOOT_POLICY = {
    "SecureBoot": uefi.GLOBAL_VARIABLE,
    "PK": uefi.GLOBAL_VARIABLE,
    "KEK": uefi.GLOBAL_VARIABLE,
    "db": uefi.IMAGE_SECURITY_DATABASE,
    "dbx": uefi.IMAGE_SECURITY_DATABASE,
}
"""What firmware measures of it, in its order (PFP 1.06, 3.3.4.8)."""
NORMAL_SEPARATOR = bytes(4)
MAX_DESCRIPTION = 256

_LOAD_OPTIONS_TAG, _INITRD_TAG = 0x8F3B22ED, 0x8F3B22EC
"""Tagged events of Linux, drivers/firmware/efi/libstub."""
_VOLUMES_ADDRESS, _IMAGE_ADDRESS = 0x00820000, 0x3D000000


def hashed(
    banks: Iterable[HashAlg], pcr: int, event_type: EventType, data: bytes, measured: bytes | None = None
) -> Event:
    """An event whose digest is the hash of `measured`, or of its data; where it will stand in a log is not said."""
    covered = data if measured is None else measured
    return Event(0, pcr, event_type, {bank: digest(bank, covered) for bank in banks}, data, 0)


def firmware(
    version: str, volumes: Mapping[str, bytes], variables: Mapping[str, bytes], banks: Sequence[HashAlg]
) -> Iterator[Event]:
    """PCRs 0, 7 and 1 up to where the firmware hands over to boot options.

    `volumes` by name, `variables` by name (`SecureBoot`, `db`, `BootOrder`, `Boot0000`, ...); one not there is empty.
    """
    yield hashed(banks, 0, EventType.EV_S_CRTM_VERSION, f"{version}\0".encode("utf-16-le"))
    address = _VOLUMES_ADDRESS
    for name, volume in sorted(volumes.items()):
        text = name.encode()[:255]
        where = bytes([len(text)]) + text + struct.pack("<2Q", address, len(volume))
        yield hashed(banks, 0, EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2, where, volume)
        address += len(volume)
    for name, guid in SECURE_BOOT_POLICY.items():
        variable = uefi.Variable(guid, name, variables.get(name, b""))
        yield hashed(banks, 7, EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable.encode())
    yield hashed(banks, 7, EventType.EV_SEPARATOR, NORMAL_SEPARATOR)
    options = sorted(name for name in variables if name.startswith("Boot") and len(name) == len("Boot0000"))
    for name in ("BootOrder", *options):
        value = variables.get(name, b"")  # PFP 1.06, table 27: EV_EFI_VARIABLE_BOOT is the hash of the value alone
        variable = uefi.Variable(uefi.GLOBAL_VARIABLE, name, value)
        yield hashed(banks, 1, EventType.EV_EFI_VARIABLE_BOOT, variable.encode(), value)


def application(image: bytes, device_path: bytes, banks: Iterable[HashAlg]) -> Event:
    """An EFI program that is started: PCR 4 has its Authenticode hash. Raises InputError `pe-*`."""
    loaded = uefi.ImageLoad(_IMAGE_ADDRESS, len(image), 0, device_path).encode()
    digests = {bank: pe.authenticode(image, bank) for bank in banks}
    return Event(0, 4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, digests, loaded, 0)


def unified_kernel(image: bytes, banks: Sequence[HashAlg]) -> Iterator[Event]:
    """What a unified kernel image measures once it runs: systemd-stub PCR 11, Linux' EFI stub PCR 9.

    The initrd is that of the image: add-ons, credentials and system extensions that lie beside it are measured with it,
    and into PCRs 12 and 13. Raises InputError `pe-*`.
    """
    sections = dict(pe.sections(image))
    for name in UKI_SECTIONS:
        if name in sections:
            wide = f"{name}\0".encode("utf-16-le")
            yield hashed(banks, 11, EventType.EV_IPL, wide, name.encode() + b"\0")
            yield hashed(banks, 11, EventType.EV_IPL, wide, sections[name])
    command_line = sections.get(".cmdline", b"").decode("utf-8", "replace") + "\0"
    options = uefi.TaggedEvent(_LOAD_OPTIONS_TAG, b"LOADED_IMAGE::LoadOptions\0").encode()
    yield hashed(banks, 9, EventType.EV_EVENT_TAG, options, command_line.encode("utf-16-le"))
    initrd = uefi.TaggedEvent(_INITRD_TAG, b"Linux initrd\0").encode()
    yield hashed(banks, 9, EventType.EV_EVENT_TAG, initrd, sections.get(".initrd", b""))


def described(event: Event) -> ReferenceEvent:
    """An event of the firmware's log as a reference has it; one that was predicted has no number."""
    made = as_reference(Measurement("uefi", event.pcr, event.digests, event))
    return replace(made, description=made.description.removeprefix("event 0 "))


def as_reference(step: Measurement) -> ReferenceEvent:
    """A measurement as a reference has it."""
    return ReferenceEvent(
        step.describe()[:MAX_DESCRIPTION], {bank.label: value for bank, value in step.digests.items()}
    )


def rows(events: Iterable[Event]) -> tuple[PcrReference, ...]:
    """Events by PCR, in their order."""
    by_pcr: dict[int, list[ReferenceEvent]] = {}
    for event in events:
        by_pcr.setdefault(event.pcr, []).append(described(event))
    return tuple(PcrReference(pcr, Mode.EXACT, tuple(found)) for pcr, found in sorted(by_pcr.items()))


@dataclass(frozen=True)
class Change:
    """An event that is another, or new (`old` None), or gone (`new` None)."""

    old: ReferenceEvent | None
    new: ReferenceEvent | None

    @property
    def kind(self) -> str:
        """In a word."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"


@dataclass(frozen=True)
class PcrChange:
    """What becomes of one PCR: nothing where there are no changes."""

    pcr: int
    changes: tuple[Change, ...]


def compare(old: Iterable[PcrReference], new: Iterable[PcrReference]) -> tuple[PcrChange, ...]:
    """PCR by PCR, the events that differ; one for each PCR of either, ascending.

    Events are the same where all banks that both have say so; descriptions do not matter. Where only the set of events
    counts (Mode.ALLOWED), one that moved is no change.
    """
    before, after = ({row.pcr: row for row in each} for each in (old, new))
    return tuple(
        PcrChange(pcr, tuple(_changes(before.get(pcr), after.get(pcr)))) for pcr in sorted(before.keys() | after.keys())
    )


def _changes(old: PcrReference | None, new: PcrReference | None) -> Iterator[Change]:
    banks = _shared_banks(old, new)
    one, other = (_ordered(row, banks) for row in (old, new))
    before, after = ([_key(event, banks) for event in events] for events in (one, other))
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from (Change(*pair) for pair in zip_longest(one[i1:i2], other[j1:j2]))


def _shared_banks(*rows: PcrReference | None) -> tuple[str, ...]:
    """Banks that every event has; those of one side where the other has no events."""
    banks = [set(event.digests) for row in rows if row is not None for event in row.events]
    return tuple(sorted(set.intersection(*banks))) if banks else ()


def _ordered(row: PcrReference | None, banks: Sequence[str]) -> Sequence[ReferenceEvent]:
    if row is None or row.mode is not Mode.ALLOWED:
        return row.events if row else ()
    return sorted(row.events, key=lambda event: (_what(event), _key(event, banks)))


def _what(event: ReferenceEvent) -> str:
    """The description without the number of an entry, so that a file stands beside its successor."""
    return event.description.split(" ", 3)[-1]


def _key(event: ReferenceEvent, banks: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(event.digests[bank] for bank in banks)
