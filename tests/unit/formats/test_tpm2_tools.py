"""PCR values as tpm2-tools write them; that the tools agree is held by tests/integration/test_tpm2_tools.py."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection
from medvouch.formats.tpm2_tools import (
    MAX_BYTES,
    encode_serialized,
    is_serialized,
    parse,
    parse_serialized,
    parse_values,
)
from support.refusing import assert_input_refused
from support.truncation import assert_every_truncation_refused

VALUES = {
    HashAlg.SHA384: {pcr: bytes([pcr]) * 48 for pcr in (0, 7, 23)},
    HashAlg.SHA256: {pcr: bytes([pcr]) * 32 for pcr in range(16)},
}
SELECTION = PcrSelection.of(VALUES)
SERIALIZED = encode_serialized(VALUES)
ALONE = b"".join(value for pcrs in VALUES.values() for value in pcrs.values())


def changed(offset: int, data: bytes) -> bytes:
    return SERIALIZED[:offset] + data + SERIALIZED[offset + len(data) :]


def test_the_layout_is_that_of_the_structures_in_memory() -> None:
    assert len(SERIALIZED) == 136 + 3 * 532
    assert struct.unpack_from("<IHB4sx", SERIALIZED) == (2, 0x000C, 3, b"\x81\0\x80\0")
    assert struct.unpack_from("<II", SERIALIZED, 132) == (3, 8)
    assert struct.unpack_from("<H48s", SERIALIZED, 140) == (48, bytes(48))


def test_both_forms_say_the_same() -> None:
    assert parse_serialized(SERIALIZED) == parse(SERIALIZED, SELECTION) == VALUES
    assert parse_values(ALONE, SELECTION) == parse(ALONE, SELECTION) == VALUES


def test_serialized_values_bring_their_own_labels() -> None:
    """Whether they are those of the quote is for its check to say."""
    assert parse(SERIALIZED, PcrSelection.of({HashAlg.SHA256: [0]})) == VALUES


def test_values_that_are_as_long_as_a_serialized_file() -> None:
    """Only what a serialized one begins with tells: 17 SHA-1 values, 9 SHA-256 and 1 SHA-384 are 136 + 532 bytes."""
    pcrs = {HashAlg.SHA1: range(14), HashAlg.SHA256: range(9), HashAlg.SHA384: range(2)}
    alone = b"\xff" * (14 * 20 + 9 * 32 + 2 * 48)
    assert not is_serialized(alone)
    single = encode_serialized({HashAlg.SHA256: {0: bytes(32)}})
    assert len(single) == len(alone) + 4
    assert is_serialized(single)
    assert not is_serialized(b"\xff" * len(single))
    assert parse(alone, PcrSelection.of(pcrs))[HashAlg.SHA1][0] == b"\xff" * 20


def test_every_truncation_is_refused() -> None:
    assert_every_truncation_refused(parse_serialized, SERIALIZED)
    assert_every_truncation_refused(lambda data: parse_values(data, SELECTION), ALONE)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (SERIALIZED + b"\0", "pcrs-trailing"),
        (changed(0, b"\x11"), "pcrs-limit"),
        (changed(4, b"\x00\x01"), "pcrs-malformed"),
        (changed(4, b"\x0b\x00"), "pcrs-malformed"),
        (changed(6, b"\x05"), "pcrs-malformed"),
        (changed(6, b"\x04\0\0\0\x01"), "pcrs-malformed"),
        (changed(7, b"\x83"), "pcrs-malformed"),
        (changed(132, b"\x31"), "pcrs-limit"),
        (changed(136, b"\x09"), "pcrs-limit"),
        (changed(140, b"\x20"), "pcrs-malformed"),
        (changed(140, b"\x41"), "pcrs-malformed"),
    ],
)
def test_malformed(data: bytes, code: str) -> None:
    assert_input_refused(code, parse_serialized, data)


def test_values_alone_that_are_too_many() -> None:
    assert_input_refused("pcrs-trailing", parse_values, ALONE + b"\0", SELECTION)


@given(st.binary(max_size=MAX_BYTES), st.binary(max_size=200))
def test_any_bytes_end_in_a_declared_error(junk: bytes, tail: bytes) -> None:
    for data in (junk, SERIALIZED[: len(tail)] + tail + SERIALIZED[2 * len(tail) :]):
        with suppress(InputError):
            parse(data, SELECTION)


@given(
    st.dictionaries(
        st.sampled_from([HashAlg.SHA1, HashAlg.SHA256, HashAlg.SHA512]), st.sets(st.integers(0, 23)), max_size=3
    ),
    st.randoms(use_true_random=False),
)
def test_what_is_written_is_read(selected: dict[HashAlg, set[int]], random: object) -> None:
    values = {
        bank: {pcr: random.randbytes(bank.size) for pcr in sorted(pcrs)}  # type: ignore[attr-defined]
        for bank, pcrs in selected.items()
    }
    assert parse_serialized(encode_serialized(values)) == values
