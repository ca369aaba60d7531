"""What the confirmed measurements say of a boot.

Only digests are measured; types, texts and data of events are the log's word. So a value counts only where a digest
covers it: the digest is the hash of the data, or of a text in the encoding that the measuring program uses. What the
firmware measures before a PCR's separator cannot be added or preceded by anyone later, since the separator, known by
its digest, stands in between. Where the events do not say, neither does `Boot`: it says UNKNOWN or None.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from medvouch.attestation.replay import VerifiedEvent, VerifiedEvents
from medvouch.errors import InputError
from medvouch.formats import uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.device_path import device_path_text
from medvouch.formats.eventlog import Event, EventType
from medvouch.formats.hashing import HASHERS, digest
from medvouch.formats.systemd import PHASE, Record
from medvouch.formats.text import decode, escaped, printable
from medvouch.formats.uefi import ImageLoad, Variable

PCR_FIRMWARE, PCR_BOOT_APPLICATIONS, PCR_SECURE_BOOT = 0, 4, 7
PCR_GRUB_COMMANDS, PCR_KERNEL, PCR_UKI, PCR_OVERRIDES = 8, 9, 11, 12

_SEPARATORS = tuple(
    {bank: digest(bank, data) for bank in HASHERS} for data in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0\0\0")
)
"""EV_SEPARATOR (PFP 10.4.1) by its digests: normal, normal on some platforms, error."""
_LOAD_OPTIONS = 0x8F3B22ED
"""LOAD_OPTIONS_EVENT_TAG_ID of Linux, drivers/firmware/efi/libstub."""
_GRUB_PREFIX = b"kernel_cmdline: "
_ROOT_HASH = re.compile(r"(?:^|\s)roothash=(\S*)")
_IS_ROOT_HASH = re.compile(r"[0-9a-f]{64}")


class SecureBoot(enum.Enum):
    """What the firmware measured of its own state."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class CommandLineSource(enum.Enum):
    """Who measured a command line."""

    UKI = "uki"
    """systemd-stub: the .cmdline section, PCR 11."""
    KERNEL = "kernel"
    """Linux' EFI stub: what the kernel was started with, PCR 9."""
    GRUB = "grub"
    """GRUB, PCR 8."""
    OVERRIDE = "override"
    """systemd-boot or systemd-stub: anything that a UKI does not hold itself, PCR 12."""


@dataclass(frozen=True)
class Application:
    """An EFI program that was started: `digests` are its Authenticode hashes; `path` is the log's unmeasured word."""

    index: int
    digests: Mapping[HashAlg, bytes]
    path: str


@dataclass(frozen=True)
class Section:
    """A section of the unified kernel image: `name` is measured, `digests` are those of its contents."""

    index: int
    name: str
    digests: Mapping[HashAlg, bytes]


@dataclass(frozen=True)
class CommandLine:
    """A measured command line; `text` is None where neither the log nor the caller knows a text with this digest."""

    source: CommandLineSource
    index: int
    digests: Mapping[HashAlg, bytes]
    text: str | None


@dataclass(frozen=True)
class Boot:
    """One boot, as far as confirmed measurements say."""

    secure_boot: SecureBoot
    variables: tuple[Variable, ...]
    """Secure Boot policy: SecureBoot, PK, KEK, db, dbx, ..., in measured order."""
    authorities: tuple[Variable, ...]
    """What the started programs were verified with: the entry of db (owner, certificate) or of another list."""
    applications: tuple[Application, ...]
    sections: tuple[Section, ...]
    command_lines: tuple[CommandLine, ...]
    firmware_version: str | None
    phases: tuple[str, ...]
    """systemd's boot phases so far: enter-initrd, leave-initrd, sysinit, ready, ..."""

    @property
    def root_hash(self) -> bytes | None:
        """dm-verity root hash; None unless every command line is known by text and they name one and the same."""
        lines = [line.text for line in self.command_lines]
        found = {value for text in lines if text is not None for value in _ROOT_HASH.findall(text)}
        if None in lines or len(found) != 1:
            return None
        (value,) = found
        return bytes.fromhex(value) if _IS_ROOT_HASH.fullmatch(value) else None


def understand(events: VerifiedEvents, *, command_lines: Sequence[str] = ()) -> Boot:
    """Read a boot from what a replay confirmed.

    `command_lines` are texts that may have been measured, e.g. of the releases that the verifier knows: UKIs and the
    kernel leave only the digest of theirs in the log.
    """
    policy, later = _around_separator(events.of(PCR_SECURE_BOOT))
    variables = tuple(_variables(policy))
    return Boot(
        secure_boot=_secure_boot(policy),
        variables=variables,
        authorities=tuple(_variables(later)),
        applications=tuple(_applications(events.of(PCR_BOOT_APPLICATIONS))),
        sections=(sections := tuple(_sections(events.of(PCR_UKI)))),
        command_lines=tuple(_command_lines(events, sections, command_lines)),
        firmware_version=_firmware_version(events),
        phases=tuple(_phases(events.of(PCR_UKI))),
    )


def _covering(digests: Mapping[HashAlg, bytes], *candidates: bytes) -> bytes | None:
    """The candidate whose hash each of the digests is."""
    for candidate in candidates:
        if {bank: digest(bank, candidate) for bank in digests} == digests:
            return candidate
    return None


def _is_separator(event: VerifiedEvent) -> bool:
    return any(event.digests.items() <= separator.items() for separator in _SEPARATORS)


def _around_separator(events: Sequence[VerifiedEvent]) -> tuple[list[VerifiedEvent], list[VerifiedEvent]]:
    """The events before and after the first separator; all are before where there is none."""
    before = list(takewhile(lambda event: not _is_separator(event), events))
    return before, list(events[len(before) + 1 :])


def _variables(events: Iterable[VerifiedEvent]) -> Iterator[Variable]:
    for event in events:
        variable = _variable(event)
        if variable is not None:
            yield variable


def _variable(event: VerifiedEvent) -> Variable | None:
    if _covering(event.digests, event.data) is None:
        return None
    try:
        return Variable.parse(event.data)
    except InputError:
        return None


def _secure_boot(policy: Sequence[VerifiedEvent]) -> SecureBoot:
    """The first measurement into PCR 7 is the SecureBoot variable (PFP 3.3.4.8); nothing else is taken for it."""
    first = _variable(policy[0]) if policy else None
    if first is None or (first.guid, first.name) != (uefi.GLOBAL_VARIABLE, "SecureBoot"):
        return SecureBoot.UNKNOWN
    states = {b"\1": SecureBoot.ON, b"\0": SecureBoot.OFF, b"": SecureBoot.OFF}
    return states.get(first.data, SecureBoot.UNKNOWN)


def _applications(events: Iterable[VerifiedEvent]) -> Iterator[Application]:
    """Whatever PCR 4 holds beside separators and the firmware's own action texts, of whatever type it claims to be."""
    for event in events:
        action = event.data if event.data.isascii() and len(event.data) <= 128 else b""
        if not _is_separator(event) and _covering(event.digests, action) is None:
            yield Application(event.index, event.digests, _image_path(event.data))


def _image_path(data: bytes) -> str:
    try:
        return printable(device_path_text(ImageLoad.parse(data).device_path))
    except InputError:
        return ""


def _sections(events: Sequence[VerifiedEvent]) -> Iterator[Section]:
    """systemd-stub measures, before anything else in PCR 11, each section as (name with NUL, contents)."""
    for name_event, contents in zip(events[::2], events[1::2], strict=False):
        name = decode(name_event.data) or ""
        if not name.startswith(".") or _covering(name_event.digests, name.encode() + b"\0") is None:
            return
        yield Section(contents.index, name, contents.digests)


def _command_lines(events: VerifiedEvents, sections: Iterable[Section], known: Sequence[str]) -> Iterator[CommandLine]:
    for section in sections:
        if section.name == ".cmdline":
            text = _known_text(section.digests, known)
            yield CommandLine(CommandLineSource.UKI, section.index, section.digests, text)
    for event in events.of(PCR_KERNEL):
        if _is_load_options(event):
            text = _known_text(event.digests, known)
            yield CommandLine(CommandLineSource.KERNEL, event.index, event.digests, text)
    for event in events.of(PCR_GRUB_COMMANDS):
        if event.data.startswith(_GRUB_PREFIX):
            text = _logged_text(event, event.data.removeprefix(_GRUB_PREFIX))
            yield CommandLine(CommandLineSource.GRUB, event.index, event.digests, text)
    for event in events.of(PCR_OVERRIDES):
        text = _logged_text(event, event.data) or _known_text(event.digests, known)
        yield CommandLine(CommandLineSource.OVERRIDE, event.index, event.digests, text)


def _is_load_options(event: VerifiedEvent) -> bool:
    return isinstance(event.source, Event) and event.data.startswith(_LOAD_OPTIONS.to_bytes(4, "little"))


def _known_text(digests: Mapping[HashAlg, bytes], known: Iterable[str]) -> str | None:
    """The known text that was measured: as it is, with NUL, or in UTF-16 with NUL."""
    for text in known:
        plain, wide = text.encode(), (text + "\0").encode("utf-16-le")
        if _covering(digests, plain, plain + b"\0", wide) is not None:
            return text
    return None


def _logged_text(event: VerifiedEvent, data: bytes) -> str | None:
    covered = _covering(event.digests, data, data.rstrip(b"\0"))
    return None if covered is None else _text(covered)


def _text(covered: bytes) -> str | None:
    """In full, with what a terminal could obey escaped; None where it is empty or no text."""
    decoded = decode(covered)
    return escaped(decoded) if decoded else None


def _firmware_version(events: VerifiedEvents) -> str | None:
    before, _ = _around_separator(events.of(PCR_FIRMWARE))
    for event in before:
        claimed = isinstance(event.source, Event) and event.source.type == EventType.EV_S_CRTM_VERSION
        if claimed and _covering(event.digests, event.data) is not None:
            return _text(event.data)
    return None


def _phases(events: Iterable[VerifiedEvent]) -> Iterator[str]:
    for event in events:
        is_phase = isinstance(event.source, Record) and event.source.event_type == PHASE
        if is_phase and _covering(event.digests, event.data) is not None:
            yield escaped(event.data.decode())
