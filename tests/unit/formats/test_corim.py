"""CoRIM as bytes, and reference values as a CoRIM."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from medvouch.errors import InputError
from medvouch.formats import cbor, corim
from medvouch.formats.corim import Class, Comid, Corim, Entity, Measurement, ReferenceTriple, Values, Version
from medvouch.formats.corim_reference import PROFILE, from_corim, to_corim
from medvouch.formats.reference import MAX_EVENTS, Mode, PcrReference, ReferenceEvent, ReferenceValues
from support.refusing import assert_input_refused
from support.truncation import assert_every_truncation_refused

EVENT = ReferenceEvent("the kernel", {"sha256": bytes(32), "sha384": bytes(48)})
VALUES = ReferenceValues(
    model="gateway-1",
    release="1.0.0",
    security_epoch=7,
    command_lines=("console=ttyS0", "quiet ü"),
    pcrs=(
        PcrReference(4, Mode.EXACT, (EVENT, replace(EVENT, description="another"))),
        PcrReference(10, Mode.ALLOWED, (EVENT,)),
        PcrReference(11, Mode.PREFIX, ()),
    ),
)
OTHERS = Corim(
    bytes(16),
    (
        Comid(
            "tag",
            (
                ReferenceTriple(
                    Class(cbor.Tag(corim.TAG_UUID, bytes(16)), "ACME", "RoadRunner", 1, 0),
                    (Measurement(Values(Version("1.0", 16384), 3, {"sha512": bytes(64)}, b"raw", "name"), "key"),),
                ),
            ),
            version=2,
            entities=(Entity("ACME", (0,), "https://acme.example"),),
        ),
    ),
    "urn:example",
    (Entity("ACME", (1, 2)),),
)


@pytest.mark.parametrize("made", [to_corim(VALUES), OTHERS])
def test_there_and_back(made: Corim) -> None:
    assert Corim.parse(made.encode()) == made
    assert_every_truncation_refused(Corim.parse, made.encode())


def test_reference_values_there_and_back() -> None:
    assert from_corim(Corim.parse(to_corim(VALUES).encode())) == VALUES


def test_what_it_says_to_others() -> None:
    made = to_corim(VALUES)
    assert (made.id, made.profile) == ("gateway-1/1.0.0", PROFILE)
    assert [tag.id for tag in made.tags] == [made.id, *(f"{made.id}/pcr-{pcr}" for pcr in (4, 10, 11))]
    release, kernel, files, _ = (tag.triples[0] for tag in made.tags)
    assert release.measurements[0] == Measurement(Values(version=Version("1.0.0"), svn=7), "release")
    assert kernel.kind == Class(model="gateway-1", index=4)
    assert [each.key for each in kernel.measurements] == ["mode", 0, 1]
    assert [each.key for each in files.measurements] == ["mode", None]


def test_banks_without_a_number_are_left_out() -> None:
    both = replace(EVENT, digests={"sha1": bytes(20), "sha256": bytes(32)})
    values = replace(VALUES, pcrs=(PcrReference(4, Mode.EXACT, (both,)),))
    assert from_corim(to_corim(values)).pcrs[0].events[0].digests == {"sha256": bytes(32)}
    old = replace(values, pcrs=(PcrReference(4, Mode.EXACT, (replace(EVENT, digests={"sha1": bytes(20)}),)),))
    assert assert_input_refused("corim-malformed", to_corim, old).place == "PCR 4, event 0"


def test_the_longest_allow_list_fits() -> None:
    events = tuple(replace(EVENT, description=f"{number:0256}") for number in range(MAX_EVENTS))
    values = replace(VALUES, pcrs=(PcrReference(10, Mode.ALLOWED, events),))
    assert from_corim(Corim.parse(to_corim(values).encode())) == values


def test_digests_are_named_by_numbers_of_the_registry() -> None:
    """IANA Named Information Hash Algorithm Registry: sha-256 is 1, sha-384 is 7."""
    (_, tag, *_) = cbor.decode(to_corim(VALUES).encode()).value[1]
    triple = cbor.decode(tag.value)[4][0][0]
    assert triple[1][1][1][2] == [[1, bytes(32)], [7, bytes(48)]]


def changed(change: Callable[[Any], Any]) -> bytes:
    """OTHERS with its only CoMID changed as CBOR."""
    outer = cbor.decode(OTHERS.encode())
    outer.value[1][0] = cbor.Tag(506, cbor.encode(change(cbor.decode(outer.value[1][0].value))))
    return cbor.encode(outer)


def on_values(key: int, value: Any) -> Callable[[Any], Any]:
    def change(comid: Any) -> Any:
        comid[4][0][0][1][0][1][key] = value
        return comid

    return change


def on_triples(key: int, value: Any) -> Callable[[Any], Any]:
    return lambda comid: {**comid, 4: {**comid[4], key: value}}


MALFORMED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a CoMID that is none": (lambda _: 1, "corim-malformed"),
    "no triples": (lambda comid: {**comid, 4: {}}, "corim-malformed"),
    "an empty list of triples": (on_triples(0, []), "corim-malformed"),
    "endorsed triples": (on_triples(1, [[{0: {2: "m"}}, [{1: {11: "n"}}]]]), "corim-malformed"),
    "a triple of one": (on_triples(0, [[{0: {2: "m"}}]]), "corim-malformed"),
    "no measurement": (on_triples(0, [[{0: {2: "m"}}, []]]), "corim-malformed"),
    "an instance": (on_triples(0, [[{0: {2: "m"}, 1: cbor.Tag(550, b"1")}, [{1: {11: "n"}}]]]), "corim-malformed"),
    "an authority": (on_triples(0, [[{0: {2: "m"}}, [{1: {11: "n"}, 2: []}]]]), "corim-malformed"),
    "a class id of no kind": (on_triples(0, [[{0: {0: b"id"}}, [{1: {11: "n"}}]]]), "corim-malformed"),
    "a class id of another kind": (on_triples(0, [[{0: {0: cbor.Tag(1, b"")}}, [{1: {11: "n"}}]]]), "corim-malformed"),
    "too many triples": (on_triples(0, [[{0: {2: "m"}}, [{1: {11: "n"}}]]] * 257), "corim-limit"),
    "an svn that is a minimum": (on_values(1, cbor.Tag(553, 1)), "corim-malformed"),
    "an svn without a tag": (on_values(1, 1), "corim-malformed"),
    "no digests": (on_values(2, []), "corim-malformed"),
    "a digest without an algorithm": (on_values(2, [[bytes(32)]]), "corim-malformed"),
    "an unknown algorithm": (on_values(2, [[2, bytes(16)]]), "corim-malformed"),
    "an algorithm of truth": (on_values(2, [[True, bytes(32)]]), "corim-malformed"),
    "two digests of one algorithm": (on_values(2, [[1, bytes(32)], [1, bytes(32)]]), "corim-malformed"),
    "too many digests": (on_values(2, [[1, bytes(32)]] * 9), "corim-limit"),
    "a digest of any length": (on_values(2, [[1, bytes(65)]]), "corim-limit"),
    "a raw value with a mask": (on_values(5, bytes(3)), "corim-malformed"),
    "flags": (on_values(3, {0: True}), "corim-malformed"),
    "a version without a text": (on_values(0, {1: 1}), "corim-malformed"),
    "an id of 15 bytes": (lambda comid: {**comid, 1: {0: bytes(15)}}, "corim-malformed"),
    "linked tags": (lambda comid: {**comid, 3: []}, "corim-malformed"),
}


@pytest.mark.parametrize(("change", "code"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_read(change: Callable[[Any], Any], code: str) -> None:
    Corim.parse(changed(lambda comid: comid))
    assert_input_refused(code, Corim.parse, changed(change))


TAG = cbor.Tag(506, to_corim(VALUES).tags[0].encode())
OUTER: dict[str, tuple[Any, str]] = {
    "no tag": ({0: "x", 1: [TAG]}, "corim-malformed"),
    "another tag": (cbor.Tag(500, {0: "x", 1: [TAG]}), "corim-malformed"),
    "no id": (cbor.Tag(501, {1: [TAG]}), "corim-malformed"),
    "no tags": (cbor.Tag(501, {0: "x", 1: []}), "corim-malformed"),
    "a CoSWID": (cbor.Tag(501, {0: "x", 1: [cbor.Tag(505, TAG.value)]}), "corim-malformed"),
    "a CoMID not wrapped": (cbor.Tag(501, {0: "x", 1: [cbor.Tag(506, {})]}), "corim-malformed"),
    "a CoMID that is no CBOR": (cbor.Tag(501, {0: "x", 1: [cbor.Tag(506, b"\xff")]}), "cbor-malformed"),
    "too many": (cbor.Tag(501, {0: "x", 1: [TAG] * 65}), "corim-limit"),
    "dependent RIMs": (cbor.Tag(501, {0: "x", 1: [TAG], 2: []}), "corim-malformed"),
    "a profile that is an OID": (cbor.Tag(501, {0: "x", 1: [TAG], 3: cbor.Tag(111, b"1")}), "corim-malformed"),
}


@pytest.mark.parametrize(("value", "code"), OUTER.values(), ids=OUTER)
def test_what_is_no_corim(value: Any, code: str) -> None:
    assert_input_refused(code, Corim.parse, cbor.encode(value))


def test_more_than_the_limit_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corim, "MAX_CORIM_BYTES", 8)
    assert_input_refused("corim-limit", Corim.parse, bytes(9))


def measured(number: int, *measurements: Measurement, kind: Class | None = None) -> Corim:
    """The CoRIM of VALUES with these measurements, or this class, in its tag `number`."""
    made = to_corim(VALUES)
    (triple,) = made.tags[number].triples
    new = replace(triple, measurements=measurements or triple.measurements, kind=kind or triple.kind)
    tags = [replace(tag, triples=(new,)) if index == number else tag for index, tag in enumerate(made.tags)]
    return replace(made, tags=tuple(tags))


RELEASE = Measurement(Values(version=Version("1.0.0"), svn=7), "release")
EXACT = Measurement(Values(name="exact"), "mode")
GOOD = Values(digests={"sha256": bytes(32)}, name="the kernel")
OTHER_PROFILES = {
    "another profile": replace(to_corim(VALUES), profile="urn:example"),
    "no profile": replace(to_corim(VALUES), profile=None),
    "two triples in a tag": replace(to_corim(VALUES), tags=(Comid("x", to_corim(VALUES).tags[0].triples * 2),)),
    "a release without svn": measured(0, Measurement(Values(version=Version("1.0.0")), "release")),
    "a release without version": measured(0, Measurement(Values(svn=1), "release")),
    "a release of another name": measured(0, replace(RELEASE, key="version")),
    "a release that says more": measured(0, replace(RELEASE, values=replace(RELEASE.values, name="x"))),
    "a release of a vendor": measured(0, kind=Class(model="gateway-1", vendor="x")),
    "a release of no model": measured(0, kind=Class(vendor="x")),
    "a command line that is no text": measured(0, RELEASE, Measurement(Values(raw=b"\xff"), "command-line")),
    "a command line of another name": measured(0, RELEASE, Measurement(Values(raw=b"x"), "options")),
    "a command line without one": measured(0, RELEASE, Measurement(Values(name="x"), "command-line")),
    "a PCR of another model": measured(1, kind=Class(model="gateway-2", index=4)),
    "a PCR without a number": measured(1, kind=Class(model="gateway-1")),
    "no mode": measured(1, Measurement(GOOD, 0)),
    "a mode of another kind": measured(1, Measurement(Values(name="lax"), "mode")),
    "events that begin with 1": measured(1, EXACT, Measurement(GOOD, 1)),
    "events in another order": measured(1, EXACT, Measurement(GOOD, 1), Measurement(GOOD, 0)),
    "an event without a number": measured(1, EXACT, Measurement(GOOD)),
    "an event with a number where none counts": measured(
        2, replace(EXACT, values=Values(name="allowed")), Measurement(GOOD, 0)
    ),
    "an event without digests": measured(1, EXACT, Measurement(Values(name="x"), 0)),
    "an event without a name": measured(1, EXACT, Measurement(Values(digests=GOOD.digests), 0)),
    "an event that says more": measured(1, EXACT, Measurement(replace(GOOD, raw=b"x"), 0)),
}


@pytest.mark.parametrize("other", OTHER_PROFILES.values(), ids=OTHER_PROFILES)
def test_what_are_no_reference_values_of_ours(other: Corim) -> None:
    assert_input_refused("corim-malformed", from_corim, Corim.parse(other.encode()))


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_pcrs_stand_in_their_order_and_once(order: tuple[int, ...]) -> None:
    made = to_corim(VALUES)
    again = replace(made, tags=(made.tags[0], *(made.tags[index] for index in order)))
    if order == (1, 2, 3):
        assert from_corim(again) == VALUES
    else:
        with pytest.raises(InputError, match="each PCR once"):
            from_corim(again)


def test_bounds_of_reference_values_hold() -> None:
    assert_input_refused("reference-limit", from_corim, measured(1, kind=Class(model="gateway-1", index=24)))
    assert_input_refused(
        "reference-limit", from_corim, measured(0, replace(RELEASE, values=replace(RELEASE.values, svn=2**32)))
    )
