"""SUIT envelopes, manifests and commands as bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from medvouch.crypto.cose import sign, sign1
from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.suit import (
    MAX_ENVELOPE_BYTES,
    MAX_MEMBER_BYTES,
    MAX_PAYLOAD_NAME,
    MAX_PAYLOADS,
    MAX_SIGNATURES,
    Envelope,
    wrapped_digest,
)
from medvouch.formats.suit_commands import (
    MAX_ALTERNATIVES,
    MAX_ARGUMENT_BYTES,
    MAX_COMMANDS,
    MAX_COMPONENTS,
    MAX_NESTING,
    MAX_URI,
    MAX_VERSION_PARTS,
    Code,
    Command,
    CommandSequence,
    Comparison,
    Parameters,
    VersionMatch,
    dump_sequence,
)
from medvouch.formats.suit_manifest import (
    MAX_ID_BYTES,
    MAX_ID_PARTS,
    MAX_MANIFEST_BYTES,
    Common,
    Manifest,
    Member,
    component_name,
)
from support.suit import MANIFEST, RELEASE, released
from support.truncation import assert_every_truncation_refused

ALL_PARAMETERS = Parameters(
    vendor_id=b"v" * 16,
    class_id=b"c" * 16,
    image_digest=b"d" * 32,
    component_slot=1,
    strict_order=False,
    soft_failure=True,
    image_size=2**40,
    content=b"content",
    uri="https://a.example/b",
    source_component=2,
    invoke_args=b"args",
    device_id=b"i" * 16,
    fetch_arguments=b"more",
    version=VersionMatch(Comparison.GREATER_EQUAL, (1, 2, -1)),
    foreign={4: 2**40, 26: 50, 27: -1, 29: cbor.encode({1: 2}), 30: cbor.encode({5: 1})},
    private={-75020: 3, -1: "text", -2: b"bytes", -3: True},
)
INNER: CommandSequence = (Command(Code.ABORT, 0),)
SEQUENCE: CommandSequence = (
    Command(Code.SET_COMPONENT_INDEX, 3),
    Command(Code.SET_COMPONENT_INDEX, True),
    Command(Code.SET_COMPONENT_INDEX, (0, 15)),
    Command(Code.OVERRIDE_PARAMETERS, ALL_PARAMETERS),
    Command(Code.SET_PARAMETERS, Parameters(uri="")),
    Command(Code.VENDOR_IDENTIFIER, 15),
    Command(Code.TRY_EACH, (INNER, INNER, None)),
    Command(Code.TRY_EACH, (INNER, INNER)),
    Command(Code.RUN_SEQUENCE, (Command(Code.RUN_SEQUENCE, INNER),)),
    Command(Code.SWAP, 0),
    Command(Code.WAIT, 2),
    Command(Code.OVERRIDE_MULTIPLE, {0: {21: "x"}}),
    Command(Code.COPY_PARAMS, {1: [3, 14]}),
    Command(-7, None),
    Command(-8, "text"),
)
FULL = Manifest(
    sequence_number=2**63 - 1,
    common=Common(((b"slot",), (b"a", b"\0"), ()), SEQUENCE, {3: (b"below",), 4: None}),
    sequences={Member.VALIDATE: INNER, Member.INSTALL: SEQUENCE, Member.UNINSTALL: INNER},
    severed={Member.PAYLOAD_FETCH: b"p" * 32, Member.CANDIDATE_VERIFICATION: b"q" * 32},
    text=b"\xa0",
    reference_uri="https://a.example/manifest",
    component_id=(b"whole", b"device"),
    version=(1, 10, -1, 4),
    foreign={14: b"tag"},
)
ENVELOPE = Envelope(
    wrapped_digest(MANIFEST),
    (sign1(b"any", RELEASE[0], detached=True), sign(b"any", RELEASE[:2], detached=True)),
    MANIFEST,
    {Member.INSTALL: b"install", Member.TEXT: b""},
    {"#reference": b"values", "#x": b""},
)


def manifest(change: Callable[[dict[int, Any]], object]) -> bytes:
    members = cbor.decode(FULL.encode())
    change(members)
    return cbor.encode(members)


def with_commands(items: list[Any]) -> bytes:
    return manifest(lambda members: members.update({7: cbor.encode(items)}))


def with_parameter(label: Any, value: Any) -> bytes:
    return with_commands([20, {label: value}])


def with_common(common: Any) -> bytes:
    return manifest(lambda members: members.update({3: cbor.encode(common)}))


def envelope(change: Callable[[dict[Any, Any]], object]) -> bytes:
    value = cbor.decode(ENVELOPE.encode())
    change(value.value)
    return cbor.encode(value)


def with_authentication(items: Any) -> bytes:
    return envelope(lambda fields: fields.update({2: cbor.encode(items)}))


def refused(parse: Callable[[bytes], object], data: bytes, code: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse(data)
    assert caught.value.code == code
    return caught.value


@pytest.mark.parametrize("values", [FULL, replace(FULL, text=None, version=None), Manifest(0, Common(()))])
def test_manifest_there_and_back(values: Manifest) -> None:
    assert Manifest.parse(values.encode()) == values
    assert_every_truncation_refused(Manifest.parse, values.encode())


@pytest.mark.parametrize("values", [ENVELOPE, replace(ENVELOPE, signatures=(), members={}, payloads={})])
def test_envelope_there_and_back(values: Envelope) -> None:
    assert Envelope.parse(values.encode()) == values
    assert_every_truncation_refused(Envelope.parse, values.encode())


def test_as_written() -> None:
    value = cbor.decode(ENVELOPE.encode())
    assert value.tag == 107
    assert sorted(map(str, value.value)) == ["#reference", "#x", "2", "20", "23", "3"]
    digest, block, _ = cbor.decode(value.value[2])
    assert cbor.decode(digest) == [-16, wrapped_digest(MANIFEST)]
    assert digest == ENVELOPE.signed
    assert cbor.decode(block).value[2] is None
    assert cbor.decode(Manifest(7, Common(((b"a",),), INNER), version=(1, 2)).encode()) == {
        1: 1,
        2: 7,
        3: cbor.encode({2: [[b"a"]], 4: cbor.encode([14, 0])}),
        6: cbor.encode([1, 2]),
    }


def test_overriding_parameters() -> None:
    before = Parameters(uri="a", image_size=1, private={-1: 1, -2: 2})
    after = before.overridden(Parameters(uri="b", strict_order=False, private={-2: 3}))
    assert after == Parameters(uri="b", image_size=1, strict_order=False, private={-1: 1, -2: 3})


def test_names_of_components() -> None:
    assert component_name((b"slot",)) == "slot"
    assert component_name((b"a-1.b", b"C_")) == "a-1.b/C_"
    assert component_name((b"\0", b"a/b", b"", b"h'00'")) == "h'00'/h'612f62'/h''/h'6827303027'"


@pytest.mark.parametrize(
    "items",
    [
        [], [20], "x", [True, 0], [0, 0], [9, 0], [30, 0], [36, 0], [b"x", 0], [None, 0],
        [1, -1], [1, True], [1, b""], [1, None], [21, "x"],
        [12, False], [12, None], [12, -1], [12, [True]], [12, []], [12, [-1]],
        [20, {}], [20, []], [20, None],
        [32, [14, 0]], [32, b"\x80"], [15, []], [15, [b"\x82\x0e\x00"]], [15, [b"\x82\x0e\x00", None]],
        [15, [None, b"\x82\x0e\x00", b"\x82\x0e\x00"]], [15, b""], [15, [b"\x82\x0e\x00", 0]],
        [-1, []], [-1, {}], [34, 0], [34, {}], [35, []], [29, {}],
    ],
    ids=repr,
)  # fmt: skip
def test_malformed_commands(items: list[Any]) -> None:
    refused(Manifest.parse, with_commands(items), "suit-malformed")


@pytest.mark.parametrize(
    ("label", "value"),
    [
        (1, b"v" * 15), (1, b"v" * 17), (1, "v"), (1, cbor.Tag(112, b"pen")), (2, b""), (24, b"i"),
        (3, [-16, bytes(32)]), (3, cbor.encode([-16, bytes(31)])), (3, cbor.encode([-43, bytes(48)])),
        (3, cbor.encode([-16, bytes(32), 0])), (3, cbor.encode([-16, "x"])),
        (5, -1), (12, 1), (13, None), (14, -1), (14, True), (18, "x"), (21, b"x"), (22, -1), (23, 0), (25, ""),
        (28, [1, [1]]), (28, cbor.encode([0, [1]])), (28, cbor.encode([6, [1]])), (28, cbor.encode([True, [1]])),
        (28, cbor.encode([1])), (28, cbor.encode([1, []])), (28, cbor.encode([1, [True]])),
        (28, cbor.encode([1, "1.0"])), (28, cbor.encode([[], [1]])), (28, cbor.encode([{}, [1]])),
        (28, cbor.encode([cbor.Tag(1, []), [1]])),
        (11, 0), (0, 0), ("uri", "x"), (b"", 0), (-1, None), (-1, []),
    ],
    ids=repr,
)  # fmt: skip
def test_malformed_parameters(label: Any, value: Any) -> None:
    refused(Manifest.parse, with_parameter(label, value), "suit-malformed")


@pytest.mark.parametrize(
    "data",
    [
        with_commands([14, 0] * (MAX_COMMANDS + 1)),
        with_commands([1, 16]),
        with_commands([12, MAX_COMPONENTS]),
        with_commands([12, [MAX_COMPONENTS]]),
        with_commands([12, [0] * (MAX_COMPONENTS + 1)]),
        with_commands([15, [b"\x82\x0e\x00"] * (MAX_ALTERNATIVES + 1)]),
        with_parameter(14, 2**63),
        with_parameter(18, bytes(MAX_ARGUMENT_BYTES + 1)),
        with_parameter(21, "x" * (MAX_URI + 1)),
        with_parameter(22, MAX_COMPONENTS + 1),
        with_parameter(-1, bytes(MAX_ARGUMENT_BYTES + 1)),
        with_parameter(28, cbor.encode([1, [0] * (MAX_VERSION_PARTS + 1)])),
        with_parameter(28, cbor.encode([1, [2**31]])),
        with_common({1: {MAX_COMPONENTS: {}}}),
        with_common({2: [[bytes([number])] for number in range(MAX_COMPONENTS + 1)]}),
        with_common({2: [[b""] * (MAX_ID_PARTS + 1)]}),
        with_common({2: [[bytes(MAX_ID_BYTES + 1)]]}),
        manifest(lambda members: members.update({2: 2**63})),
        manifest(lambda members: members.update({4: "x" * (MAX_URI + 1)})),
        manifest(lambda members: members.update({6: cbor.encode([0] * (MAX_VERSION_PARTS + 1))})),
        manifest(lambda members: members.update({6: cbor.encode([2**31])})),
    ],
)
def test_more_than_a_manifest_may_have(data: bytes) -> None:
    refused(Manifest.parse, data, "suit-limit")


def test_sequences_within_sequences() -> None:
    sequence = INNER
    for _ in range(MAX_NESTING):
        sequence = (Command(Code.RUN_SEQUENCE, sequence),)
    deep = Manifest(0, Common((), sequence))
    assert Manifest.parse(deep.encode()) == deep
    deeper = Manifest(0, Common((), (Command(Code.TRY_EACH, (sequence, INNER)),)))
    refused(Manifest.parse, deeper.encode(), "suit-limit")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (cbor.encode([]), "top level"),
        (manifest(lambda members: members.pop(1)), "top level"),
        (manifest(lambda members: members.pop(2)), "top level"),
        (manifest(lambda members: members.pop(3)), "top level"),
        (manifest(lambda members: members.update({10: b""})), "top level"),
        (manifest(lambda members: members.update({"x": b""})), "top level"),
        (manifest(lambda members: members.update({1: 2})), "/version"),
        (manifest(lambda members: members.update({1: True})), "/version"),
        (manifest(lambda members: members.update({2: -1})), "/sequence number"),
        (manifest(lambda members: members.update({3: {}})), "/common"),
        (with_common([]), "/common"),
        (with_common({3: {}}), "/common"),
        (with_common({1: {}}), "/common/dependencies"),
        (with_common({1: [0]}), "/common/dependencies"),
        (with_common({1: {0: []}}), "/common/dependencies/0"),
        (with_common({1: {0: {2: []}}}), "/common/dependencies/0"),
        (with_common({1: {0: {1: b""}}}), "/common/dependencies/0"),
        (with_common({1: {-1: {}}}), "/common/dependencies"),
        (with_common({1: {"x": {}}}), "/common/dependencies"),
        (with_common({2: []}), "/common/components"),
        (with_common({2: b""}), "/common/components"),
        (with_common({2: [b"slot"]}), "/common/components/0"),
        (with_common({2: [[b"a"], ["slot"]]}), "/common/components/1"),
        (with_common({2: [[b"a"], [b"a"]]}), "/common/components"),
        (with_common({4: [14, 0]}), "/common/shared"),
        (manifest(lambda members: members.update({4: b""})), "/reference uri"),
        (manifest(lambda members: members.update({5: b""})), "/component id"),
        (manifest(lambda members: members.update({6: [1]})), "/set version"),
        (manifest(lambda members: members.update({6: cbor.encode([])})), "/set version"),
        (manifest(lambda members: members.update({6: cbor.encode([True])})), "/set version"),
        (manifest(lambda members: members.update({6: cbor.encode("1.0")})), "/set version"),
        (manifest(lambda members: members.update({7: [-16, bytes(32)]})), "/validate"),
        (manifest(lambda members: members.update({16: [-16, b""]})), "/payload_fetch"),
        (manifest(lambda members: members.update({16: [-18, bytes(32)]})), "/payload_fetch"),
        (manifest(lambda members: members.update({23: {}})), "/text"),
    ],
)
def test_malformed_manifests(data: bytes, place: str) -> None:
    assert refused(Manifest.parse, data, "suit-malformed").place == place


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (cbor.encode({2: b"", 3: b""}), "top level"),
        (cbor.encode(cbor.Tag(1070, {2: b"", 3: b""})), "top level"),
        (cbor.encode(cbor.Tag(107, [])), "top level"),
        (envelope(lambda fields: fields.pop(2)), "top level"),
        (envelope(lambda fields: fields.pop(3)), "top level"),
        (envelope(lambda fields: fields.update({3: {}})), "/manifest"),
        (envelope(lambda fields: fields.update({1: b""})), "/1"),
        (envelope(lambda fields: fields.update({7: b""})), "/7"),
        (envelope(lambda fields: fields.update({b"#x": b""})), "/b'#x'"),
        (envelope(lambda fields: fields.update({16: [14, 0]})), "/payload_fetch"),
        (envelope(lambda fields: fields.update({"x": b""})), "/payloads"),
        (envelope(lambda fields: fields.update({"": b""})), "/payloads"),
        (envelope(lambda fields: fields.update({"#x": "text"})), "/#x"),
        (envelope(lambda fields: fields.update({2: []})), "/authentication"),
        (with_authentication([]), "/authentication"),
        (with_authentication({}), "/authentication"),
        (with_authentication([[-16, bytes(32)]]), "/authentication/digest"),
        (with_authentication([cbor.encode([-16, bytes(33)])]), "/authentication/digest"),
        (with_authentication([ENVELOPE.signed, []]), "/authentication/0"),
        (with_authentication([ENVELOPE.signed, sign1(b"inside", RELEASE[0])]), "/authentication/0"),
        (with_authentication([ENVELOPE.signed, sign(b"inside", RELEASE)]), "/authentication/0"),
        (envelope(lambda fields: fields.update({14: b""})), "/14"),
    ],
)
def test_malformed_envelopes(data: bytes, place: str) -> None:
    assert refused(Envelope.parse, data, "suit-malformed").place == place


@pytest.mark.parametrize("tag", [17, 97])
def test_only_signatures_stand_beside_the_digest(tag: int) -> None:
    block = cbor.encode(cbor.Tag(tag, [b"", {}, None, b"mac", []][: 4 if tag == 17 else 5]))
    refused(Envelope.parse, with_authentication([ENVELOPE.signed, block]), "cose-malformed")


@pytest.mark.parametrize(
    "data",
    [
        bytes(MAX_ENVELOPE_BYTES + 1),
        envelope(lambda fields: fields.update({3: bytes(MAX_MANIFEST_BYTES + 1)})),
        envelope(lambda fields: fields.update({16: bytes(MAX_MEMBER_BYTES + 1)})),
        envelope(lambda fields: fields.update({f"#{number}": b"" for number in range(MAX_PAYLOADS)})),
        envelope(lambda fields: fields.update({"#" * (MAX_PAYLOAD_NAME + 1): b""})),
        with_authentication([ENVELOPE.signed, *ENVELOPE.signatures * (MAX_SIGNATURES + 1)]),
        with_authentication([ENVELOPE.signed, *[sign(b"any", RELEASE, detached=True)] * (MAX_SIGNATURES // 3 + 1)]),
    ],
)
def test_more_than_an_envelope_may_have(data: bytes) -> None:
    refused(Envelope.parse, data, "suit-limit")


def test_keys_out_of_order() -> None:
    """The examples of the drafts are deterministic, so nothing else is taken."""
    value = cbor.decode(released())
    auth, manifest_bytes = value.value[2], value.value[3]
    head = b"\xd8\x6b\xa2"
    good = head + b"\x02" + cbor.encode(auth) + b"\x03" + cbor.encode(manifest_bytes)
    swapped = head + b"\x03" + cbor.encode(manifest_bytes) + b"\x02" + cbor.encode(auth)
    Envelope.parse(good)
    refused(Envelope.parse, swapped, "cbor-malformed")


def test_a_sequence_is_encoded_flat() -> None:
    assert dump_sequence(INNER + INNER) == bytes.fromhex("840e000e00")
