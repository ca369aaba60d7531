"""Quote records and reference values: round trips, and no other errors than theirs for mutated input."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from medvouch.attestation.evidence import QuoteRecord, UnverifiedEvidence, encode_evidence
from medvouch.attestation.quotes import PcrValues
from medvouch.errors import InputError, Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.reference import Mode, PcrReference, ReferenceEvent, ReferenceValues
from medvouch.formats.tpm import SignedAttest

octets = st.binary(max_size=80)
attests = st.builds(SignedAttest, octets, octets)
texts = st.text(min_size=1, max_size=64)


@st.composite
def pcr_values(draw: st.DrawFn) -> PcrValues:
    banks = draw(st.sets(st.sampled_from(HashAlg)))
    return {
        bank: draw(st.dictionaries(st.integers(0, 23), st.binary(min_size=bank.size, max_size=bank.size), max_size=4))
        for bank in banks
    }


records = st.builds(QuoteRecord, attests, pcr_values(), octets, octets, attests)
reference_events = st.builds(
    ReferenceEvent,
    texts,
    st.dictionaries(st.sampled_from([bank.label for bank in HashAlg]), st.binary(max_size=64), max_size=3),
)
pcr_references = st.lists(
    st.builds(
        PcrReference,
        st.integers(0, 23),
        st.sampled_from(Mode),
        st.lists(reference_events, max_size=3).map(tuple),
    ),
    max_size=4,
    unique_by=lambda row: row.pcr,
).map(lambda rows: tuple(sorted(rows, key=lambda row: row.pcr)))
references = st.builds(
    ReferenceValues, texts, texts, st.integers(0, 2**32 - 1), st.lists(texts, max_size=8).map(tuple), pcr_references
)


@given(records)
def test_quote_records_come_back(record: QuoteRecord) -> None:
    parsed = QuoteRecord.parse(record.encode())
    assert parsed == record
    assert parsed.encode() == record.encode()


@given(references)
def test_reference_values_come_back(values: ReferenceValues) -> None:
    parsed = ReferenceValues.parse(values.encode())
    assert parsed == values
    assert parsed.encode() == values.encode()


@given(octets, records, octets, st.none() | octets, st.none() | octets)
def test_evidence_comes_back(
    eat: bytes, record: QuoteRecord, uefi: bytes, systemd: bytes | None, ima: bytes | None
) -> None:
    data = encode_evidence(eat, record, uefi, systemd, ima)
    assert UnverifiedEvidence.parse(data) == UnverifiedEvidence(eat, record, uefi, systemd, ima, data)


@given(records, references, st.data())
def test_mutations_raise_nothing_unexpected(record: QuoteRecord, values: ReferenceValues, data: Any) -> None:
    evidence = encode_evidence(b"eat", record, b"uefi", None, b"ima")
    parsers: list[tuple[Any, bytes, tuple[type[Exception], ...]]] = [
        (QuoteRecord.parse, record.encode(), (InputError,)),
        (ReferenceValues.parse, values.encode(), (InputError,)),
        (UnverifiedEvidence.parse, evidence, (InputError, Refusal)),
    ]
    for parse, encoded, expected in parsers:
        mutated = bytearray(encoded)
        mutated[data.draw(st.integers(0, len(mutated) - 1))] ^= data.draw(st.integers(1, 255))
        with contextlib.suppress(*expected):
            parse(bytes(mutated))
