"""Records: what is declared is what is accepted, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import pytest

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.record import MAX_TPM_STRUCTURE, Attested, Many, Named, Nested, Octets, Record, Text, Uint
from medvouch.formats.tpm import SignedAttest
from support.truncation import assert_every_truncation_refused


@dataclass(frozen=True)
class Inner(Record):
    FORMAT = "sample"

    word: Annotated[str, Text(3)]


@dataclass(frozen=True)
class Sample(Record):
    FORMAT = "sample"
    KIND = "one"

    text: Annotated[str, Text(3, empty=True)]
    data: Annotated[bytes, Octets(4)]
    digest: Annotated[bytes, Octets(2, exact=True)]
    number: Annotated[int, Uint(9)]
    items: Annotated[tuple[str, ...], Many(Text(1), 2)]
    names: Annotated[dict[str, bytes], Named(Octets(1), 2)]
    attested: Annotated[SignedAttest, Attested()]
    inner: Annotated[Inner, Nested(Inner)]


SAMPLE = Sample("", b"abc", b"de", 9, ("x",), {"a": b"1", "bb": b"2"}, SignedAttest(b"f", b"g"), Inner("abc"))


def test_there_and_back() -> None:
    assert Sample.parse(SAMPLE.encode()) == SAMPLE
    assert cbor.decode(SAMPLE.encode())["type"] == "one"
    assert_every_truncation_refused(Sample.parse, SAMPLE.encode())


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("text", b"x", "malformed"),
        ("text", "abcd", "limit"),
        ("data", "abc", "malformed"),
        ("data", b"abcde", "limit"),
        ("digest", b"d", "malformed"),
        ("digest", b"def", "malformed"),
        ("number", True, "malformed"),
        ("number", -1, "malformed"),
        ("number", "1", "malformed"),
        ("number", 10, "limit"),
        ("items", "x", "malformed"),
        ("items", ["x", ""], "malformed"),
        ("items", ["x"] * 3, "limit"),
        ("names", ["a"], "malformed"),
        ("names", {"": b"1"}, "malformed"),
        ("names", {1: b"1"}, "malformed"),
        ("names", {"a" * 33: b"1"}, "limit"),
        ("names", {"a": b"", "b": b"", "c": b""}, "limit"),
        ("attested", b"f", "malformed"),
        ("attested", [b"f"], "malformed"),
        ("attested", [b"f", bytes(MAX_TPM_STRUCTURE + 1)], "limit"),
        ("inner", {}, "malformed"),
        ("inner", {"word": ""}, "malformed"),
        ("inner", {"word": "abcd"}, "limit"),
        ("type", "two", "malformed"),
        ("other", 1, "malformed"),
    ],
)
def test_each_bound(field: str, value: Any, code: str) -> None:
    changed = cbor.encode({**SAMPLE.to_map(), field: value})
    with pytest.raises(InputError) as caught:
        Sample.parse(changed)
    assert caught.value.code == f"sample-{code}"


def test_a_missing_field_and_no_map() -> None:
    for value in ({key: value for key, value in SAMPLE.to_map().items() if key != "data"}, [], 1):
        with pytest.raises(InputError, match="sample-malformed"):
            Sample.parse(cbor.encode(value))


def test_the_place_of_a_fault_is_named() -> None:
    with pytest.raises(InputError) as caught:
        Sample.parse(replace(SAMPLE, inner=Inner("toolong")).encode())
    assert caught.value.place == "/inner/word"
