"""The kernel's IMA measurement list, the binary one (Linux, security/integrity/ima/ima_fs.c); `ima_ascii` is the other.

    entry     pcr u32 | template hash [20] | name size u32 | template name | template data
    data      size u32 | fields, each (size u32 | bytes)
    `ima`     digest [20] | path size u32 | path            (the template of old kernels, without the sizes)

Integers are those of the machine, little endian on all that medvouch runs on. The list names SHA-1 template hashes
only; the kernel extends every bank with that bank's own hash of the same template data.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, NoReturn

from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Fault
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
_HEAD_BYTES = _HEAD.size
_U32 = struct.Struct("<I")
_read_u32 = _U32.unpack_from
OLD = "ima"
"""The template of old kernels, whose name is no format."""
FORMATS = {
    OLD: "d|n",
    "ima-ng": "d-ng|n-ng",
    "ima-sig": "d-ng|n-ng|sig",
    "ima-ngv2": "d-ngv2|n-ng",
    "ima-sigv2": "d-ngv2|n-ng|sig",
    "ima-buf": "d-ng|n-ng|buf",
    "ima-modsig": "d-ng|n-ng|sig|d-modsig|modsig",
    "evm-sig": "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode",
}
"""Fields of the kernel's named templates; any other name is itself such a format."""
_SHA1_SIZE = HashAlg.SHA1.size
_VIOLATION = bytes(_SHA1_SIZE)
_sha1 = HASHERS[HashAlg.SHA1]


_ABSENT = sys.maxsize


class _Shape(NamedTuple):
    """Where entries of a template have their name and their digest, _ABSENT where they have none."""

    name: int
    digest: int
    labelled: bool
    """Whether the digest is led by its algorithm's name."""


@lru_cache(maxsize=64)
def _shape(template: str) -> _Shape:
    names = field_names(template)

    def first(*kinds: str) -> int:
        return next((names.index(kind) for kind in kinds if kind in names), _ABSENT)

    return _Shape(first("n-ng", "n"), first("d", "d-ng", "d-ngv2"), "d" not in names)


@lru_cache(maxsize=64)
def _algorithm(label: bytes) -> str:
    """`sha256` of `sha256`, `ima:sha256` or `verity:sha256`."""
    return label.decode("ascii", "backslashreplace").rpartition(":")[2]


def _labelled(value: bytes) -> tuple[str, bytes] | None:
    label, separator, found = value.partition(b":\0")
    return (_algorithm(label), found) if separator else None


class Entry(NamedTuple):
    """One measurement; `data` is the template data as the list holds it, after its size. A tuple, as `Event` is."""

    index: int  # type: ignore[assignment]  # tuple.index() is given up
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
        return self.template_hash == _VIOLATION or not any(self.template_hash)

    @property
    def hashed(self) -> bytes:
        """The bytes whose hash is the template hash."""
        if self.template != OLD:
            return self.data
        file_digest, name = self.fields
        return file_digest + name.ljust(MAX_NAME_BYTES + 1, b"\0")

    @property
    def path(self) -> str:
        """File name, or what the kernel calls the measurement; empty where the template has none."""
        _, _, _, template, _, fields = self
        number, _, _ = _shape(template)
        return fields[number].rstrip(b"\0").decode("utf-8", "backslashreplace") if number < len(fields) else ""

    @property
    def signature(self) -> bytes | None:
        """The file's signature (security.ima), empty where it has none; None where the template has no such field."""
        return self._field("sig")

    @property
    def buffer(self) -> bytes | None:
        """What was measured in place of a file: a key, a command line, a policy; None where the template has none."""
        return self._field("buf")

    @property
    def appended_signature(self) -> bytes | None:
        """CMS that was appended to the file (modsig), empty where there is none; None without such a field."""
        return self._field("modsig")

    @property
    def unsigned_digest(self) -> tuple[str, bytes] | None:
        """As `file_digest`, of the file without the signature that was appended to it (d-modsig)."""
        return _labelled(self._field("d-modsig") or b"")

    @property
    def file_digest(self) -> tuple[str, bytes] | None:
        """(hash algorithm as the kernel names it, digest) of what was measured, or None where there is none."""
        _, _, _, template, _, fields = self
        _, number, labelled = _shape(template)
        if number >= len(fields):
            return None
        value = fields[number]
        if not labelled:
            return "sha1" if len(value) == _SHA1_SIZE else "md5", value
        return _labelled(value)

    @property
    def of_verity(self) -> bool:
        """Whether the digest is of fs-verity's Merkle tree and not of the file's bytes (templates with d-ngv2)."""
        value = self._field("d-ngv2")
        return value is not None and value.startswith(b"verity:")

    def _field(self, kind: str) -> bytes | None:
        """Value of the first field of this kind, as the kernel's template formats name them."""
        names = field_names(self.template)
        number = names.index(kind) if kind in names else len(self.fields)
        return self.fields[number] if number < len(self.fields) else None

    @property
    def template_algorithm(self) -> HashAlg | None:
        """The algorithm by which `template_hash` is the hash of the data; None where there is none, or a violation."""
        hashed, claimed = self.hashed, self.template_hash
        if len(claimed) == _SHA1_SIZE:
            return HashAlg.SHA1 if _sha1(hashed).digest() == claimed else None
        sized = (bank for bank in HASHERS if bank.size == len(claimed))
        return next((bank for bank in sized if digest(bank, hashed) == claimed), None)

    @property
    def size(self) -> int:
        """Bytes in the binary list."""
        return _HEAD_BYTES + len(self.template) + (0 if self.template == OLD else _U32.size) + len(self.data)

    def describe(self) -> str:
        """One printable line, for messages."""
        kind = "violation" if self.violation else self.template
        return printable(f"entry {self.index} {kind} {self.path}")

    def encode(self) -> bytes:
        """The entry in the binary list."""
        name = self.template.encode()
        size = b"" if self.template == OLD else _U32.pack(len(self.data))
        return _HEAD.pack(self.pcr, self.template_hash, len(name)) + name + size + self.data


def first_altered(entries: Iterable[Entry]) -> Entry | None:
    """The first entry, violations aside, whose template hash is not the hash of its data."""
    for entry in entries:
        _, _, claimed, template, data, _ = entry
        hashed = data if template != OLD else entry.hashed
        if _sha1(hashed).digest() != claimed and entry.template_algorithm is None and not entry.violation:
            return entry
    return None


def make(index: int, pcr: int, template: str, fields: tuple[bytes, ...]) -> Entry:
    """An entry with the template hash of its fields, as the kernel makes it."""
    data = join_fields(template, fields)
    unhashed = Entry(index, pcr, bytes(HashAlg.SHA1.size), template, data, fields)
    return Entry(index, pcr, digest(HashAlg.SHA1, unhashed.hashed), template, data, fields)


def join_fields(template: str, fields: tuple[bytes, ...]) -> bytes:
    """Template data of these fields."""
    if template == OLD:
        file_digest, name = fields
        return file_digest + _U32.pack(len(name)) + name
    return b"".join(_U32.pack(len(field)) + field for field in fields)


def encode(entries: tuple[Entry, ...]) -> bytes:
    """The binary list."""
    return b"".join(entry.encode() for entry in entries)


def parse_binary(data: bytes, *, first: int = 0) -> tuple[Entry, ...]:
    """A whole `binary_runtime_measurements`, or the rest of one from entry `first` on.

    Raises InputError `ima-truncated`, `-limit` or `-malformed`.

    A list cut between two entries is a well-formed shorter list; only the replay against PCR 10 tells.
    """
    _limit(len(data), MAX_LIST_BYTES, "bytes", 0)
    try:
        return tuple(_entries(data, first))
    except struct.error as error:
        raise InputError(f"{FORMAT}-truncated", "the list ends within an entry", place=f"byte {len(data)}") from error


_new = tuple.__new__
"""Of a named tuple: its own __new__ only counts the arguments first."""


def _entries(data: bytes, first: int) -> Iterator[Entry]:
    """Reads past the end surface as struct.error. Most entries have the template of the one before."""
    offset, end, index, last = 0, len(data), first, first + MAX_ENTRIES
    name, template, usual, width = b"", "", _HEAD, sys.maxsize
    while offset < end:
        start = offset
        head = usual.unpack_from(data, offset) if offset + width <= end else None
        if head and head[3] == name and head[2] == len(name):
            pcr, template_hash, _, _, size = head
            offset += width
        else:
            pcr, template_hash, name, size, offset = _head(data, start)
            template = _template(name, start)
            usual = _usual(len(name))
            width = usual.size if template != OLD else sys.maxsize
        stop = offset + size
        if index >= last or pcr >= PCR_COUNT or stop > end or size > MAX_DATA_BYTES:
            _refuse_entry(index - first, pcr, start)
            _refuse_data(size, end - offset, start)
        body = data[offset:stop]
        yield _new(Entry, (index, pcr, template_hash, template, body, _fields(template, body, offset)))
        offset = stop
        index += 1


@lru_cache(maxsize=MAX_NAME_BYTES + 1)
def _usual(name_size: int) -> struct.Struct:
    """The head of entries whose template's name is so long, with the size of the data."""
    return struct.Struct(f"<I20sI{name_size}sI")


def _head(data: bytes, start: int) -> tuple[int, bytes, bytes, int, int]:
    """PCR, template hash, name of the template, size of the data, and its offset."""
    pcr, template_hash, name_size = _HEAD.unpack_from(data, start)
    _limit(name_size, MAX_NAME_BYTES, "bytes of template name", start)
    offset = start + _HEAD_BYTES + name_size
    name = data[start + _HEAD_BYTES : offset]
    if name == OLD.encode():
        (path_size,) = _read_u32(data, offset + _SHA1_SIZE)
        _limit(path_size, MAX_NAME_BYTES, "bytes of path", offset)
        return pcr, template_hash, name, _SHA1_SIZE + _U32.size + path_size, offset
    (size,) = _read_u32(data, offset)
    return pcr, template_hash, name, size, offset + _U32.size


def _refuse_entry(number: int, pcr: int, offset: int) -> None:
    """Of an entry that must not be read, where it is not for the size of its data."""
    _limit(number + 1, MAX_ENTRIES, "entries", offset)
    if pcr >= PCR_COUNT:
        _fail("malformed", f"an entry for PCR {pcr}", offset)


def _refuse_data(size: int, left: int, offset: int) -> NoReturn:
    _limit(size, MAX_DATA_BYTES, "bytes of template data", offset)
    _fail("truncated", f"{size} bytes wanted, {left} left", offset)


def _template(name: bytes, offset: int) -> str:
    if not name.isascii() or not name.decode("ascii").isprintable():
        _fail("malformed", "a template name that is no text", offset)
    return name.decode("ascii")


def field_names(template: str) -> list[str]:
    """Kinds of the fields that entries of this template have, in order."""
    return FORMATS.get(template, template).split("|")


def _fields(template: str, data: bytes, base: int) -> tuple[bytes, ...]:
    """Reads past the end surface as struct.error."""
    fields = [] if template != OLD else [data[:_SHA1_SIZE]]
    start, end = len(fields) * _SHA1_SIZE, len(data)
    while start < end:
        (size,) = _read_u32(data, start)
        start += 4
        stop = start + size
        if stop > end:
            _refuse_data(size, end - start, base + start)
        fields.append(data[start:stop])
        start = stop
    return tuple(fields)


def _limit(number: int, limit: int, what: str, offset: int) -> None:
    if number > limit:
        _fail("limit", f"{number} {what} where at most {limit} are allowed", offset)


def _fail(fault: Fault, detail: str, offset: int) -> NoReturn:
    raise InputError(f"{FORMAT}-{fault}", detail, place=f"offset {offset}")
