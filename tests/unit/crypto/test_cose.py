"""COSE signatures: made, checked, and every guard of the check."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from medvouch.crypto import cose, refusals
from medvouch.crypto.keys import PublicKey, SoftwareSigner
from medvouch.errors import InputError, Refusal, RefusalKind
from medvouch.formats import cbor
from medvouch.formats.cose import Header, Sign, Sign1, SignatureBlock
from support.truncation import assert_every_truncation_refused

ALICE, BOB, CAROL = (SoftwareSigner(ec.derive_private_key(number, ec.SECP256R1())) for number in (3, 4, 5))
P384 = SoftwareSigner(ec.derive_private_key(3, ec.SECP384R1()))
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
ED448 = ed448.Ed448PrivateKey.from_private_bytes(bytes(57))
RSA = rsa.generate_private_key(65537, 2048)


def signed_as(alg: Any, signer: SoftwareSigner = ALICE, protected: Header | None = None, **headers: Any) -> bytes:
    """A Sign1 of `signer` that says it is of `alg`, which `cose.sign1` would not let it say."""
    header = cbor.encode({**({} if alg is None else {1: alg}), **(protected or {})})
    unsigned = Sign1(header, headers.get("unprotected", {}), b"payload", b"")
    return Sign1(header, unsigned.unprotected, b"payload", signer.sign(unsigned.to_be_signed(b"payload"))).encode()


def edwards(key: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey, alg: int) -> bytes:
    header = cbor.encode({1: alg})
    to_be_signed = Sign1(header, {}, b"payload", b"").to_be_signed(b"payload")
    return Sign1(header, {}, b"payload", key.sign(to_be_signed)).encode()


def sign(*signers: SoftwareSigner, protected: Header | None = None, block: Header | None = None) -> bytes:
    """A COSE_Sign over b"payload"."""
    unsigned = Sign(cbor.encode(protected) if protected else b"", {}, b"payload", ())
    blocks = []
    for signer in signers:
        empty = SignatureBlock(cbor.encode({1: signer.alg, **(block or {})}), {}, b"")
        signature = signer.sign(unsigned.to_be_signed(empty, b"payload"))
        blocks.append(SignatureBlock(empty.protected_bytes, {}, signature))
    return Sign(unsigned.protected_bytes, {}, b"payload", tuple(blocks)).encode()


def refused(kind: RefusalKind, data: bytes, key: PublicKey, **options: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        cose.verify1(data, key, **options)
    assert caught.value.kind is kind
    return caught.value


@pytest.mark.parametrize("signer", [ALICE, P384])
def test_sign1_round_trip(signer: SoftwareSigner) -> None:
    data = cose.sign1(
        b"payload", signer, content_type="text/x", protected={15: {1: "me"}}, unprotected={4: b"kid"}, external_aad=b"x"
    )
    verified = cose.verify1(data, signer.public_key, content_type="text/x", external_aad=b"x", algorithm=signer.alg)
    assert verified == cose.VerifiedSign1(b"payload", {1: signer.alg, 3: "text/x", 15: {1: "me"}}, {4: b"kid"})
    assert Sign1.parse(data).encode() == data
    assert_every_truncation_refused(Sign1.parse, data)


def test_the_signer_decides_the_algorithm() -> None:
    data = cose.sign1(b"payload", ALICE, protected={1: -8, 3: "a"}, content_type="b")
    assert Sign1.parse(data).protected == {1: -7, 3: "b"}


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (signed_as(-9), ALICE.public_key),
        (signed_as(-51, P384), P384.public_key),
        (edwards(ED25519, -8), ED25519.public_key()),
        (edwards(ED25519, -19), ED25519.public_key()),
        (edwards(ED448, -8), ED448.public_key()),
    ],
    ids=["ESP256", "ESP384", "EdDSA", "Ed25519", "EdDSA-448"],
)
def test_fully_specified_and_edwards_algorithms(data: bytes, key: PublicKey) -> None:
    assert cose.verify1(data, key).payload == b"payload"
    (claim,) = cose.claims(Sign1.parse(data), b"payload")
    assert claim.fits(key)
    claim.check(key)


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (signed_as(None), ALICE.public_key),
        (signed_as(None, unprotected={1: -7}), ALICE.public_key),
        (signed_as("ES256"), ALICE.public_key),
        (signed_as(True), ALICE.public_key),
        (signed_as(-37), ALICE.public_key),
        (signed_as(-51), ALICE.public_key),
        (signed_as(-9, P384), P384.public_key),
        (signed_as(-7), ED25519.public_key()),
        (signed_as(-7), RSA.public_key()),
        (edwards(ED25519, -8), ALICE.public_key),
        (edwards(ED448, -19), ED448.public_key()),
    ],
    ids=[
        "none", "not-protected", "by-name", "true", "PS256", "ESP384-by-P256", "ESP256-by-P384", "ES256-by-Ed25519",
        "ES256-by-RSA", "EdDSA-by-P256", "Ed25519-by-Ed448",
    ],
)  # fmt: skip
def test_algorithms_that_do_not_fit(data: bytes, key: PublicKey) -> None:
    refused(refusals.COSE_ALGORITHM, data, key)
    (claim,) = cose.claims(Sign1.parse(data), b"payload")
    assert not claim.fits(key)


def test_a_signature_of_another_length_fits_no_key() -> None:
    (claim,) = cose.claims(Sign1.parse(signed_as(-7)), b"payload")
    assert claim.fits(ALICE.public_key)
    assert claim.fits(BOB.public_key)
    assert not claim.fits(P384.public_key)
    with pytest.raises(Refusal) as caught:
        claim.check(BOB.public_key)
    assert caught.value.kind is refusals.COSE_SIGNATURE_INVALID


def test_claims_of_a_message_of_several() -> None:
    made = list(cose.claims(Sign.parse(sign(ALICE, P384, block={4: b"who"})), b"payload"))
    assert [(claim.algorithm, claim.kid) for claim in made] == [(-7, b"who"), (-35, b"who")]
    for claim, signer in zip(made, (ALICE, P384), strict=True):
        claim.check(signer.public_key)
    for critical in (sign(ALICE, protected={2: [99], 99: 1}), sign(ALICE, block={2: [99], 99: 1})):
        assert [claim.algorithm for claim in cose.claims(Sign.parse(critical), b"payload")] == [None]


def test_work() -> None:
    assert [cose.work(key) for key in (ALICE.public_key, ED25519.public_key())] == [1, 1]
    assert [cose.work(key) for key in (P384.public_key, ED448.public_key(), RSA.public_key())] == [5, 5, 5]


@pytest.mark.parametrize("algorithm", [None, "ES256", True])
def test_what_is_no_algorithm_is_held_against_no_key(algorithm: Any) -> None:
    assert "names no algorithm" in refused(refusals.COSE_ALGORITHM, signed_as(algorithm), ALICE.public_key).detail


def test_an_algorithm_other_than_agreed() -> None:
    refused(refusals.COSE_ALGORITHM, signed_as(-7), ALICE.public_key, algorithm=-9)


def test_an_algorithm_is_part_of_what_is_signed() -> None:
    message = Sign1.parse(signed_as(-7))
    forged = Sign1(cbor.encode({1: -9}), {}, message.payload, message.signature).encode()
    refused(refusals.COSE_SIGNATURE_INVALID, forged, ALICE.public_key)


def test_signatures_that_do_not_hold() -> None:
    data = cose.sign1(b"payload", ALICE)
    message = Sign1.parse(data)
    short = Sign1(message.protected_bytes, {}, message.payload, message.signature[1:]).encode()
    other = Sign1(message.protected_bytes, {}, b"Payload", message.signature).encode()
    for forged in (short, other):
        refused(refusals.COSE_SIGNATURE_INVALID, forged, ALICE.public_key)
    refused(refusals.COSE_SIGNATURE_INVALID, data, BOB.public_key)
    refused(refusals.COSE_SIGNATURE_INVALID, data, ALICE.public_key, external_aad=b"x")


@pytest.mark.parametrize("headers", [{"protected": {2: [1]}}, {"protected": {2: [99]}}, {"unprotected": {2: [99]}}])
def test_critical_headers(headers: dict[str, Header]) -> None:
    data = signed_as(-7, protected=headers.get("protected"), unprotected=headers.get("unprotected", {}))
    refused(refusals.COSE_CRITICAL_HEADER, data, ALICE.public_key)


def test_a_detached_payload() -> None:
    message = Sign1.parse(cose.sign1(b"payload", ALICE))
    detached = Sign1(message.protected_bytes, {}, None, message.signature).encode()
    refused(refusals.COSE_PAYLOAD_DETACHED, detached, ALICE.public_key)


@pytest.mark.parametrize("content_type", [None, "application/other", 60])
def test_content_of_another_type(content_type: str | int | None) -> None:
    data = cose.sign1(b"payload", ALICE, content_type=content_type)
    refused(refusals.COSE_CONTENT_TYPE, data, ALICE.public_key, content_type="application/this")


BODY: list[Any] = [b"", {}, b"payload", b"signature"]
MALFORMED = [
    cbor.Tag(17, BODY),
    BODY,
    cbor.Tag(18, BODY[:3]),
    cbor.Tag(18, {}),
    cbor.Tag(18, [{}, *BODY[1:]]),
    cbor.Tag(18, [b"", [], b"payload", b"signature"]),
    cbor.Tag(18, [b"", {b"label": 1}, b"payload", b"signature"]),
    cbor.Tag(18, [b"", {}, "payload", b"signature"]),
    cbor.Tag(18, [b"", {}, b"payload", None]),
    cbor.Tag(18, [b"\x80", {}, b"payload", b"signature"]),
    cbor.Tag(18, [b"\xa1\x01\x26", {1: -7}, b"payload", b"signature"]),
]


@pytest.mark.parametrize("value", MALFORMED, ids=str)
def test_malformed_sign1(value: object) -> None:
    with pytest.raises(InputError) as caught:
        Sign1.parse(cbor.encode(value))
    assert caught.value.code == "cose-malformed"


@pytest.mark.parametrize(
    "blocks",
    [
        None,
        [],
        {},
        [[]],
        [b""],
        [[b"", {}, None]],
        [[b"", 0, b"signature"]],
        [[0, {}, b"signature"]],
        [[b"\xa1\x01\x26", {1: -7}, b"signature"]],
    ],
)
def test_malformed_sign(blocks: object) -> None:
    with pytest.raises(InputError) as caught:
        Sign.parse(cbor.encode(cbor.Tag(98, [b"", {}, b"payload", blocks])))
    assert caught.value.code == "cose-malformed"


def test_limits() -> None:
    block = [b"", {}, b"signature"]
    for data in (
        cbor.encode(cbor.Tag(18, [b"", {}, b"payload", b""])),
        cbor.encode(cbor.Tag(18, [b"", {}, b"payload", bytes(1025)])),
        cbor.encode(cbor.Tag(98, [b"", {}, b"payload", [block] * 17])),
    ):
        with pytest.raises(InputError) as caught:
            (Sign if data[0] == 0xD8 else Sign1).parse(data)
        assert caught.value.code == "cose-limit"


def test_sign_names_its_signers() -> None:
    data = sign(BOB, P384, ALICE, protected={3: "a/b"})
    keys = [ALICE.public_key, CAROL.public_key, P384.public_key]
    verified = cose.verify(data, keys, threshold=2, content_type="a/b")
    assert verified == cose.VerifiedSign(b"payload", {3: "a/b"}, {}, (ALICE.public_key, P384.public_key))
    assert Sign.parse(data).encode() == data
    assert_every_truncation_refused(Sign.parse, data)


@pytest.mark.parametrize(
    ("data", "keys", "threshold"),
    [
        (sign(ALICE), [BOB.public_key], 1),
        (sign(ALICE), [], 1),
        (sign(ALICE, ALICE), [ALICE.public_key, BOB.public_key], 2),
        (sign(ALICE, BOB), [ALICE.public_key, ALICE.public_key], 2),
        (sign(ALICE, block={2: [99]}), [ALICE.public_key], 1),
        (sign(ALICE, block={1: -51}), [ALICE.public_key], 1),
    ],
    ids=["another", "nobody", "one signs twice", "one wanted twice", "critical header", "algorithm"],
)
def test_too_few_signatures(data: bytes, keys: list[PublicKey], threshold: int) -> None:
    with pytest.raises(Refusal) as caught:
        cose.verify(data, keys, threshold=threshold)
    assert caught.value.kind is refusals.COSE_TOO_FEW_SIGNATURES


def test_a_threshold_of_none_is_a_bug() -> None:
    with pytest.raises(ValueError, match="threshold"):
        cose.verify(sign(ALICE), [], threshold=0)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (sign(ALICE, protected={2: [99]}), refusals.COSE_CRITICAL_HEADER),
        (sign(ALICE, protected={3: "c/d"}), refusals.COSE_CONTENT_TYPE),
        (
            Sign(b"", {}, None, Sign.parse(sign(ALICE)).signatures).encode(),
            refusals.COSE_PAYLOAD_DETACHED,
        ),
    ],
    ids=["critical header", "content type", "no payload"],
)
def test_what_holds_for_the_whole_message(data: bytes, kind: RefusalKind) -> None:
    with pytest.raises(Refusal) as caught:
        cose.verify(data, [ALICE.public_key], content_type="a/b")
    assert caught.value.kind is kind


def test_a_payload_that_stands_elsewhere() -> None:
    data = cose.sign1(b"elsewhere", ALICE, content_type="text/x", detached=True)
    assert Sign1.parse(data).payload is None
    verified = cose.verify1(data, ALICE.public_key, content_type="text/x", detached=b"elsewhere")
    assert verified.payload == b"elsewhere"
    refused(refusals.COSE_SIGNATURE_INVALID, data, ALICE.public_key, detached=b"elsewhere!")
    refused(refusals.COSE_PAYLOAD_DETACHED, data, ALICE.public_key)


def test_a_payload_inside_where_another_is_meant() -> None:
    data = cose.sign1(b"payload", ALICE)
    refused(refusals.COSE_PAYLOAD_ATTACHED, data, ALICE.public_key, detached=b"payload")


def test_several_sign() -> None:
    data = cose.sign(b"payload", [ALICE, P384], content_type="text/x", protected={15: {1: "us"}}, external_aad=b"x")
    keys = [P384.public_key, BOB.public_key, ALICE.public_key]
    verified = cose.verify(data, keys, threshold=2, content_type="text/x", external_aad=b"x")
    assert verified == cose.VerifiedSign(b"payload", {3: "text/x", 15: {1: "us"}}, {}, (keys[0], keys[2]))
    assert [block.protected for block in Sign.parse(data).signatures] == [{1: -7}, {1: -35}]
    assert Sign.parse(cose.sign(b"payload", [ALICE])).protected_bytes == b""
    with pytest.raises(ValueError, match="nobody"):
        cose.sign(b"payload", [])


def test_several_sign_what_is_not_inside() -> None:
    keys = [ALICE.public_key, BOB.public_key]
    data = cose.sign(b"payload", [ALICE, BOB], detached=True)
    assert Sign.parse(data).payload is None
    assert cose.verify(data, keys, threshold=2, detached=b"payload").payload == b"payload"
    for detached, message, kind in (
        (b"another", data, refusals.COSE_TOO_FEW_SIGNATURES),
        (None, data, refusals.COSE_PAYLOAD_DETACHED),
        (b"payload", cose.sign(b"payload", [ALICE, BOB]), refusals.COSE_PAYLOAD_ATTACHED),
    ):
        with pytest.raises(Refusal) as caught:
            cose.verify(message, keys, threshold=2, detached=detached)
        assert caught.value.kind == kind
