"""SUIT: round trips, and nothing but InputError for mutated input."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError, MedvouchError
from medvouch.formats.suit import Envelope
from medvouch.formats.suit_commands import (
    Code,
    Command,
    CommandSequence,
    Comparison,
    Parameters,
    VersionMatch,
)
from medvouch.formats.suit_manifest import SEVERABLE, Common, Manifest, Member
from medvouch.update.admission import Url
from support.suit import MANIFEST, planned, released

counts = st.integers(0, 2**63 - 1)
policies = st.integers(0, 15)
numbers = st.lists(st.integers(-3, 2**31 - 1), min_size=1, max_size=4).map(tuple)
uuids = st.none() | st.binary(min_size=16, max_size=16)
digests = st.binary(min_size=32, max_size=32)
octets = st.none() | st.binary(max_size=20)
private = st.integers(-(2**64), 2**64 - 1) | st.booleans() | st.text(max_size=9) | st.binary(max_size=9)
parameters = st.builds(
    Parameters,
    vendor_id=uuids,
    class_id=uuids,
    image_digest=st.none() | digests,
    image_size=st.none() | counts,
    strict_order=st.none() | st.booleans(),
    content=octets,
    uri=st.none() | st.text(max_size=20),
    fetch_arguments=octets,
    version=st.none() | st.builds(VersionMatch, st.sampled_from(Comparison), numbers),
    foreign=st.dictionaries(st.sampled_from([4, 26, 27, 29, 30]), counts | st.binary(max_size=9), max_size=2),
    private=st.dictionaries(st.integers(-(2**64), -1), private, max_size=2),
).filter(lambda each: each != Parameters())
special = {
    Code.SET_COMPONENT_INDEX, Code.TRY_EACH, Code.RUN_SEQUENCE, Code.OVERRIDE_PARAMETERS, Code.SET_PARAMETERS,
    Code.OVERRIDE_MULTIPLE, Code.COPY_PARAMS,
}  # fmt: skip
plain = st.builds(Command, st.sampled_from(sorted(set(Code) - special)), policies)
indexes = st.integers(0, 15) | st.just(True) | st.lists(st.integers(0, 15), min_size=1, max_size=4).map(tuple)
leaves = (
    plain
    | st.builds(Command, st.just(Code.SET_COMPONENT_INDEX), indexes)
    | st.builds(Command, st.sampled_from([Code.OVERRIDE_PARAMETERS, Code.SET_PARAMETERS]), parameters)
    | st.builds(Command, st.integers(-(2**64), -1), st.none() | private)
)


def sequences_of(commands: st.SearchStrategy[Command]) -> st.SearchStrategy[CommandSequence]:
    return st.lists(commands, min_size=1, max_size=4).map(tuple)


def within(sequences: st.SearchStrategy[CommandSequence]) -> st.SearchStrategy[CommandSequence]:
    alternatives = st.tuples(sequences, sequences) | st.tuples(sequences, sequences, st.none())
    nested = st.builds(Command, st.just(Code.RUN_SEQUENCE), sequences)
    return sequences_of(leaves | nested | st.builds(Command, st.just(Code.TRY_EACH), alternatives))


sequences = sequences_of(leaves) | within(sequences_of(leaves)) | within(within(sequences_of(leaves)))
components = st.lists(
    st.lists(st.binary(max_size=9), max_size=3).map(tuple), max_size=4, unique=True
).map(tuple)  # fmt: skip
prefixes = st.none() | st.lists(st.binary(max_size=9), max_size=3).map(tuple)
commons = st.builds(
    Common, components, st.just(()) | sequences, st.dictionaries(st.integers(0, 15), prefixes, max_size=2)
)
in_place = st.sampled_from(sorted(set(Member) - {Member.TEXT, Member.INSTALL}))
manifests = st.builds(
    Manifest,
    counts,
    commons,
    st.dictionaries(in_place, sequences, max_size=3),
    st.dictionaries(st.just(Member.INSTALL), digests),
    text=octets,
    reference_uri=st.none() | st.text(min_size=1, max_size=9),
    component_id=st.none() | st.lists(st.binary(max_size=9), max_size=3).map(tuple),
    version=st.none() | numbers,
)
envelopes = st.builds(
    Envelope,
    digests,
    st.just(Envelope.parse(released()).signatures),
    st.binary(max_size=99),
    st.dictionaries(st.sampled_from(sorted(SEVERABLE)), st.binary(max_size=9)),
    st.dictionaries(st.text(max_size=9).map(lambda name: f"#{name}"), st.binary(max_size=9), max_size=4),
)


@given(manifests)
def test_manifests(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.encode()) == manifest


@given(envelopes)
def test_envelopes(envelope: Envelope) -> None:
    assert Envelope.parse(envelope.encode()) == envelope


@given(st.integers(0, len(MANIFEST) - 1), st.binary(max_size=4), st.integers(0, 4))
def test_an_altered_manifest_is_parsed_or_refused(at: int, patch: bytes, removed: int) -> None:
    altered = MANIFEST[:at] + patch + MANIFEST[at + removed :]
    with contextlib.suppress(InputError):
        assert Manifest.parse(altered).encode() == altered


@given(st.data())
def test_an_altered_envelope_is_refused_with_a_code(data: st.DataObject) -> None:
    good = released()
    at = data.draw(st.integers(0, len(good) - 1))
    altered = good[:at] + data.draw(st.binary(max_size=4)) + good[at + data.draw(st.integers(0, 4)) :]
    if altered != good:
        with pytest.raises(MedvouchError):
            planned(altered)


@given(st.text(alphabet="htps:/.abA1@%?#[]\\ \t-", max_size=30))
def test_any_text_as_a_url(text: str) -> None:
    with contextlib.suppress(InputError):
        url = Url.parse(text)
        assert url.allows(url)
