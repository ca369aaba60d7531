"""PCR values as tpm2-tools write them beside a quote (`tpm2_quote --pcrs`, `--pcrs_format`).

Errors are InputError with codes `pcrs-truncated`, `pcrs-trailing`, `pcrs-limit` and `pcrs-malformed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor
from medvouch.formats.tpm import MAX_DIGEST_BYTES, MAX_PCR_BANKS, PCR_SELECT_BYTES, PcrSelection, member

_FORMAT = "pcrs"
_SELECT_BYTES, _SELECT_PADDING = 4, 1
"""TPMS_PCR_SELECTION in memory: pcrSelect[TPM2_PCR_SELECT_MAX], and what aligns the next one."""
_LIST_DIGESTS = 8
"""TPML_DIGEST in memory has room for as many."""
_HEADER_BYTES = 4 + MAX_PCR_BANKS * (2 + 1 + _SELECT_BYTES + _SELECT_PADDING) + 4
_LIST_BYTES = 4 + _LIST_DIGESTS * (2 + MAX_DIGEST_BYTES)
_MAX_LISTS = 24 * MAX_PCR_BANKS // _LIST_DIGESTS
MAX_BYTES = _HEADER_BYTES + _MAX_LISTS * _LIST_BYTES

Values = Mapping[HashAlg, Mapping[int, bytes]]


def parse(data: bytes, quoted: PcrSelection) -> Values:
    """Either form: `serialized`, or `values`, which says of none whose it is and takes that from the quote."""
    whole = sum(bank.size * len(pcrs) for bank, pcrs in quoted.banks)
    if len(data) == whole and not is_serialized(data):
        return parse_values(data, quoted)
    return parse_serialized(data)


def is_serialized(data: bytes) -> bool:
    """Whether it is as long as that form is, and names at most as many banks as that has room for."""
    rest = len(data) - _HEADER_BYTES
    return rest >= 0 and rest % _LIST_BYTES == 0 and int.from_bytes(data[:4], "little") <= MAX_PCR_BANKS


def parse_values(data: bytes, quoted: PcrSelection) -> Values:
    """The digests alone, one after another in the order of the selection."""
    cursor = Cursor(data, _FORMAT)
    values = {bank: {pcr: cursor.take(bank.size) for pcr in pcrs} for bank, pcrs in quoted.banks}
    cursor.done()
    return values


def parse_serialized(data: bytes) -> Values:
    """The structures of the TSS as they stand in memory, numbers in little-endian order.

    | TPML_PCR_SELECTION, 132 bytes | number of lists u32 | TPML_DIGEST, 532 bytes | ...
    """
    cursor = Cursor(data, _FORMAT, byteorder="little")
    selection = _take_selection(cursor)
    digests = [digest for _ in range(cursor.count(4, _MAX_LISTS)) for digest in _take_list(cursor)]
    cursor.done()
    wanted = [(bank, pcr) for bank, pcrs in selection for pcr in pcrs]
    if len(digests) != len(wanted):
        cursor.fail("malformed", f"{len(digests)} values of {len(wanted)} PCRs")
    values: dict[HashAlg, dict[int, bytes]] = {bank: {} for bank, _ in selection}
    for (bank, pcr), digest in zip(wanted, digests, strict=True):
        if len(digest) != bank.size:
            cursor.fail("malformed", f"{len(digest)} bytes as the value of {bank.label}:{pcr}")
        values[bank][pcr] = digest
    return values


def encode_serialized(values: Values) -> bytes:
    """The inverse of `parse_serialized`, for tpm2_checkquote."""
    selections = b"".join(
        bank.to_bytes(2, "little")
        + bytes([PCR_SELECT_BYTES])
        + sum(1 << pcr for pcr in pcrs).to_bytes(_SELECT_BYTES, "little")
        + bytes(_SELECT_PADDING)
        for bank, pcrs in values.items()
    )
    header = len(values).to_bytes(4, "little") + selections
    digests = [pcrs[pcr] for pcrs in values.values() for pcr in sorted(pcrs)]
    lists = [digests[first : first + _LIST_DIGESTS] for first in range(0, len(digests), _LIST_DIGESTS)]
    encoded = b"".join(_encode_list(chunk) for chunk in lists)
    return header.ljust(_HEADER_BYTES - 4, b"\0") + len(lists).to_bytes(4, "little") + encoded


def _encode_list(digests: Sequence[bytes]) -> bytes:
    body = b"".join(len(digest).to_bytes(2, "little") + digest.ljust(MAX_DIGEST_BYTES, b"\0") for digest in digests)
    return (len(digests).to_bytes(4, "little") + body).ljust(_LIST_BYTES, b"\0")


def _take_selection(cursor: Cursor) -> list[tuple[HashAlg, list[int]]]:
    count = cursor.count(4, MAX_PCR_BANKS)
    banks: list[tuple[HashAlg, list[int]]] = []
    for _ in range(count):
        bank = member(cursor, HashAlg, cursor.u16(), "PCR bank")
        if bank in dict(banks):
            cursor.fail("malformed", f"the bank {bank.label} stands twice")
        if (size := cursor.u8()) > _SELECT_BYTES:
            cursor.fail("malformed", f"a PCR bitmap of {size} bytes")
        bits = int.from_bytes(cursor.take(_SELECT_BYTES)[:size], "little")
        cursor.take(_SELECT_PADDING)
        banks.append((bank, [pcr for pcr in range(8 * PCR_SELECT_BYTES) if bits >> pcr & 1]))
        if bits >> 8 * PCR_SELECT_BYTES:
            cursor.fail("malformed", "a PCR above 23")
    cursor.take((MAX_PCR_BANKS - count) * (2 + 1 + _SELECT_BYTES + _SELECT_PADDING))
    return banks


def _take_list(cursor: Cursor) -> list[bytes]:
    count = cursor.count(4, _LIST_DIGESTS)
    digests = []
    for number in range(_LIST_DIGESTS):
        size = cursor.u16()
        buffer = cursor.take(MAX_DIGEST_BYTES)
        if number < count:
            if size > MAX_DIGEST_BYTES:
                cursor.fail("malformed", f"a digest of {size} bytes")
            digests.append(buffer[:size])
    return digests
