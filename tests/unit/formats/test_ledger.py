"""Statements, entries, checkpoints and bundles as bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.ledger import (
    CWT_CLAIMS,
    MAX_ATTACHMENTS,
    MAX_BUNDLE_BYTES,
    MAX_ENTRIES,
    MAX_STATEMENT_BYTES,
    UNWRITTEN_HEAD,
    Bundle,
    CertifiedCheckpoint,
    Checkpoint,
    Entry,
    LedgerRecord,
    Statement,
    extended,
    is_bundle,
    statement_header,
)
from medvouch.formats.record import Record
from medvouch.formats.tpm import SignedAttest
from support.truncation import assert_every_truncation_refused

DEVICE = "0123456789abcdef" * 2
D32 = bytes(range(32))
STATEMENT = Statement(
    3, "life", "", "enrolled", "enrol", "the authority", "", 1_800_000_000_000, "clock", "7.2", "", {"answer": D32}
)  # fmt: skip
ENTRY = Entry(b"a COSE_Sign1", {"answer": b"signed"})
CHECKPOINT = Checkpoint(DEVICE, 3, D32, 17, bytes(32))
SIGNED = SignedAttest(b"attest", b"signature")
CERTIFIED = CertifiedCheckpoint(CHECKPOINT, SIGNED, SIGNED)
BUNDLE = Bundle(DEVICE, (ENTRY, ENTRY), (CERTIFIED,), b"receipt", b"sanitised", b"nonce")
BARE = Bundle(DEVICE, (), (), b"", b"", b"")
SAMPLES: list[Record] = [
    STATEMENT, ENTRY, Entry(b"", {}), CHECKPOINT, CERTIFIED, LedgerRecord(CERTIFIED, 2, (D32,), ()), BUNDLE, BARE
]  # fmt: skip


def test_the_bytes() -> None:
    """As they stand in what was signed or hashed: a change here makes every older ledger unreadable."""
    text = f"\x78\x20{DEVICE}".encode()
    assert CHECKPOINT.encode() == (
        b"\xa5\x64head\x58\x20" + bytes(32) + b"\x64root\x58\x20" + D32 + b"\x64size\x03\x66device" + text
        + b"\x67counter\x11"
    )  # fmt: skip
    assert CHECKPOINT.digest() == hashlib.sha256(CHECKPOINT.encode()).digest()
    assert BARE.encode() == (
        b"\xa7\x64type\x6fmedvouch-bundle\x65nonce\x40\x66device" + text
        + b"\x67entries\x80\x67receipt\x40\x6bcheckpoints\x80\x6csanitisation\x40"
    )  # fmt: skip
    assert cbor.decode(BUNDLE.encode())["entries"] == [ENTRY.encode(), ENTRY.encode()]
    assert statement_header(DEVICE, b"\1\2") == {CWT_CLAIMS: {1: DEVICE, 2: "0102"}}
    assert extended(UNWRITTEN_HEAD, D32) == hashlib.sha256(bytes(32) + D32).digest()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_there_and_back(sample: Record) -> None:
    assert type(sample).parse(sample.encode()) == sample
    assert_every_truncation_refused(type(sample).parse, sample.encode())
    with pytest.raises(InputError, match="cbor-trailing"):
        type(sample).parse(sample.encode() + b"\0")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_exactly_these_fields(sample: Record) -> None:
    plain = sample.to_map()
    for name in plain:
        with pytest.raises(InputError, match="-malformed"):
            type(sample).parse(cbor.encode({key: value for key, value in plain.items() if key != name}))
    with pytest.raises(InputError, match="-malformed"):
        type(sample).parse(cbor.encode({**plain, "more": 1}))


ATTACHED = st.dictionaries(st.text(min_size=1, max_size=32), st.binary(max_size=20), max_size=MAX_ATTACHMENTS)
ENTRIES = st.builds(Entry, st.binary(max_size=50), ATTACHED)
HASHES = st.binary(min_size=32, max_size=32)
CHECKPOINTS = st.builds(
    Checkpoint, st.just(DEVICE), st.integers(0, 2**32 - 1), HASHES, st.integers(0, 2**64 - 1), HASHES
)


@given(st.lists(ENTRIES, max_size=4), st.lists(CHECKPOINTS, max_size=4), st.binary(max_size=9))
def test_any_bundle(entries: list[Entry], checkpoints: list[Checkpoint], receipt: bytes) -> None:
    certified = tuple(CertifiedCheckpoint(each, SIGNED, SIGNED) for each in checkpoints)
    bundle = Bundle(DEVICE, tuple(entries), certified, receipt, b"", b"")
    assert Bundle.parse(bundle.encode()) == bundle
    assert is_bundle(bundle.encode())


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for sample in SAMPLES:
        with pytest.raises(InputError):
            type(sample).parse(data)


def test_whether_it_is_a_bundle() -> None:
    assert is_bundle(BUNDLE.encode()[:40]), "however broken it goes on"
    assert not is_bundle(b"")
    assert not is_bundle(ENTRY.encode())
    assert not is_bundle(cbor.encode({"type": "medvouch-bungle"}))


def refused(record: Record, code: str, place: str, **changes: Any) -> None:
    with pytest.raises(InputError) as caught:
        type(record).parse(cbor.encode({**record.to_map(), **changes}))
    assert (caught.value.code, caught.value.place) == (code, place)


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("index", -1, "malformed"),
        ("index", 2**32, "limit"),
        ("machine", "", "malformed"),
        ("before", None, "malformed"),
        ("after", "a" * 65, "limit"),
        ("actor", "a" * 129, "limit"),
        ("owner", "a" * 257, "limit"),
        ("time_ms", True, "malformed"),
        ("detail", "a" * 1025, "limit"),
        ("digests", [], "malformed"),
        ("digests", dict.fromkeys(map(str, range(17)), D32), "limit"),
    ],
)
def test_what_is_no_statement(field: str, value: object, fault: str) -> None:
    refused(STATEMENT, f"ledger-{fault}", f"/{field}", **{field: value})


def test_what_is_no_entry_and_no_checkpoint() -> None:
    refused(STATEMENT, "ledger-malformed", "/digests/answer", digests={"answer": D32[:-1]})
    refused(ENTRY, "ledger-limit", "/statement", statement=bytes(MAX_STATEMENT_BYTES + 1))
    refused(ENTRY, "ledger-limit", "/attachments", attachments=dict.fromkeys(map(str, range(9)), b""))
    refused(CHECKPOINT, "checkpoint-limit", "/size", size=2**32)
    refused(CHECKPOINT, "checkpoint-malformed", "/root", root=bytes(31))
    refused(CHECKPOINT, "checkpoint-limit", "/device", device="a" * 33)
    refused(CERTIFIED, "checkpoint-malformed", "/head", head=[b"attest"])
    record = LedgerRecord(CERTIFIED, 0, (), ())
    refused(record, "checkpoint-limit", "/growth", growth=[D32] * 65)
    refused(record, "checkpoint-malformed", "/anchoring/1", anchoring=[D32, D32[:-1]])


def test_what_is_no_bundle() -> None:
    """The place is the part that is broken, as people count."""
    refused(BUNDLE, "bundle-malformed", "top level", type="medvouch-bungle")
    good = ENTRY.encode()
    refused(BUNDLE, "bundle-malformed", "entry 1", entries=[good, ENTRY.to_map()])
    refused(BUNDLE, "cbor-truncated", "entry 1", entries=[good, good[:-1]])
    refused(BUNDLE, "cbor-trailing", "entry 0", entries=[good + b"\0"])
    refused(BUNDLE, "ledger-malformed", "entry 0", entries=[b"\xa0"])
    refused(BUNDLE, "checkpoint-malformed", "checkpoint 0", checkpoints=[b"\xa0"])
    refused(BUNDLE, "bundle-limit", "/nonce", nonce=bytes(65))
    refused(BUNDLE, "bundle-malformed", "/nonce", nonce=b"")
    refused(BUNDLE, "bundle-malformed", "/nonce", sanitisation=b"")
    refused(BUNDLE, "bundle-limit", "/entries", entries=[b""] * (MAX_ENTRIES + 1))


def test_a_bundle_is_as_long_as_a_ledger_may_be() -> None:
    """Each part is counted by itself, so that one limit of CBOR does not stand for all of them."""
    whole = Bundle(DEVICE, (ENTRY,) * MAX_ENTRIES, (CERTIFIED,) * MAX_ENTRIES, b"", b"", b"")
    assert Bundle.parse(whole.encode()) == whole
    with pytest.raises(InputError, match="bundle-limit"):
        Bundle.parse(bytes(MAX_BUNDLE_BYTES + 1))
