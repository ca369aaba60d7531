"""Our SUIT test vectors: what was changed in each, one thing at a time, and the code that it is refused with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from medvouch.crypto.cose import sign1
from medvouch.formats import cbor
from medvouch.formats.cose import Sign1
from medvouch.formats.suit import Envelope, wrapped_digest
from medvouch.formats.suit_commands import Code, Command, CommandSequence, dump_sequence
from medvouch.formats.suit_manifest import Member
from medvouch_sim.suit_runs import dependencies, runs
from medvouch_sim.suit_setting import (
    ABORT,
    ALLOWED,
    FETCHING,
    GOOD,
    PAYLOADS,
    QUALITY,
    RELEASE,
    SHARED,
    STRANGER,
    TEXT,
    Signers,
    Vector,
    changed,
    depending,
    enclosing,
    override,
)

_FIRST, _SECOND, _THIRD = RELEASE
_CHECK_SLOT, _CHECK_VERSION = Command(Code.COMPONENT_SLOT, 15), Command(Code.VERSION, 15)
_UNSUPPORTED: tuple[tuple[Code, Any], ...] = (
    (Code.USE_BEFORE, 15), (Code.MINIMUM_BATTERY, 15), (Code.UPDATE_AUTHORIZED, 15), (Code.WAIT, 2), (Code.SWAP, 2),
    (Code.OVERRIDE_MULTIPLE, {0: {21: f"{ALLOWED}image"}}), (Code.COPY_PARAMS, {0: [21]}),
)  # fmt: skip


def vectors(by: Signers) -> Iterator[Vector]:
    """All of them, the good ones first."""
    yield from _good(by)
    yield from _bytes(by)
    yield from _signatures(by)
    yield from _headers(by)
    yield from _members(by)
    yield from _manifests(by)
    yield from runs(by)
    yield from dependencies(by)


def _good(by: Signers) -> Iterator[Vector]:
    encoded, accepted = GOOD.encode(), ""
    envelope = by.enclosed(encoded)
    yield Vector("good", "none", accepted, envelope.encode())
    together = (by.blocks(envelope.signed, _FIRST, _SECOND, *QUALITY),)
    yield Vector("good-cose-sign", "none: one COSE_Sign", accepted, replace(envelope, signatures=together).encode())
    stranger = by.enclosed(encoded, _FIRST, _SECOND, *QUALITY, STRANGER)
    naming = tuple(by.naming(envelope.signed, role) for role in (_FIRST, _SECOND, *QUALITY))
    kids = "none: each signature names its key (kid: SHA-256 thumbprint)"
    yield Vector("good-kid", kids, accepted, replace(envelope, signatures=naming).encode())
    yield Vector("good-stranger", "none: a signature by a key that has no say", accepted, stranger.encode())
    yield Vector("good-severed", "none: install and text are severed", accepted, _severed(by).encode())
    dependency = by.dependency()
    yield enclosing(by, "good-dependency", "none: a dependency", accepted, dependency, depending(dependency))
    wrong = (override(component_slot=0), _CHECK_SLOT)
    either = Command(Code.TRY_EACH, (wrong, (override(component_slot=1), _CHECK_SLOT)))
    yield changed(by, "good-alternatives", "none: the second alternative fits", accepted, (either, *FETCHING))
    yield replace(changed(by, "good-boot", "none: without an image to check", accepted, FETCHING, {}), procedure="boot")


# --- bytes -----------------------------------------------------------------------------------------------------------


def _bytes(by: Signers) -> Iterator[Vector]:
    good = by.enclosed(GOOD.encode()).encode()
    fields = cbor.decode(good).value
    head = len(cbor.encode(cbor.Tag(107, 0))) - 1

    def spoiled(name: str, mutation: str, expected: str, data: bytes) -> Vector:
        return Vector(name, mutation, expected, data)

    def tagged(change: Callable[[dict[Any, Any]], object]) -> bytes:
        changed = dict(fields)
        change(changed)
        return cbor.encode(cbor.Tag(107, changed))

    yield spoiled("untagged", "no tag 107", "suit-malformed", good[head:])
    yield spoiled("other-tag", "tag 1070", "suit-malformed", cbor.encode(cbor.Tag(1070, fields)))
    yield spoiled("truncated", "the last byte is missing", "cbor-truncated", good[:-1])
    yield spoiled("trailing", "one byte more", "cbor-trailing", good + b"\0")
    indefinite = good[:head] + b"\xbf" + good[head + 1 :] + b"\xff"
    yield spoiled("indefinite", "a map of indefinite length", "cbor-malformed", indefinite)
    longer = good[:head] + b"\xb8" + bytes([good[head] & 0x1F]) + good[head + 1 :]
    yield spoiled("longer-head", "the head of the map is longer than it needs be", "cbor-malformed", longer)
    twice = good[:head] + bytes([good[head] + 1]) + good[head + 1 :] + good[-len(TEXT) - 7 :]
    yield spoiled("key-twice", "the key of the payload stands twice", "cbor-malformed", twice)
    authentication, manifest = (bytes([key]) + cbor.encode(fields[key]) for key in (2, 3))
    swapped = good.replace(authentication + manifest, manifest + authentication)
    yield spoiled("keys-out-of-order", "the manifest before its authentication", "cbor-malformed", swapped)
    yield spoiled("no-authentication", "no authentication wrapper", "suit-malformed", tagged(lambda each: each.pop(2)))
    yield spoiled("no-manifest", "no manifest", "suit-malformed", tagged(lambda each: each.pop(3)))
    yield spoiled("delegation", "a delegation chain", "suit-malformed", tagged(lambda each: each.update({1: b"\x80"})))
    yield spoiled(
        "payload-name", "a payload's name without #", "suit-malformed", tagged(lambda each: each.update(x=b""))
    )
    deep = b"\x81" * 20 + b"\x80"
    yield spoiled("nested-arrays", "arrays 21 deep", "cbor-limit", tagged(lambda each: each.update({2: deep})))
    sha512 = cbor.encode([cbor.encode([-44, hashlib.sha512(b"").digest()]), *cbor.decode(fields[2])[1:]])
    yield spoiled(
        "digest-sha512", "the digest is SHA-512", "suit-malformed", tagged(lambda each: each.update({2: sha512}))
    )


# --- signatures ------------------------------------------------------------------------------------------------------


def _signatures(by: Signers) -> Iterator[Vector]:
    encoded = GOOD.encode()
    good = by.enclosed(encoded)
    first, second, quality = good.signatures
    few, repeated = "manifest-signatures-too-few", "manifest-key-repeated"

    def signed(name: str, mutation: str, expected: str, *blocks: bytes) -> Vector:
        return Vector(name, mutation, expected, replace(good, signatures=blocks).encode())

    def altered(**changes: Any) -> bytes:
        return replace(Sign1.parse(first), **changes).encode()

    yield signed("unsigned", "no signatures", few)
    yield signed("one-release-key", "one release key instead of two", few, first, quality)
    yield signed("same-key-twice", "the first release key signs twice", repeated, first, first, quality)
    again = by.blocks(good.signed, _FIRST, _FIRST, *QUALITY)
    yield signed("same-key-twice-in-a-block", "the same, in one COSE_Sign", repeated, again)
    across = by.blocks(good.signed, _FIRST, *QUALITY)
    yield signed("same-key-across-blocks", "the same, in a COSE_Sign1 and a COSE_Sign", repeated, first, across)
    stranger = by.block(good.signed, STRANGER)
    yield signed("stranger-for-release", "a key without a say instead of the second", few, first, stranger, quality)
    yield signed("no-quality", "no signature by quality", "manifest-quality-missing", first, second)
    third = by.block(good.signed, _THIRD)
    yield signed("release-for-quality", "a third release key instead", "manifest-quality-missing", first, second, third)
    signature = Sign1.parse(first).signature
    flipped = altered(signature=bytes([signature[0] ^ 1]) + signature[1:])
    yield signed("signature-flipped", "one bit of a signature", few, flipped, second, quality)
    yield signed("signature-short", "a signature of 63 bytes", few, altered(signature=signature[:-1]), second, quality)
    yield signed("signature-empty", "a signature of no bytes", "cose-limit", altered(signature=b""), second, quality)
    attached = altered(payload=good.signed)
    yield signed("payload-attached", "the digest inside the COSE_Sign1", "suit-malformed", attached, second, quality)
    mac = cbor.encode(cbor.Tag(17, [cbor.encode({1: 5}), {}, None, bytes(32)]))
    yield signed("mac", "a COSE_Mac0 instead of a signature", "cose-malformed", mac, second, quality)
    beside = by.naming(good.signed, _FIRST, _THIRD)
    yield signed("kid-of-another", "the kid of a release key that did not sign", few, beside, second, quality)
    named = by.naming(good.signed, _FIRST), by.naming(good.signed, _SECOND, _FIRST)
    yield signed("kid-twice", "the second release key names the first", repeated, *named, quality)
    crowd = [sign1(good.signed, by.signer(STRANGER), protected={"n": n}, detached=True) for n in range(13)]
    costly = "manifest-signatures-too-many"
    yield signed("strangers", "13 signatures more that name no key, by a stranger", costly, *good.signatures, *crowd)
    many = [by.block(good.signed, STRANGER)] * 14
    yield signed("too-many-signatures", "17 signatures", "suit-limit", *good.signatures, *many)
    changed = replace(GOOD, sequence_number=12).encode()
    exchanged = replace(good, manifest=changed).encode()
    yield Vector("manifest-exchanged", "another sequence number", "manifest-digest-mismatch", exchanged)
    restated = replace(good, manifest=changed, digest=wrapped_digest(changed)).encode()
    yield Vector("digest-restated", "the same, and its digest stated", few, restated)


def _headers(by: Signers) -> Iterator[Vector]:
    """What the first of the signatures says of itself."""
    good, few = by.enclosed(GOOD.encode()), "manifest-signatures-too-few"
    first, *others = good.signatures

    def signed(name: str, mutation: str, expected: str, block: bytes) -> Vector:
        return Vector(name, mutation, expected, replace(good, signatures=(block, *others)).encode())

    def resigned(protected: bytes) -> bytes:
        message = Sign1(protected, {}, None, b"")
        return replace(message, signature=by.signer(_FIRST).sign(message.to_be_signed(good.signed))).encode()

    bare = replace(Sign1.parse(first), protected_bytes=b"", unprotected={1: -7}).encode()
    yield signed("algorithm-unprotected", "the algorithm stands where nobody signs it", few, bare)
    both = replace(Sign1.parse(first), unprotected={1: -7}).encode()
    yield signed("algorithm-twice", "the algorithm in both headers", "cose-malformed", both)
    yield signed("algorithm-text", "the algorithm by its name", few, resigned(cbor.encode({1: "ES256"})))
    critical = resigned(cbor.encode({1: -7, 2: [99], 99: 0}))
    yield signed("critical-header", "a critical header that nobody knows", few, critical)
    yield signed("other-algorithm", "ES384 is named, ES256 was made", few, resigned(cbor.encode({1: -35})))


# --- what travels with it --------------------------------------------------------------------------------------------


def _severed(by: Signers, *, stated: bytes | None = None, there: bytes | None = None) -> Envelope:
    install = dump_sequence(GOOD.sequences[Member.INSTALL])
    text = GOOD.text or b""
    sequences = dict(GOOD.sequences)
    del sequences[Member.INSTALL]
    severed = {Member.INSTALL: wrapped_digest(stated or install), Member.TEXT: wrapped_digest(text)}
    manifest = replace(GOOD, sequences=sequences, severed=severed, text=None)
    return by.enclosed(manifest.encode(), members={Member.INSTALL: there or install, Member.TEXT: text})


def _members(by: Signers) -> Iterator[Vector]:
    mismatch, other = "manifest-member-mismatch", dump_sequence((ABORT,))
    whole = _severed(by)
    swapped = _severed(by, there=other).encode()
    yield Vector("severed-swapped", "another install section than the one that was severed", mismatch, swapped)
    without = replace(whole, members={Member.TEXT: whole.members[Member.TEXT]}, payloads={}).encode()
    yield Vector("severed-missing", "the severed install section did not come along", "manifest-incomplete", without)
    text = replace(whole, members={**whole.members, Member.TEXT: b"\xa0"}).encode()
    yield Vector("severed-text-swapped", "another text than the one that was severed", mismatch, text)
    good = by.enclosed(GOOD.encode())
    smuggled = replace(good, members={Member.DEPENDENCY_RESOLUTION: other}).encode()
    yield Vector("member-smuggled", "a section that the manifest does not name", mismatch, smuggled)
    payload = replace(good, payloads={"#note": TEXT[:-1] + b"!"}).encode()
    yield Vector("payload-swapped", "another integrated payload", mismatch, payload)
    more = replace(good, payloads={**PAYLOADS, "#more": TEXT}).encode()
    yield Vector("payload-smuggled", "an integrated payload that the manifest does not name", mismatch, more)
    missing = replace(good, payloads={}).encode()
    yield Vector("payload-missing", "the integrated payload did not come along", "manifest-incomplete", missing)


# --- manifests -------------------------------------------------------------------------------------------------------


def _raw(by: Signers, name: str, mutation: str, expected: str, change: Callable[[dict[int, Any]], object]) -> Vector:
    members = cbor.decode(GOOD.encode())
    change(members)
    return Vector(name, mutation, expected, by.enclosed(cbor.encode(members)).encode())


def _manifests(by: Signers) -> Iterator[Vector]:
    malformed = "suit-malformed"
    common = {2: [[b"slot"], [b"note"], [b"slot"]], 4: dump_sequence(SHARED)}
    for name, mutation, change in (
        ("version-2", "manifest version 2", {1: 2}),
        ("unknown-member", "member 10, which no draft has", {10: b""}),
        ("sequence-negative", "a negative sequence number", {2: -1}),
        ("sequence-bignum", "the sequence number as a bignum", {2: cbor.Tag(2, b"\x0b")}),
        ("component-twice", "a component stands twice", {3: cbor.encode(common)}),
        ("command-unknown", "command 36, which no draft has", {7: cbor.encode([36, 0])}),
        ("command-without-argument", "a command without its argument", {7: cbor.encode([3])}),
        ("section-empty", "a section of no commands", {7: cbor.encode([])}),
        ("parameter-unknown", "parameter 99, which no draft has", {7: cbor.encode([20, {99: 0}])}),
        ("vendor-pen", "the vendor as a private enterprise number", {7: cbor.encode([20, {1: cbor.Tag(112, b"\1")}])}),
        ("uuid-short", "a class of 15 bytes", {7: cbor.encode([20, {2: bytes(15)}])}),
        ("alternatives-one", "one alternative", {7: cbor.encode([15, [cbor.encode([14, 0])]])}),
        ("policy-16", "a reporting policy of five bits", {7: cbor.encode([3, 16])}),
    ):
        expected = "suit-limit" if name == "policy-16" else malformed
        yield _raw(by, name, mutation, expected, lambda members, change=change: members.update(change))  # type: ignore[misc]
    yield _raw(
        by, "coswid", "a CoSWID tag", "manifest-member-unsupported", lambda members: members.update({14: b"\xa0"})
    )
    deep: CommandSequence = (ABORT,)
    for _ in range(5):
        deep = (Command(Code.RUN_SEQUENCE, deep),)
    nested = cbor.encode([32, dump_sequence(deep)])
    yield _raw(by, "nested-too-deep", "sequences five deep", "suit-limit", lambda members: members.update({7: nested}))
    many = cbor.encode([14, 0] * 257)
    yield _raw(by, "too-many-commands", "257 commands", "suit-limit", lambda members: members.update({7: many}))
    empty = replace(GOOD.common, components=())
    yield changed(by, "no-components", "no components", "manifest-incomplete", common=empty)
    for code, argument in _UNSUPPORTED:
        name = f"command-{code.name.lower().replace('_', '-')}"
        yield changed(
            by, name, name.replace("-", " "), "manifest-command-unsupported", (Command(code, argument), *FETCHING)
        )
    custom = (Command(-1, None), *FETCHING)
    yield changed(by, "command-custom", "a private command", "manifest-command-unsupported", custom)
    for label, value in ((4, 2**40), (26, 50), (27, 1), (29, b"\xa0"), (30, b"\xa0")):
        setting = (override(foreign={label: value}), *FETCHING)
        yield changed(by, f"parameter-{label}", f"parameter {label}", "manifest-parameter-unsupported", setting)
    for name, parameters in (
        ("parameter-custom", {"private": {-1: 0}}),
        ("epoch-negative", {"private": {-75020: -1}}),
        ("fetch-arguments", {"fetch_arguments": b"-k"}),
        ("soft-failure-outside", {"soft_failure": True}),
    ):
        setting = (override(**parameters), *FETCHING)
        yield changed(by, name, name.replace("-", " "), "manifest-parameter-unsupported", setting)
    forbidden = {"slot": ("note",)}
    limited = Vector(
        "component-unauthorised", "a key may name the note only", "manifest-component-unauthorised",
        by.enclosed(GOOD.encode()).encode(), components={_SECOND: forbidden["slot"]},
    )  # fmt: skip
    yield limited
