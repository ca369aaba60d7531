"""Evidence as bytes: what is read back, and what is refused before anything is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from medvouch.attestation import refusals
from medvouch.attestation.evidence import (
    COLLECTION_TYPE,
    MAX_CERTIFICATE_BYTES,
    MAX_EVIDENCE_BYTES,
    MAX_STRUCTURE_BYTES,
    MEDIA_TYPES,
    REQUIRED_LABELS,
    QuoteRecord,
    UnverifiedEvidence,
    encode_evidence,
    evidence_digest,
    qualifying_data,
)
from medvouch.errors import InputError, RefusalKind
from medvouch.formats import cbor
from medvouch.formats.cmw import MAX_RECORDS, Collection, Indicator, Record
from medvouch.formats.tpm import SignedAttest
from support.boots import SHA1, SHA256, SHA384
from support.evidence import Change, evidence
from support.refusing import assert_refused
from support.truncation import assert_every_truncation_refused

RECORD = QuoteRecord(
    quote=SignedAttest(b"attest", b"signature"),
    pcrs={SHA1: {0: bytes(20)}, SHA256: {0: bytes(32), 23: b"\1" * 32}, SHA384: {}},
    lak_certificate=b"certificate",
    ldevid_public=b"public",
    ldevid_certify=SignedAttest(b"certify", b"its signature"),
)


def test_quote_record_there_and_back() -> None:
    assert QuoteRecord.parse(RECORD.encode()) == RECORD
    assert QuoteRecord.parse(replace(RECORD, pcrs={}).encode()).pcrs == {}
    assert_every_truncation_refused(QuoteRecord.parse, RECORD.encode())


def test_quote_record_keys() -> None:
    assert cbor.decode(RECORD.encode()) == {
        1: b"attest",
        2: b"signature",
        3: {4: {0: bytes(20)}, 11: {0: bytes(32), 23: b"\1" * 32}, 12: {}},
        4: b"certificate",
        5: b"public",
        6: b"certify",
        7: b"its signature",
    }


def malformed(change: Callable[[dict[int, Any]], object]) -> InputError:
    fields = cbor.decode(RECORD.encode())
    change(fields)
    with pytest.raises(InputError) as caught:
        QuoteRecord.parse(cbor.encode(fields))
    return caught.value


@pytest.mark.parametrize("key", range(1, 8))
def test_quote_record_has_each_field_with_its_type(key: int) -> None:
    assert malformed(lambda fields: fields.pop(key)).code == "quote-malformed"
    for value in (None, 1, "text", [b""], True, {} if key != 3 else b""):
        error = malformed(lambda fields, value=value: fields.update({key: value}))  # type: ignore[misc]
        assert (error.code, error.place) == ("quote-malformed", f"key {key}")


@pytest.mark.parametrize("other", [0, 8, -1, "1", b"1"])
def test_quote_record_has_no_other_field(other: int | str | bytes) -> None:
    assert malformed(lambda fields: fields.update({other: b""})).code == "quote-malformed"


@pytest.mark.parametrize("data", [cbor.encode(value) for value in ([1, 2, 3, 4, 5, 6, 7], b"", {}, 7, None)])
def test_quote_record_is_a_map(data: bytes) -> None:
    with pytest.raises(InputError, match="quote-malformed"):
        QuoteRecord.parse(data)


@pytest.mark.parametrize("key", [1, 2, 4, 5, 6, 7])
def test_quote_record_limits(key: int) -> None:
    limit = MAX_CERTIFICATE_BYTES if key == 4 else MAX_STRUCTURE_BYTES
    fields = cbor.decode(RECORD.encode())
    QuoteRecord.parse(cbor.encode(fields | {key: bytes(limit)}))
    error = malformed(lambda fields: fields.update({key: bytes(limit + 1)}))
    assert (error.code, error.place) == ("quote-limit", f"key {key}")


@pytest.mark.parametrize(
    "pcrs",
    [
        {0x10: {}},
        {-11: {}},
        {"sha256": {}},
        {b"\x0b": {}},
        {11: []},
        {11: None},
        {11: {24: bytes(32)}},
        {11: {-1: bytes(32)}},
        {11: {"0": bytes(32)}},
        {11: {0: bytes(31)}},
        {11: {0: bytes(33)}},
        {11: {0: bytes(20)}},
        {11: {0: b""}},
        {11: {0: "0" * 32}},
        {11: {0: 0}},
        {12: {0: bytes(32)}},
        {4: {0: bytes(20)}, 11: {0: bytes(20)}},
    ],
    ids=str,
)
def test_pcr_values_are_digests_of_their_bank_by_number(pcrs: object) -> None:
    assert malformed(lambda fields: fields.update({3: pcrs})).code == "quote-malformed"


def test_parsed_evidence_holds_the_records() -> None:
    data = encode_evidence(b"eat", RECORD, b"uefi", b"", None)
    parsed = UnverifiedEvidence.parse(data)
    assert parsed == UnverifiedEvidence(b"eat", RECORD, b"uefi", b"", None, data)
    assert evidence_digest(data) == hashlib.sha256(data).digest()
    assert Collection.parse(data).type == COLLECTION_TYPE
    assert_every_truncation_refused(UnverifiedEvidence.parse, data)


def test_what_a_quote_signs_over() -> None:
    """Each part counts, and none can take over bytes of its neighbour."""
    claims = hashlib.sha256(b"claims").digest()
    encoded = b"\x84\x6amedvouch/1\x69collector\x48eightoct\x58\x20" + claims
    assert qualifying_data("collector", b"eightoct", b"claims") == hashlib.sha256(encoded).digest()


def with_records(**records: Record | Collection | None) -> Change:
    def change(collection: Collection) -> Collection:
        kept = {label: record for label, record in collection.records.items() if label not in records}
        return replace(collection, records=kept | {k: v for k, v in records.items() if v is not None})

    return "collection", change


def refused(kind: RefusalKind, change: Change, place: str) -> None:
    assert assert_refused(kind, UnverifiedEvidence.parse, evidence(change)).place == place


@pytest.mark.parametrize("label", sorted(REQUIRED_LABELS))
def test_a_required_record_is_missing(label: str) -> None:
    refused(refusals.EVIDENCE_LABEL_MISSING, with_records(**{label: None}), label)


@pytest.mark.parametrize("label", ["systemd", "ima"])
def test_an_optional_record_is_missing(label: str) -> None:
    assert getattr(UnverifiedEvidence.parse(evidence(with_records(**{label: None}))), label) is None


@pytest.mark.parametrize("label", ["ledger", "Eat", "", 1])
def test_a_record_that_nothing_binds(label: str | int) -> None:
    def change(collection: Collection) -> Collection:
        return replace(collection, records={**collection.records, label: Record("a/b", b"", Indicator.EVIDENCE)})

    refused(refusals.EVIDENCE_LABEL_UNKNOWN, ("collection", change), str(label))


@pytest.mark.parametrize("label", MEDIA_TYPES)
def test_each_record_is_evidence_of_its_own_type(label: str) -> None:
    media_type, evidence_of = MEDIA_TYPES[label], Indicator.EVIDENCE
    for record in (
        Record("application/cbor", b"", evidence_of),
        Record(60, b"", evidence_of),
        Record(60, b"", tagged=True),
        Record(media_type, b""),
        Record(media_type, b"", Indicator.REFERENCE_VALUES),
        Record(media_type, b"", evidence_of | Indicator.ENDORSEMENTS),
        Collection(None, {label: Record(media_type, b"", evidence_of)}),
    ):
        refused(refusals.EVIDENCE_MEDIA_TYPE, with_records(**{label: record}), label)


@pytest.mark.parametrize("kind", [None, "urn:uuid:00000000-0000-0000-0000-000000000000"])
def test_a_collection_of_another_type(kind: str | None) -> None:
    change: Change = ("collection", lambda collection: replace(collection, type=kind))
    refused(refusals.EVIDENCE_MEDIA_TYPE, change, "collection")


def test_limits() -> None:
    with pytest.raises(InputError, match="evidence-limit"):
        UnverifiedEvidence.parse(bytes(MAX_EVIDENCE_BYTES + 1))
    with pytest.raises(InputError, match="cbor-trailing"):
        UnverifiedEvidence.parse(bytes(MAX_EVIDENCE_BYTES))
    records: dict[str | int, Record | Collection] = {n: Record(0, b"") for n in range(MAX_RECORDS + 1)}
    with pytest.raises(InputError, match="cmw-limit"):
        UnverifiedEvidence.parse(Collection(COLLECTION_TYPE, records).encode())


def test_a_record_of_evidence_that_is_malformed() -> None:
    quote = Record(MEDIA_TYPES["quote"], b"\x80", Indicator.EVIDENCE)
    with pytest.raises(InputError, match="quote-malformed"):
        UnverifiedEvidence.parse(evidence(with_records(quote=quote)))
