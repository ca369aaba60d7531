"""The command lines that a boot measured, and the root that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from medvouch.attestation.boot_parts import CommandLine, CommandLineSource, Section
from medvouch.attestation.findings import Finding, finding
from medvouch.attestation.measured import PCR_GRUB_COMMANDS, PCR_KERNEL, PCR_OVERRIDES, covering
from medvouch.attestation.measurements import VerifiedEvent, VerifiedEvents
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import Event
from medvouch.formats.hashing import digest
from medvouch.formats.text import decode, escaped

_LOAD_OPTIONS = (0x8F3B22ED).to_bytes(4, "little")
"""LOAD_OPTIONS_EVENT_TAG_ID of Linux, drivers/firmware/efi/libstub."""
_GRUB_PREFIXES = (b"kernel_cmdline: ", b"grub_kernel_cmdline ")
"""Of GRUB 2.04 and later, and of older ones with their distributions' patches."""
_ROOT_HASH = re.compile(r"(?:^|\s)roothash=(\S*)")
_IS_ROOT_HASH = re.compile(r"[0-9a-f]{64}")


def find_command_lines(
    events: VerifiedEvents, sections: Iterable[Finding[Section]], known: Sequence[str]
) -> Iterator[Finding[CommandLine]]:
    """Of the UKI, the kernel, GRUB, and all overrides; `known` are texts that may have been measured."""
    texts = _KnownTexts(known)
    for each in sections:
        if each.value.name == ".cmdline":
            index, digests = each.value.index, each.value.digests
            text = texts.find(digests)
            line = CommandLine(CommandLineSource.UKI, index, digests, text)
            yield Finding(line, each.grounds, covered=text is not None)
    for event in events.of(PCR_KERNEL):
        if isinstance(event.source, Event) and event.data.startswith(_LOAD_OPTIONS):
            yield _line(CommandLineSource.KERNEL, event, texts.find(event.digests))
    for event in events.of(PCR_GRUB_COMMANDS):
        for prefix in _GRUB_PREFIXES:
            if event.data.startswith(prefix):
                yield _line(CommandLineSource.GRUB, event, _logged_text(event, event.data.removeprefix(prefix)))
    for event in events.of(PCR_OVERRIDES):
        text = _logged_text(event, event.data) or texts.find(event.digests)
        yield _line(CommandLineSource.OVERRIDE, event, text)


def find_root_hash(lines: Sequence[Finding[CommandLine]]) -> Finding[bytes] | None:
    """dm-verity root hash; None unless every command line is known by text and they name one and the same."""
    texts = [line.value.text for line in lines]
    found = {value for text in texts if text is not None for value in _ROOT_HASH.findall(text)}
    if None in texts or len(found) != 1:
        return None
    (value,) = found
    if not _IS_ROOT_HASH.fullmatch(value):
        return None
    grounds = tuple(ground for line in lines for ground in line.grounds)
    return Finding(bytes.fromhex(value), grounds, covered=True)


def shown_text(covered: bytes) -> str | None:
    """In full, with what a terminal could obey escaped; None where it is empty or no text."""
    decoded = decode(covered)
    return escaped(decoded) if decoded else None


def _line(source: CommandLineSource, event: VerifiedEvent, text: str | None) -> Finding[CommandLine]:
    return finding(CommandLine(source, event.index, event.digests, text), event, covered=text is not None)


class _KnownTexts:
    """Texts by the digests that they have where they are measured: as they are, with NUL, or in UTF-16 with NUL.

    Each is hashed once, however many events there are.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._forms = [
            (text, form)
            for text in texts
            for form in (text.encode(), text.encode() + b"\0", (text + "\0").encode("utf-16-le"))
        ]
        self._tables: dict[HashAlg, Mapping[bytes, tuple[str, bytes]]] = {}

    def find(self, digests: Mapping[HashAlg, bytes]) -> str | None:
        """The text of which, in one and the same form, all digests are."""
        found = {self._table(bank).get(measured) for bank, measured in digests.items()}
        known = found.pop() if len(found) == 1 else None
        return known[0] if known else None

    def _table(self, bank: HashAlg) -> Mapping[bytes, tuple[str, bytes]]:
        if bank not in self._tables:
            self._tables[bank] = {digest(bank, form): (text, form) for text, form in reversed(self._forms)}
        return self._tables[bank]


def _logged_text(event: VerifiedEvent, data: bytes) -> str | None:
    covered = covering(event.digests, (data, data.rstrip(b"\0")))
    return None if covered is None else shown_text(covered)
