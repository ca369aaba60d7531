"""The kernel's IMA measurement list as text, `ascii_runtime_measurements` (Linux, ima_fs.c and ima_template_lib.c).

    PCR template-hash template-name field ...

Fields stand one space apart, those that are empty as nothing. Digests are `algorithm:hex`, names are as they are, so
that they may hold spaces, numbers are decimal, all else is hexadecimal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import PCR_COUNT
from medvouch.formats.ima import FORMAT, MAX_ENTRIES, MAX_LIST_BYTES, OLD, Entry, field_names, join_fields

_DIGEST_SIZES = {bank.size for bank in HashAlg}


def parse_ascii(text: str) -> tuple[Entry, ...]:
    """A whole `ascii_runtime_measurements`; raises InputError `ima-limit` or `ima-malformed`."""
    _limit(len(text), MAX_LIST_BYTES, "characters")
    lines = text.removesuffix("\n").split("\n") if text else []
    _limit(len(lines), MAX_ENTRIES, "entries")
    return tuple(_line(index, line) for index, line in enumerate(lines))


def _line(index: int, line: str) -> Entry:
    try:
        pcr, template_hash, template, rest = line.split(" ", 3)
        fields = _fields(template, rest)
        number, claimed = int(pcr), bytes.fromhex(template_hash)
        if not 0 <= number < PCR_COUNT or len(claimed) not in _DIGEST_SIZES:
            raise ValueError(line)
        return Entry(index, number, claimed, template, join_fields(template, fields), fields)
    except (ValueError, KeyError, OverflowError) as error:
        raise InputError(f"{FORMAT}-malformed", "a line that is no measurement", place=f"line {index + 1}") from error


def _fields(template: str, text: str) -> tuple[bytes, ...]:
    """KeyError for a field that has no ASCII form here, ValueError for text that does not fit the template."""
    if template == OLD:
        value, name = text.split(" ", 1)
        return bytes.fromhex(value), name.encode()
    names = field_names(template)
    return tuple(_READERS[name](shown) for name, shown in zip(names, _apart(names, text), strict=True))


def _apart(names: list[str], text: str) -> list[str]:
    """The text of each field: whatever spaces are too many belong to the file's name."""
    position = next((number for number, name in enumerate(names) if name in ("n", "n-ng")), len(names) - 1)
    before = text.split(" ", position)
    last = before.pop()
    after = last.rsplit(" ", len(names) - 1 - position)
    return [*before, *after]


def _digest(text: str) -> bytes:
    """`sha256:hex`, or with what it is of before it: `ima:sha256:hex`."""
    if not text:
        return b""
    label, separator, value = text.rpartition(":")
    if not separator:
        raise ValueError(text)
    return label.encode() + b":\0" + bytes.fromhex(value)


def _number(size: int) -> Callable[[str], bytes]:
    return lambda text: int(text).to_bytes(size, "little") if text else b""


_READERS: Mapping[str, Callable[[str], bytes]] = {
    "d": bytes.fromhex,
    "d-ng": _digest,
    "d-ngv2": _digest,
    "d-modsig": _digest,
    "n": str.encode,
    "n-ng": lambda text: text.encode() + b"\0",
    "sig": bytes.fromhex,
    "buf": bytes.fromhex,
    "modsig": bytes.fromhex,
    "evmsig": bytes.fromhex,
    "xattrnames": str.encode,
    "xattrlengths": bytes.fromhex,
    "xattrvalues": bytes.fromhex,
    "iuid": _number(4),
    "igid": _number(4),
    "imode": _number(2),
}


def _limit(number: int, limit: int, what: str) -> None:
    if number > limit:
        raise InputError(f"{FORMAT}-limit", f"{number} {what} where at most {limit} are allowed")
