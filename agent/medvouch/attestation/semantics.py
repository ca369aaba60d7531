"""What the confirmed measurements say of a boot.

Only digests are measured; types, texts and data of events are the log's word. So a value counts only where a digest
covers it: the digest is the hash of the data, or of a text in the encoding that the measuring program uses. What the
firmware measures before a PCR's separator cannot be added or preceded by anyone later, since the separator, known by
its digest, stands in between. Where the events do not say, neither does `Boot`: it says UNKNOWN or None.

`Boot` has the plain values, `Boot.found` the same ones with the events that each rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeVar

from medvouch.attestation.boot_parts import Application, CommandLine, CommandLineSource, Named, Section, SecureBoot
from medvouch.attestation.command_lines import find_command_lines, find_root_hash, shown_text
from medvouch.attestation.findings import Finding, finding
from medvouch.attestation.measured import (
    PCR_BOOT_APPLICATIONS,
    PCR_FIRMWARE,
    PCR_GRUB_COMMANDS,
    PCR_KERNEL,
    PCR_MOK,
    PCR_SECURE_BOOT,
    PCR_UKI,
    covering,
    is_separator,
    of_old_shim,
)
from medvouch.attestation.measurements import VerifiedEvent, VerifiedEvents
from medvouch.errors import InputError
from medvouch.formats import sbat, uefi
from medvouch.formats.device_path import device_path_text
from medvouch.formats.eventlog import EventType
from medvouch.formats.sbat import SbatEntry
from medvouch.formats.systemd import PHASE, Record
from medvouch.formats.text import decode, escaped, printable
from medvouch.formats.uefi import ImageLoad, Variable

__all__ = ["Application", "Boot", "CommandLine", "CommandLineSource", "Found", "Section", "SecureBoot", "understand"]

T = TypeVar("T")
_GRUB_COMMANDS = (b"grub_cmd: ", b"grub_cmd ")
"""Of GRUB 2.04 and later, and of older ones with their distributions' patches."""
_SHIM_VARIABLES = ("Mok", "Sbat")


@dataclass(frozen=True)
class Found:
    """What one boot is, each value with the verified events that it rests on."""

    secure_boot: Finding[SecureBoot]
    variables: tuple[Finding[Variable], ...] = ()
    authorities: tuple[Finding[Variable], ...] = ()
    applications: tuple[Finding[Application], ...] = ()
    sections: tuple[Finding[Section], ...] = ()
    command_lines: tuple[Finding[CommandLine], ...] = ()
    root_hash: Finding[bytes] | None = None
    firmware_version: Finding[str] | None = None
    phases: tuple[Finding[str], ...] = ()
    sbat_level: Finding[tuple[SbatEntry, ...]] | None = None
    shim_lists: tuple[Finding[Named], ...] = ()
    grub_commands: tuple[Finding[str], ...] = ()
    loader_files: tuple[Finding[Named], ...] = ()


@dataclass(frozen=True)
class Boot:
    """One boot, as far as confirmed measurements say; `found` says on which of them each value rests."""

    found: Found

    @property
    def secure_boot(self) -> SecureBoot:
        """The firmware's own state."""
        return self.found.secure_boot.value

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Secure Boot policy: SecureBoot, PK, KEK, db, dbx, ..., in measured order."""
        return _values(self.found.variables)

    @property
    def authorities(self) -> tuple[Variable, ...]:
        """What the started programs were verified with: the entry of db (owner, certificate) or of another list."""
        return _values(self.found.authorities)

    @property
    def applications(self) -> tuple[Application, ...]:
        """EFI programs in the order in which they were started."""
        return _values(self.found.applications)

    @property
    def sections(self) -> tuple[Section, ...]:
        """Those of the unified kernel image, in measured order."""
        return _values(self.found.sections)

    @property
    def command_lines(self) -> tuple[CommandLine, ...]:
        """All that were measured, by whomever."""
        return _values(self.found.command_lines)

    @property
    def root_hash(self) -> bytes | None:
        """dm-verity root hash; None unless every command line is known by text and they name one and the same."""
        return self.found.root_hash.value if self.found.root_hash else None

    @property
    def firmware_version(self) -> str | None:
        """As the firmware measured it of itself."""
        return self.found.firmware_version.value if self.found.firmware_version else None

    @property
    def phases(self) -> tuple[str, ...]:
        """systemd's boot phases so far: enter-initrd, leave-initrd, sysinit, ready, ..."""
        return _values(self.found.phases)

    @property
    def sbat_level(self) -> tuple[SbatEntry, ...]:
        """Which generations of boot components shim refuses; nothing where it measured no such level."""
        return self.found.sbat_level.value if self.found.sbat_level else ()

    @property
    def shim_lists(self) -> tuple[Named, ...]:
        """Digests of shim's lists of keys, MokList, MokListX, ..., in measured order."""
        return _values(self.found.shim_lists)

    @property
    def grub_commands(self) -> tuple[str, ...]:
        """What GRUB executed, as far as the log has the text that was measured."""
        return _values(self.found.grub_commands)

    @property
    def loader_files(self) -> tuple[Named, ...]:
        """Digests of what GRUB or systemd's stub read."""
        return _values(self.found.loader_files)


def understand(events: VerifiedEvents, *, command_lines: Sequence[str] = ()) -> Boot:
    """Read a boot from what a replay confirmed.

    `command_lines` are texts that may have been measured, e.g. of the releases that the verifier knows: UKIs and the
    kernel leave only the digest of theirs in the log.
    """
    policy, later = _around_separator(events.of(PCR_SECURE_BOOT))
    sections = tuple(_sections(events.of(PCR_UKI)))
    lines = tuple(find_command_lines(events, sections, command_lines))
    found = Found(
        secure_boot=_secure_boot(policy),
        variables=tuple(_variables(policy)),
        authorities=(authorities := tuple(_variables(later))),
        applications=tuple(_applications(events.of(PCR_BOOT_APPLICATIONS))),
        sections=sections,
        command_lines=lines,
        root_hash=find_root_hash(lines),
        firmware_version=_firmware_version(events),
        phases=tuple(_phases(events.of(PCR_UKI))),
        sbat_level=_sbat_level(authorities),
        shim_lists=tuple(_named(events.of(PCR_MOK), _SHIM_VARIABLES)),
        grub_commands=tuple(_grub_commands(events.of(PCR_GRUB_COMMANDS))),
        loader_files=tuple(_named(events.of(PCR_KERNEL))),
    )
    return Boot(found)


def _values(findings: Iterable[Finding[T]]) -> tuple[T, ...]:
    return tuple(each.value for each in findings)


def _around_separator(events: Sequence[VerifiedEvent]) -> tuple[list[VerifiedEvent], list[VerifiedEvent]]:
    """The events before and after the first separator; all are before where there is none."""
    before = list(takewhile(lambda event: not is_separator(event), events))
    return before, list(events[len(before) + 1 :])


def _variables(events: Iterable[VerifiedEvent]) -> Iterator[Finding[Variable]]:
    for event in events:
        variable = _variable(event)
        if variable is not None:
            yield finding(variable, event)


def _variable(event: VerifiedEvent) -> Variable | None:
    """Old versions of shim hashed all but the last byte of what they logged, and logged more than the variable."""
    if not event.covers_data and not of_old_shim(event):
        return None
    if not uefi.of_shim(event.data):
        return event.variable
    try:
        return Variable.parse_authority(event.data)
    except InputError:
        return None


def _secure_boot(policy: Sequence[VerifiedEvent]) -> Finding[SecureBoot]:
    """The first measurement into PCR 7 is the SecureBoot variable (PFP 3.3.4.8); nothing else is taken for it."""
    first = _variable(policy[0]) if policy else None
    if first is None or (first.guid, first.name) != (uefi.GLOBAL_VARIABLE, "SecureBoot"):
        return finding(SecureBoot.UNKNOWN, covered=False)
    states = {b"\1": SecureBoot.ON, b"\0": SecureBoot.OFF, b"": SecureBoot.OFF}
    return finding(states.get(first.data, SecureBoot.UNKNOWN), policy[0])


def _applications(events: Iterable[VerifiedEvent]) -> Iterator[Finding[Application]]:
    """Whatever PCR 4 holds beside separators and the firmware's own action texts, of whatever type it claims to be."""
    for event in events:
        action = event.data.isascii() and len(event.data) <= 128 and event.covers_data
        if not is_separator(event) and not action:
            application = Application(event.index, event.digests, _image_path(event.data))
            yield finding(application, event, covered=False)


def _image_path(data: bytes) -> str:
    try:
        return printable(device_path_text(ImageLoad.parse(data).device_path))
    except InputError:
        return ""


def _sections(events: Sequence[VerifiedEvent]) -> Iterator[Finding[Section]]:
    """systemd-stub measures, before anything else in PCR 11, each section as (name with NUL, contents)."""
    for name_event, contents in zip(events[::2], events[1::2], strict=False):
        name = decode(name_event.data) or ""
        if not name.startswith(".") or covering(name_event.digests, [name.encode() + b"\0"]) is None:
            return
        yield finding(Section(contents.index, name, contents.digests), name_event, contents, covered=False)


def _firmware_version(events: VerifiedEvents) -> Finding[str] | None:
    before, _ = _around_separator(events.of(PCR_FIRMWARE))
    for event in before:
        if event.type == EventType.EV_S_CRTM_VERSION and event.covers_data:
            version = shown_text(event.data)
            return finding(version, event) if version else None
    return None


def _phases(events: Iterable[VerifiedEvent]) -> Iterator[Finding[str]]:
    for event in events:
        is_phase = isinstance(event.source, Record) and event.source.event_type == PHASE
        if is_phase and event.covers_data:
            yield finding(escaped(event.data.decode()), event)


def _sbat_level(authorities: Sequence[Finding[Variable]]) -> Finding[tuple[SbatEntry, ...]] | None:
    """The first that shim measured; one that cannot be read says nothing."""
    for each in authorities:
        if (each.value.guid, each.value.name) == (uefi.SHIM_LOCK, "SbatLevel"):
            try:
                return Finding(sbat.parse(each.value.data), each.grounds, each.covered)
            except InputError:
                return None
    return None


def _named(events: Iterable[VerifiedEvent], prefixes: tuple[str, ...] = ("",)) -> Iterator[Finding[Named]]:
    """Contents that a boot loader measured, with the name beside it in the log."""
    for event in events:
        name = decode(event.data.partition(b"\0")[0])
        if event.type == EventType.EV_IPL and name and name.startswith(prefixes):
            yield finding(Named(event.index, printable(name), event.digests), event, covered=False)


def _grub_commands(events: Iterable[VerifiedEvent]) -> Iterator[Finding[str]]:
    for event in events:
        for prefix in _GRUB_COMMANDS:
            text = event.data.removeprefix(prefix).rstrip(b"\0")
            if event.data.startswith(prefix) and covering(event.digests, [text]) is not None:
                yield finding(shown_text(text) or "", event)
                break
