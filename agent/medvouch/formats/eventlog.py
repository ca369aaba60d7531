"""The firmware's measurement log: TCG PC Client Platform Firmware Profile (PFP) 1.06, section 10.

    SHA-1 log                      crypto-agile log
    TCG_PCR_EVENT ...              TCG_PCR_EVENT holding the Spec ID event
                                   TCG_PCR_EVENT2 ...

    TCG_PCR_EVENT   pcr u32 | type u32 | SHA-1 digest [20]                        | size u32 | data
    TCG_PCR_EVENT2  pcr u32 | type u32 | count u32 | count x (alg u16 | digest)   | size u32 | data

All integers are little endian. Nothing in a log is trusted before it was replayed: see `attestation.replay`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor, Fault

FORMAT = "eventlog"
MAX_LOG_BYTES = 16 << 20
"""Largest log; the largest seen on real machines is below 1 MiB."""
MAX_EVENTS = 65536
MAX_EVENT_BYTES = 4 << 20
"""Largest data of one event."""
MAX_ALGORITHMS = len(HashAlg)
MAX_SPEC_ID_BYTES = 28 + 4 * MAX_ALGORITHMS + 256
PCR_COUNT = 24
"""PCRs of a PC Client TPM (PTP 1.06, table 5)."""

_SPEC_ID_SIGNATURE = b"Spec ID Event03\0"
STARTUP_LOCALITY_SIGNATURE = b"StartupLocality\0"
_NO_SHA1 = bytes(HashAlg.SHA1.size)
_EVENT = struct.Struct("<II20sI")
_EVENT2 = struct.Struct("<III")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")


class EventType(enum.IntEnum):
    """Event types of PFP 1.06, table 27, and of Intel TXT's predecessor in use by older firmware."""

    EV_PREBOOT_CERT = 0x0
    EV_POST_CODE = 0x1
    EV_UNUSED = 0x2
    EV_NO_ACTION = 0x3
    EV_SEPARATOR = 0x4
    EV_ACTION = 0x5
    EV_EVENT_TAG = 0x6
    EV_S_CRTM_CONTENTS = 0x7
    EV_S_CRTM_VERSION = 0x8
    EV_CPU_MICROCODE = 0x9
    EV_PLATFORM_CONFIG_FLAGS = 0xA
    EV_TABLE_OF_DEVICES = 0xB
    EV_COMPACT_HASH = 0xC
    EV_IPL = 0xD
    EV_IPL_PARTITION_DATA = 0xE
    EV_NONHOST_CODE = 0xF
    EV_NONHOST_CONFIG = 0x10
    EV_NONHOST_INFO = 0x11
    EV_OMIT_BOOT_DEVICE_EVENTS = 0x12
    EV_POST_CODE2 = 0x13
    EV_EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
    EV_EFI_VARIABLE_BOOT = 0x80000002
    EV_EFI_BOOT_SERVICES_APPLICATION = 0x80000003
    EV_EFI_BOOT_SERVICES_DRIVER = 0x80000004
    EV_EFI_RUNTIME_SERVICES_DRIVER = 0x80000005
    EV_EFI_GPT_EVENT = 0x80000006
    EV_EFI_ACTION = 0x80000007
    EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x80000008
    EV_EFI_HANDOFF_TABLES = 0x80000009
    EV_EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000000A
    EV_EFI_HANDOFF_TABLES2 = 0x8000000B
    EV_EFI_VARIABLE_BOOT2 = 0x8000000C
    EV_EFI_GPT_EVENT2 = 0x8000000D
    EV_EFI_HCRTM_EVENT = 0x80000010
    EV_EFI_VARIABLE_AUTHORITY = 0x800000E0
    EV_EFI_SPDM_FIRMWARE_BLOB = 0x800000E1
    EV_EFI_SPDM_FIRMWARE_CONFIG = 0x800000E2
    EV_EFI_SPDM_DEVICE_POLICY = 0x800000E3
    EV_EFI_SPDM_DEVICE_AUTHORITY = 0x800000E4


NO_ACTION = int(EventType.EV_NO_ACTION)
_NAMES = {int(member): member.name for member in EventType}


def type_name(event_type: int) -> str:
    """`EV_...`, or the number in hexadecimal where the profile names none."""
    return _NAMES.get(event_type) or f"{event_type:#010x}"


class Event(NamedTuple):
    """One event. `index` counts as tpm2_eventlog does (a Spec ID event is number 0), `offset` is in bytes.

    A tuple: a frozen dataclass takes longer to make than all else that is read of an event.
    """

    index: int  # type: ignore[assignment]  # tuple.index() is given up
    pcr: int
    type: int
    digests: Mapping[HashAlg, bytes]
    data: bytes
    offset: int

    @property
    def measured(self) -> bool:
        """Whether the event was extended into its PCR; EV_NO_ACTION only informs."""
        return self.type != NO_ACTION

    @property
    def startup_locality(self) -> int | None:
        """The locality of TPM2_Startup, where this is that event (PFP 10.4.5.3)."""
        if self.measured or self.pcr != 0 or len(self.data) != 17:
            return None
        return self.data[16] if self.data.startswith(STARTUP_LOCALITY_SIGNATURE) else None

    def encode(self) -> bytes:
        """TCG_PCR_EVENT2."""
        digests = b"".join(_U16.pack(bank) + digest for bank, digest in self.digests.items())
        head = _EVENT2.pack(self.pcr, self.type, len(self.digests))
        return head + digests + _U32.pack(len(self.data)) + self.data

    def encode_sha1(self) -> bytes:
        """TCG_PCR_EVENT."""
        return _EVENT.pack(self.pcr, self.type, self.digests[HashAlg.SHA1], len(self.data)) + self.data


@dataclass(frozen=True)
class SpecId:
    """TCG_EfiSpecIdEvent (PFP 10.4.5.1): which banks the log serves.

    signature [16] | platform_class u32 | minor u8 | major u8 | errata u8 | uintn_size u8 | count u32 |
    count x (alg u16 | size u16) | vendor_info size u8 | vendor_info
    """

    algorithms: tuple[HashAlg, ...]
    platform_class: int = 0
    version: tuple[int, int, int] = (2, 0, 0)
    """major, minor, errata"""
    uintn_size: int = 2
    """1 for 32-bit, 2 for 64-bit firmware"""
    vendor_info: bytes = b""
    vendor_info_inside: bool = True
    """False where the event's size leaves the vendor information out, as some firmware writes it"""

    @classmethod
    def parse(cls, data: bytes, *, size: int, base: int = 0) -> SpecId:
        """From the bytes of a log from its offset `base` on, of which the event claims `size`."""
        cursor = Cursor(data, FORMAT, byteorder="little", base=base)
        if cursor.take(len(_SPEC_ID_SIGNATURE)) != _SPEC_ID_SIGNATURE:
            cursor.fail("malformed", "no Spec ID event")
        platform_class = cursor.u32()
        minor, major, errata, uintn_size = cursor.take(4)
        algorithms = tuple(_algorithm(cursor) for _ in range(cursor.count(4, MAX_ALGORITHMS)))
        if not algorithms or len(set(algorithms)) != len(algorithms):
            cursor.fail("malformed", "a Spec ID event must name each bank once")
        fixed = cursor.offset + 1
        vendor_info = cursor.sized(1, 255)
        if size not in (cursor.offset, fixed):
            cursor.fail("trailing" if size > cursor.offset else "truncated", f"a Spec ID event of {size} bytes")
        version = (major, minor, errata)
        return cls(algorithms, platform_class, version, uintn_size, vendor_info, size == cursor.offset)

    @property
    def size(self) -> int:
        """What the event's header says of its size."""
        return len(self.encode()) - (0 if self.vendor_info_inside else len(self.vendor_info))

    def encode(self) -> bytes:
        """The event's data with its vendor information."""
        major, minor, errata = self.version
        head = struct.pack("<I4BI", self.platform_class, minor, major, errata, self.uintn_size, len(self.algorithms))
        banks = b"".join(struct.pack("<HH", bank, bank.size) for bank in self.algorithms)
        return _SPEC_ID_SIGNATURE + head + banks + bytes([len(self.vendor_info)]) + self.vendor_info


def _algorithm(cursor: Cursor) -> HashAlg:
    identifier, size = cursor.u16(), cursor.u16()
    try:
        bank = HashAlg(identifier)
    except ValueError:
        cursor.fail("malformed", f"unknown hash algorithm {identifier:#06x}")
    if size != bank.size:
        cursor.fail("malformed", f"{bank.label} digests of {size} bytes")
    return bank


@dataclass(frozen=True)
class EventLog:
    """A whole log; `spec` is None for a log that only knows SHA-1. The Spec ID event is not among the events."""

    spec: SpecId | None
    events: tuple[Event, ...]

    @property
    def banks(self) -> tuple[HashAlg, ...]:
        """The banks that the log serves."""
        return self.spec.algorithms if self.spec else (HashAlg.SHA1,)

    @property
    def startup_locality(self) -> int:
        """Locality of TPM2_Startup, which is the first value of PCR 0: 0, 3, or 4 after a hardware CRTM.

        Only what stands before the first measurement into PCR 0 counts (PFP 10.4.5.3 and 9.2.4).
        """
        for event in self.events:
            if event.pcr != 0:
                continue
            if (locality := event.startup_locality) is not None:
                return locality
            if event.measured:
                return 4 if event.type == EventType.EV_EFI_HCRTM_EVENT else 0
        return 0

    def encode(self) -> bytes:
        """The log's bytes."""
        if self.spec is None:
            return b"".join(event.encode_sha1() for event in self.events)
        spec = self.spec.encode()
        head = _EVENT.pack(0, EventType.EV_NO_ACTION, _NO_SHA1, self.spec.size)
        return head + spec + b"".join(event.encode() for event in self.events)


def parse(data: bytes) -> EventLog:
    """A whole log; raises InputError `eventlog-truncated`, `-trailing`, `-limit` or `-malformed`.

    An empty log is truncated: every machine with a TPM measures something. A log cut exactly between two events is
    a well-formed shorter log; only the replay against the PCRs tells.
    """
    if len(data) > MAX_LOG_BYTES:
        _fail("limit", f"{len(data)} bytes where at most {MAX_LOG_BYTES} are allowed", 0)
    try:
        pcr, event_type, digest, size = _EVENT.unpack_from(data)
        if event_type != EventType.EV_NO_ACTION or not data.startswith(_SPEC_ID_SIGNATURE, _EVENT.size):
            return EventLog(None, tuple(_sha1_events(data)))
        if pcr != 0 or digest != _NO_SHA1:
            _fail("malformed", "the Spec ID event has a digest or a PCR", 0)
        if size > MAX_EVENT_BYTES or size > len(data) - _EVENT.size:
            _refuse_event(0, size, len(data) - _EVENT.size, 0)
        spec = SpecId.parse(data[_EVENT.size : _EVENT.size + MAX_SPEC_ID_BYTES], size=size, base=_EVENT.size)
        return EventLog(spec, tuple(_agile_events(data, _EVENT.size + len(spec.encode()), spec.algorithms)))
    except struct.error as error:
        raise InputError(f"{FORMAT}-truncated", "the log ends within an event", place=f"byte {len(data)}") from error


def _sha1_events(data: bytes) -> Iterator[Event]:
    """Reads past the end surface as struct.error."""
    offset, end, index = 0, len(data), 0
    while offset < end:
        start = offset
        pcr, event_type, digest, size = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size
        stop = offset + size
        if index > MAX_EVENTS or size > MAX_EVENT_BYTES or stop > end:
            _refuse_event(index, size, end - offset, start)
        yield Event(index, pcr, event_type, {HashAlg.SHA1: digest}, data[offset:stop], start)
        offset = stop
        index += 1


_new = tuple.__new__
"""Of a named tuple: its own __new__ only counts the arguments first."""


def _agile_events(data: bytes, offset: int, algorithms: tuple[HashAlg, ...]) -> Iterator[Event]:
    """As `_sha1_events`. Nearly all events have the digests of all banks in their order: those are read at once."""
    usual = struct.Struct("<III" + "".join(f"H{bank.size}s" for bank in algorithms) + "I")
    identifiers, banks = tuple(map(int, algorithms)), len(algorithms)
    end, index, width = len(data), 1, usual.size
    while offset < end:
        start = offset
        head = usual.unpack_from(data, offset) if offset + width <= end else ()
        if head and head[2] == banks and head[3:-1:2] == identifiers:
            pcr, event_type, size = head[0], head[1], head[-1]
            digests = dict(zip(algorithms, head[4:-1:2], strict=True))
            offset += width
        else:
            pcr, event_type, digests, size, offset = _unusual(data, offset, index, algorithms)
        stop = offset + size
        if index > MAX_EVENTS or size > MAX_EVENT_BYTES or stop > end:
            _refuse_event(index, size, end - offset, start)
        yield _new(Event, (index, pcr, event_type, digests, data[offset:stop], start))
        offset = stop
        index += 1


def _unusual(
    data: bytes, start: int, index: int, algorithms: tuple[HashAlg, ...]
) -> tuple[int, int, dict[HashAlg, bytes], int, int]:
    """An event's head with fewer digests, or in another order: PCR, type, digests, size of the data and its offset.

    A digest that is cut short shows when the size after it cannot be read.
    """
    sizes = {int(bank): (bank, bank.size) for bank in algorithms}
    pcr, event_type, count = _EVENT2.unpack_from(data, start)
    if not 0 < count <= len(algorithms):
        _fail("malformed", f"event {index} has {count} digests in a log of {len(algorithms)} banks", start)
    offset = start + _EVENT2.size
    digests: dict[HashAlg, bytes] = {}
    for _ in range(count):
        (identifier,) = _U16.unpack_from(data, offset)
        if identifier not in sizes:
            _fail("malformed", f"event {index} has a digest of the undeclared bank {identifier:#06x}", offset)
        bank, size = sizes[identifier]
        digests[bank] = data[offset + 2 : offset + 2 + size]
        offset += 2 + size
    (size,) = _U32.unpack_from(data, offset)
    if len(digests) != count:
        _fail("malformed", f"event {index} has two digests of one bank", start)
    return pcr, event_type, digests, size, offset + _U32.size


def _refuse_event(index: int, size: int, left: int, start: int) -> NoReturn:
    """Of an event that must not be read: why not."""
    if index > MAX_EVENTS:
        _fail("limit", f"more than {MAX_EVENTS} events", start)
    if size > MAX_EVENT_BYTES:
        _fail("limit", f"an event of {size} bytes where at most {MAX_EVENT_BYTES} are allowed", start)
    _fail("truncated", f"an event of {size} bytes where {left} are left", start)


def _fail(fault: Fault, detail: str, offset: int) -> NoReturn:
    raise InputError(f"{FORMAT}-{fault}", detail, place=f"offset {offset}")
