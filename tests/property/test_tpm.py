"""Any structure comes back as it was; any bytes are parsed canonically or refused with InputError."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import Attest, AttestType, ClockInfo, NvInfo, PcrSelection, QuoteInfo, Signature
from medvouch.formats.tpm_public import NvAttribute, NvPublic, ObjectAttribute, Public
from support.tpms import ATTESTS, ECC_KEY, NAME, NV_INDEX, QUOTE, RSA_KEY, SIGNATURES


class Structure(Protocol):
    def encode(self) -> bytes: ...


PARSERS: list[Callable[[bytes], Structure]] = [
    Attest.parse,
    Signature.parse,
    PcrSelection.parse,
    Public.parse,
    NvPublic.parse,
]
SAMPLES = [s.encode() for s in (*ATTESTS, *SIGNATURES, QUOTE.selection, ECC_KEY, RSA_KEY, NV_INDEX)]

selections = st.dictionaries(st.sampled_from(HashAlg), st.sets(st.integers(0, 23))).map(PcrSelection.of)
clocks = st.builds(
    ClockInfo, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans()
)


@given(selections, st.binary(max_size=64), clocks, st.binary(max_size=66), st.integers(0, 2**64 - 1))
def test_quotes_come_back(
    selection: PcrSelection, digest: bytes, clock: ClockInfo, extra: bytes, firmware: int
) -> None:
    quote = Attest(AttestType.QUOTE, NAME, extra, clock, firmware, QuoteInfo(selection, digest))
    assert Attest.parse(quote.encode()) == quote


@given(clocks, st.integers(0, 2**16 - 1), st.binary(max_size=2048))
def test_nv_contents_come_back(clock: ClockInfo, offset: int, contents: bytes) -> None:
    certified = Attest(AttestType.NV, NAME, b"", clock, 0, NvInfo(NAME, offset, contents))
    assert Attest.parse(certified.encode()) == certified


@given(st.sets(st.sampled_from(list(ObjectAttribute))), st.binary(max_size=64), st.binary(max_size=66))
def test_keys_come_back(flags: set[ObjectAttribute], policy: bytes, x: bytes) -> None:
    attributes = ObjectAttribute(sum(flags))
    key = Public(HashAlg.SHA256, attributes, policy, ECC_KEY.parameters, (x, x))
    assert Public.parse(key.encode()) == key


@given(st.integers(0x01000000, 0x01FFFFFF), st.sets(st.sampled_from(list(NvAttribute))), st.integers(0, 2048))
def test_indexes_come_back(index: int, flags: set[NvAttribute], size: int) -> None:
    public = NvPublic(index, HashAlg.SHA384, NvAttribute(sum(flags)), b"", size)
    assert NvPublic.parse(public.encode()) == public


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__self__.__name__)
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes(parse: Callable[[bytes], Structure], data: bytes) -> None:
    with suppress(InputError):
        assert parse(data).encode() == data


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__self__.__name__)
@given(sample=st.sampled_from(SAMPLES), place=st.integers(0, 200), value=st.integers(0, 255))
def test_mutations(parse: Callable[[bytes], Structure], sample: bytes, place: int, value: int) -> None:
    data = bytearray(sample)
    data[place % len(data)] = value
    with suppress(InputError):
        assert parse(bytes(data)).encode() == bytes(data)
