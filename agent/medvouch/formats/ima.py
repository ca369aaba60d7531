"""The kernel's IMA measurement list, binary and ASCII (Linux, security/integrity/ima/ima_fs.c).

    entry     pcr u32 | template hash [20] | name size u32 | template name | template data
    data      size u32 | fields, each (size u32 | bytes)
    `ima`     digest [20] | path size u32 | path            (the template of old kernels, without the sizes)

Integers are those of the machine, little endian on all that medvouch runs on. The list names SHA-1 template hashes
only; the kernel extends every bank with that bank's own hash of the same template data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor, Fault
from medvouch.formats.eventlog import PCR_COUNT
from medvouch.formats.hashing import HASHERS, digest
from medvouch.formats.text import printable

FORMAT = "ima"
MAX_LIST_BYTES = 16 << 20
MAX_ENTRIES = 262144
MAX_NAME_BYTES = 255
"""MAX_TEMPLATE_NAME_LEN and IMA_EVENT_NAME_LEN_MAX of the kernel."""
MAX_DATA_BYTES = 4 << 20
BOOT_AGGREGATE = "boot_aggregate"

_HEAD = struct.Struct("<I20sI")
_U32 = struct.Struct("<I")
_DIGEST_SIZES = {bank.size for bank in HashAlg}
_OLD = "ima"
_FORMATS = {
    _OLD: "d|n",
    "ima-ng": "d-ng|n-ng",
    "ima-sig": "d-ng|n-ng|sig",
    "ima-ngv2": "d-ngv2|n-ng",
    "ima-sigv2": "d-ngv2|n-ng|sig",
    "ima-buf": "d-ng|n-ng|buf",
    "ima-modsig": "d-ng|n-ng|sig|d-modsig|modsig",
    "evm-sig": "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode",
}
"""Fields of the kernel's named templates; any other name is itself such a format."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One measurement; `data` is the template data as the list holds it, after its size."""

    index: int
    pcr: int
    template_hash: bytes
    template: str
    data: bytes
    fields: tuple[bytes, ...]

    @property
    def violation(self) -> bool:
        """The kernel saw a race (a file open for writing while measured) and extended all ones instead of a hash.

        Nothing of such an entry's data is measured.
        """
        return not any(self.template_hash)

    @property
    def hashed(self) -> bytes:
        """The bytes whose hash is the template hash."""
        if self.template != _OLD:
            return self.data
        file_digest, name = self.fields
        return file_digest + name.ljust(MAX_NAME_BYTES + 1, b"\0")

    @property
    def path(self) -> str:
        """File name, or what the kernel calls the measurement; empty where the template has none."""
        name = self._field("n-ng") or self._field("n") or b""
        return name.rstrip(b"\0").decode("utf-8", "backslashreplace")

    @property
    def file_digest(self) -> tuple[str, bytes] | None:
        """(hash algorithm as the kernel names it, digest) of what was measured, or None where there is none."""
        if (old := self._field("d")) is not None:
            return "sha1" if len(old) == HashAlg.SHA1.size else "md5", old
        labelled = self._field("d-ng") or self._field("d-ngv2")
        if labelled is None:
            return None
        label, separator, value = labelled.partition(b":\0")
        return (label.decode("ascii", "backslashreplace").rpartition(":")[2], value) if separator else None

    def _field(self, kind: str) -> bytes | None:
        for name, value in zip(_FORMATS.get(self.template, self.template).split("|"), self.fields, strict=False):
            if name == kind:
                return value
        return None

    @property
    def template_algorithm(self) -> HashAlg | None:
        """The algorithm by which `template_hash` is the hash of the data; None where there is none, or a violation."""
        sized = (bank for bank in HASHERS if bank.size == len(self.template_hash))
        return next((bank for bank in sized if digest(bank, self.hashed) == self.template_hash), None)

    def describe(self) -> str:
        """One printable line, for messages."""
        kind = "violation" if self.violation else self.template
        return printable(f"entry {self.index} {kind} {self.path}")

    def encode(self) -> bytes:
        """The entry in the binary list."""
        name = self.template.encode()
        size = b"" if self.template == _OLD else _U32.pack(len(self.data))
        return _HEAD.pack(self.pcr, self.template_hash, len(name)) + name + size + self.data


def make(index: int, pcr: int, template: str, fields: tuple[bytes, ...]) -> Entry:
    """An entry with the template hash of its fields, as the kernel makes it."""
    data = join_fields(template, fields)
    unhashed = Entry(index, pcr, bytes(HashAlg.SHA1.size), template, data, fields)
    return Entry(index, pcr, digest(HashAlg.SHA1, unhashed.hashed), template, data, fields)


def join_fields(template: str, fields: tuple[bytes, ...]) -> bytes:
    """Template data of these fields."""
    if template == _OLD:
        file_digest, name = fields
        return file_digest + _U32.pack(len(name)) + name
    return b"".join(_U32.pack(len(field)) + field for field in fields)


def encode(entries: tuple[Entry, ...]) -> bytes:
    """The binary list."""
    return b"".join(entry.encode() for entry in entries)


def parse_binary(data: bytes) -> tuple[Entry, ...]:
    """A whole `binary_runtime_measurements`; raises InputError `ima-truncated`, `-limit` or `-malformed`.

    A list cut between two entries is a well-formed shorter list; only the replay against PCR 10 tells.
    """
    _limit(len(data), MAX_LIST_BYTES, "bytes", 0)
    try:
        return tuple(_entries(data))
    except struct.error as error:
        raise InputError(f"{FORMAT}-truncated", "the list ends within an entry", place=f"byte {len(data)}") from error


def _entries(data: bytes) -> Iterator[Entry]:
    offset, end, index = 0, len(data), 0
    while offset < end:
        start = offset
        _limit(index + 1, MAX_ENTRIES, "entries", start)
        pcr, template_hash, name_size = _HEAD.unpack_from(data, offset)
        _limit(name_size, MAX_NAME_BYTES, "bytes of template name", start)
        offset += _HEAD.size + name_size
        template = _template(data[start + _HEAD.size : offset], pcr, start)
        size, offset = _old_size(data, offset) if template == _OLD else (_size(data, offset), offset + _U32.size)
        stop = offset + size
        if stop > end:
            _fail("truncated", f"an entry of {size} bytes where {end - offset} are left", start)
        body = data[offset:stop]
        yield Entry(index, pcr, template_hash, template, body, tuple(_fields(template, body, offset)))
        offset = stop
        index += 1


def _template(name: bytes, pcr: int, offset: int) -> str:
    if pcr >= PCR_COUNT:
        _fail("malformed", f"an entry for PCR {pcr}", offset)
    if not name.isascii() or not name.decode("ascii").isprintable():
        _fail("malformed", "a template name that is no text", offset)
    return name.decode("ascii")


def _size(data: bytes, offset: int) -> int:
    (size,) = _U32.unpack_from(data, offset)
    _limit(size, MAX_DATA_BYTES, "bytes of template data", offset)
    return int(size)


def _old_size(data: bytes, offset: int) -> tuple[int, int]:
    (name_size,) = _U32.unpack_from(data, offset + HashAlg.SHA1.size)
    _limit(name_size, MAX_NAME_BYTES, "bytes of path", offset)
    return HashAlg.SHA1.size + _U32.size + name_size, offset


def _fields(template: str, data: bytes, base: int) -> Iterator[bytes]:
    cursor = Cursor(data, FORMAT, byteorder="little", base=base)
    if template == _OLD:
        yield cursor.take(HashAlg.SHA1.size)
    while cursor.remaining:
        yield cursor.sized(4, MAX_DATA_BYTES)


def parse_ascii(text: str) -> tuple[Entry, ...]:
    """A whole `ascii_runtime_measurements` of the templates ima, ima-ng, ima-sig and ima-buf; raises InputError."""
    _limit(len(text), MAX_LIST_BYTES, "characters", 0)
    lines = text.splitlines()
    _limit(len(lines), MAX_ENTRIES, "entries", 0)
    return tuple(_line(index, line) for index, line in enumerate(lines))


def _line(index: int, line: str) -> Entry:
    try:
        pcr, template_hash, template, file_digest, rest = line.split(" ", 4)
        fields = _ascii_fields(template, file_digest, rest)
        data = join_fields(template, fields)
        number, claimed = int(pcr), bytes.fromhex(template_hash)
        if not 0 <= number < PCR_COUNT or len(claimed) not in _DIGEST_SIZES:
            raise ValueError(line)
        return Entry(index, number, claimed, template, data, fields)
    except (ValueError, KeyError) as error:
        raise InputError(f"{FORMAT}-malformed", "a line that is no measurement", place=f"line {index + 1}") from error


def _ascii_fields(template: str, file_digest: str, rest: str) -> tuple[bytes, ...]:
    """KeyError for a template that has no ASCII form here, ValueError for fields that do not fit it."""
    if template == _OLD:
        return bytes.fromhex(file_digest), rest.encode()
    label, value = file_digest.split(":")
    labelled = label.encode() + b":\0" + bytes.fromhex(value)
    if {"ima-ng": False, "ima-sig": True, "ima-buf": True}[template]:
        path, last = rest.rsplit(" ", 1)
        return labelled, path.encode() + b"\0", bytes.fromhex(last)
    return labelled, rest.encode() + b"\0"


def _limit(number: int, limit: int, what: str, offset: int) -> None:
    if number > limit:
        _fail("limit", f"{number} {what} where at most {limit} are allowed", offset)


def _fail(fault: Fault, detail: str, offset: int) -> NoReturn:
    raise InputError(f"{FORMAT}-{fault}", detail, place=f"offset {offset}")
