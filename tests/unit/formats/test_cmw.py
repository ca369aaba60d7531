"""CMW records and collections."""

from __future__ import annotations

import pytest

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.cmw import MAX_RECORDS, Collection, Indicator, Record
from support.truncation import assert_every_truncation_refused

RECORD = Record("application/eat+cwt", b"token", Indicator.EVIDENCE)
COLLECTION = Collection("urn:uuid:157fd125-3352-41e4-9c9c-1a6a7e973da7", {"eat": RECORD, "quote": Record(60, b"")})


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        Record("text/plain; charset=utf-8", b""),
        Record(0, b"x", Indicator.ENDORSEMENTS | Indicator.APPRAISAL_POLICY),
        Record(65535, b"x"),
        Record(0, b"x", tagged=True),
        Record(254, b"x", tagged=True),
        Record(255, b"x", tagged=True),
        Record(65535, b"x", tagged=True),
    ],
    ids=str,
)
def test_record_round_trip(record: Record) -> None:
    assert Record.parse(record.encode()) == record


def test_tags_of_content_formats() -> None:
    """RFC 9277: 0x63740101 for 0, and one tag of each 256 left out."""
    numbers = [0, 254, 255, 510, 65535]
    tags = [cbor.decode(Record(number, b"", tagged=True).encode()).tag for number in numbers]
    assert [tag - 0x63740101 for tag in tags] == [0, 254, 256, 512, 65792]


@pytest.mark.parametrize("record", [Record("a/b", b"", tagged=True), Record(1, b"", 1, tagged=True)])
def test_what_a_tag_cannot_say(record: Record) -> None:
    with pytest.raises(ValueError, match="Content-Format"):
        record.encode()


def test_collection_round_trip_and_truncation() -> None:
    nested = Collection(None, {7: COLLECTION, "plain": RECORD})
    assert Collection.parse(nested.encode()) == nested
    assert_every_truncation_refused(Collection.parse, nested.encode())
    assert_every_truncation_refused(Record.parse, RECORD.encode())


@pytest.mark.parametrize(
    "value",
    [
        {},
        b"",
        [],
        ["a/b"],
        ["a/b", b"", 1, 1],
        ["a/b", "text"],
        ["ab", b""],
        ["a/", b""],
        ["a/b c", b""],
        ["a/b\n", b""],
        [f"a/b;{'c' * 255}", b""],
        [-1, b""],
        [65536, b""],
        [True, b""],
        [None, b""],
        ["a/b", b"", 0],
        ["a/b", b"", 32],
        ["a/b", b"", -1],
        ["a/b", b"", True],
        cbor.Tag(0x63740101 - 1, b""),
        cbor.Tag(0x63740101 + 255, b""),
        cbor.Tag(0x63740101 + 65793, b""),
        cbor.Tag(0x63740101, "text"),
    ],
    ids=str,
)
def test_malformed_records(value: object) -> None:
    for parse, data in ((Record.parse, value), (Collection.parse, {"label": value})):
        with pytest.raises(InputError) as caught:
            parse(cbor.encode(data))
        assert caught.value.code == "cmw-malformed"


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"__cmwc_t": "urn:x"},
        {"__cmwc_t": "", "eat": ["a/b", b""]},
        {"__cmwc_t": 5, "eat": ["a/b", b""]},
        {"__cmwc_t": None, "eat": ["a/b", b""]},
        {"__cmwc_t": "u" * 256, "eat": ["a/b", b""]},
        {b"eat": ["a/b", b""]},
    ],
    ids=str,
)
def test_malformed_collections(value: object) -> None:
    with pytest.raises(InputError) as caught:
        Collection.parse(cbor.encode(value))
    assert caught.value.code == "cmw-malformed"


def test_the_number_of_records_is_bounded() -> None:
    records = {number: ["a/b", b""] for number in range(MAX_RECORDS + 1)}
    with pytest.raises(InputError) as caught:
        Collection.parse(cbor.encode(records))
    assert caught.value.code == "cmw-limit"
    del records[0]
    assert len(Collection.parse(cbor.encode(records)).records) == MAX_RECORDS
