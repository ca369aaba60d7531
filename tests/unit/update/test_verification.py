"""Who stands behind an envelope, and that nothing of it can be changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from medvouch.crypto.cose import sign, sign1
from medvouch.crypto.keys import SoftwareSigner, spki
from medvouch.errors import InputError, MedvouchError, Refusal
from medvouch.formats import cbor
from medvouch.formats.suit import Envelope, wrapped_digest
from medvouch.formats.suit_commands import Code, Command, dump_sequence
from medvouch.formats.suit_manifest import Manifest, Member
from medvouch.release.manifests import add_signature, sign_envelope
from medvouch.update import refusals
from medvouch.update.verification import RoleKeys, verify_envelope
from medvouch_sim.suit_setting import override
from support.refusing import assert_refused
from support.suit import (
    CONTENTS,
    FETCH,
    FETCHING,
    MANIFEST,
    QUALITY,
    QUALITY_KEYS,
    RELEASE,
    RELEASE_KEYS,
    STRANGER,
    enclosed,
    manifest,
    planned,
    released,
    signed,
    verified,
)

PAYLOADS = {"#reference": CONTENTS["reference"]}


def by(release: Sequence[SoftwareSigner], quality: Sequence[SoftwareSigner]) -> bytes:
    return sign_envelope(MANIFEST, release, quality, PAYLOADS)


def with_blocks(*signers: SoftwareSigner) -> bytes:
    """Signed without asking whether a key did so before."""
    envelope = Envelope.parse(released())
    blocks = tuple(sign1(envelope.signed, signer, detached=True) for signer in signers)
    return replace(envelope, signatures=blocks).encode()


def test_both_roles() -> None:
    found = verified(released())
    assert found.manifest == Manifest.parse(MANIFEST)
    assert found.sequences == found.manifest.sequences
    assert found.payloads == PAYLOADS
    assert found.release_signers == tuple(signer.public_key for signer in RELEASE[:2])
    assert found.quality_signers == (QUALITY[0].public_key,)


def test_signatures_in_any_order_and_those_of_strangers() -> None:
    data = with_blocks(STRANGER, QUALITY[1], RELEASE[2], STRANGER, RELEASE[0])
    assert verified(data).release_signers == (RELEASE[2].public_key, RELEASE[0].public_key)


@pytest.mark.parametrize(
    ("release", "quality"), [(RELEASE[:1], QUALITY), ((RELEASE[0], STRANGER), QUALITY[:1]), ((), QUALITY), ((), ())]
)
def test_too_few_release_keys(release: Sequence[SoftwareSigner], quality: Sequence[SoftwareSigner]) -> None:
    """An envelope that nobody signed among them."""
    refusal = assert_refused(refusals.MANIFEST_SIGNATURES_TOO_FEW, verified, by(release, quality))
    assert refusal.detail == f"{len([each for each in release if each is not STRANGER])} of 3 keys signed, 2 must"


def test_without_quality() -> None:
    assert_refused(refusals.MANIFEST_QUALITY_MISSING, verified, by(RELEASE, ()))
    assert_refused(refusals.MANIFEST_QUALITY_MISSING, verified, by(RELEASE, (STRANGER,)))
    both = replace(QUALITY_KEYS, threshold=2)
    assert_refused(refusals.MANIFEST_QUALITY_MISSING, verify_envelope, released(), RELEASE_KEYS, both)
    verify_envelope(by(RELEASE[:2], QUALITY), RELEASE_KEYS, both)


@pytest.mark.parametrize("twice", [RELEASE[0], QUALITY[0]])
def test_the_same_key_twice(twice: SoftwareSigner) -> None:
    """A threshold met by one key (CVE-2020-6174, CVE-2020-15093); also where there would be enough without it."""
    for signers in ([*RELEASE, *QUALITY, twice], [RELEASE[0], QUALITY[0], twice]):
        refusal = assert_refused(refusals.MANIFEST_KEY_REPEATED, verified, with_blocks(*signers))
        first, last = signers.index(twice), len(signers) - 1
        assert refusal.place == f"signature {last}, after {first}"


def test_a_key_named_twice_counts_once() -> None:
    doubled = RoleKeys([RELEASE[0].public_key, RELEASE[0].public_key], 2)
    data = by(RELEASE[:1], QUALITY[:1])
    assert_refused(refusals.MANIFEST_SIGNATURES_TOO_FEW, verify_envelope, data, doubled, QUALITY_KEYS)


def test_a_key_in_both_roles() -> None:
    greedy = RoleKeys([*QUALITY_KEYS.keys, RELEASE[0].public_key])
    assert_refused(refusals.MANIFEST_ROLES_OVERLAP, verify_envelope, released(), RELEASE_KEYS, greedy)


def test_a_threshold_of_nobody() -> None:
    with pytest.raises(ValueError, match="checks nothing"):
        RoleKeys(RELEASE_KEYS.keys, 0)


def test_another_manifest_in_a_signed_envelope() -> None:
    other = replace(Manifest.parse(MANIFEST), sequence_number=12).encode()
    data = replace(Envelope.parse(released()), manifest=other).encode()
    assert_refused(refusals.MANIFEST_DIGEST_MISMATCH, verified, data)


def test_another_manifest_with_its_digest_in_a_signed_envelope() -> None:
    other = replace(Manifest.parse(MANIFEST), sequence_number=12).encode()
    data = replace(Envelope.parse(released()), manifest=other, digest=wrapped_digest(other)).encode()
    assert_refused(refusals.MANIFEST_SIGNATURES_TOO_FEW, verified, data)


def test_signatures_come_before_the_manifest_is_parsed() -> None:
    nonsense = Envelope(wrapped_digest(b"no manifest"), (), b"no manifest")
    assert_refused(refusals.MANIFEST_SIGNATURES_TOO_FEW, verified, nonsense.encode())
    blocks = tuple(sign1(nonsense.signed, each, detached=True) for each in (*RELEASE[:2], QUALITY[0]))
    with pytest.raises(InputError):
        verified(replace(nonsense, signatures=blocks).encode())


def test_severed_members() -> None:
    install, text = dump_sequence(FETCHING), b"\xa1\x62en\xa0"
    severed = {Member.INSTALL: wrapped_digest(install), Member.TEXT: wrapped_digest(text)}
    content = replace(manifest(), sequences={}, severed=severed)
    members = {Member.INSTALL: install, Member.TEXT: text}
    found = verified(signed(enclosed(content, members)))
    assert found.sequences == {Member.INSTALL: FETCHING}
    assert found.manifest.severed == severed
    assert verified(signed(enclosed(content))).sequences == {}


@pytest.mark.parametrize("member", [Member.INSTALL, Member.TEXT])
def test_a_severed_member_that_is_another(member: Member) -> None:
    """Swapped after the signatures: the manifest has the digest of the first one."""
    install = dump_sequence(FETCHING)
    content = replace(manifest(), sequences={}, severed={member: wrapped_digest(install)})
    other = dump_sequence((Command(Code.ABORT, 0),))
    refusal = assert_refused(refusals.MANIFEST_MEMBER_MISMATCH, verified, signed(enclosed(content, {member: other})))
    assert refusal.place == member.name.lower()


def test_a_severed_member_that_the_manifest_does_not_name() -> None:
    data = signed(enclosed(manifest(), {Member.INSTALL: dump_sequence(FETCHING)}))
    assert_refused(refusals.MANIFEST_MEMBER_MISMATCH, verified, data)
    data = signed(enclosed(manifest(), {Member.PAYLOAD_FETCH: dump_sequence(FETCHING)}))
    assert_refused(refusals.MANIFEST_MEMBER_MISMATCH, verified, data)


@pytest.mark.parametrize(
    "payloads",
    [
        {"#reference": b"other"},
        {"#referencf": CONTENTS["reference"]},
        {**PAYLOADS, "#more": b"smuggled"},
        {**PAYLOADS, "#more": CONTENTS["reference"]},
    ],
)
def test_an_integrated_payload_that_nobody_signed(payloads: dict[str, bytes]) -> None:
    refusal = assert_refused(refusals.MANIFEST_MEMBER_MISMATCH, verified, released(payloads=payloads))
    assert refusal.place == list(payloads)[-1]


@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
def test_one_flipped_byte_anywhere(mask: int) -> None:
    good = released()
    planned(good)
    for at in range(len(good)):
        data = bytearray(good)
        data[at] ^= mask
        with pytest.raises(MedvouchError) as caught:
            verified(bytes(data))
        assert isinstance(caught.value, Refusal | InputError), at


def test_every_truncation() -> None:
    good = released()
    for size in range(len(good)):
        with pytest.raises(InputError):
            verified(good[:size])


def test_signatures_of_other_algorithms_neither_help_nor_harm() -> None:
    envelope = Envelope.parse(released())
    foreign = cbor.encode(cbor.Tag(18, [cbor.encode({1: -257}), {}, None, b"rsa"]))
    critical = cbor.encode(cbor.Tag(18, [cbor.encode({1: -7, 2: [99], 99: 1}), {}, None, b"x" * 64]))
    assert verified(replace(envelope, signatures=(foreign, critical, *envelope.signatures)).encode())


def test_a_key_that_is_new_may_sign_with_the_known_ones() -> None:
    assert verified(add_signature(released(), STRANGER)).release_signers == verified(released()).release_signers


# --- several signatures in one block ---------------------------------------------------------------------------------


def in_blocks(*blocks: Sequence[SoftwareSigner]) -> bytes:
    """Each block a COSE_Sign."""
    envelope = Envelope.parse(released())
    return replace(envelope, signatures=tuple(sign(envelope.signed, block, detached=True) for block in blocks)).encode()


@pytest.mark.parametrize(
    "blocks",
    [[(*RELEASE[:2], QUALITY[0])], [RELEASE[:2], QUALITY[:1]], [RELEASE[:1], (QUALITY[1], RELEASE[1], STRANGER)]],
)
def test_signatures_of_several_in_one_block(blocks: list[Sequence[SoftwareSigner]]) -> None:
    found = verified(in_blocks(*blocks))
    assert found.release_signers == tuple(signer.public_key for signer in RELEASE[:2])
    assert planned(in_blocks(*blocks)) == planned(released())


def test_a_block_beside_others() -> None:
    envelope = Envelope.parse(in_blocks(RELEASE[:2]))
    data = add_signature(envelope.encode(), QUALITY[0])
    assert verified(data).quality_signers == (QUALITY[0].public_key,)
    assert_refused(refusals.MANIFEST_KEY_REPEATED, add_signature, data, RELEASE[0])


def test_the_same_key_twice_in_and_across_blocks() -> None:
    for blocks in ([(*RELEASE[:2], RELEASE[0], *QUALITY)], [RELEASE[:2], (QUALITY[0], RELEASE[1])]):
        assert_refused(refusals.MANIFEST_KEY_REPEATED, verified, in_blocks(*blocks))


def test_a_block_counts_for_whoever_signed_it() -> None:
    assert_refused(refusals.MANIFEST_SIGNATURES_TOO_FEW, verified, in_blocks((RELEASE[0], STRANGER, *QUALITY)))
    assert_refused(refusals.MANIFEST_QUALITY_MISSING, verified, in_blocks((*RELEASE, STRANGER)))
    good = Envelope.parse(in_blocks((*RELEASE[:2], QUALITY[0])))
    spoiled = good.signatures[0][:-1] + bytes([good.signatures[0][-1] ^ 1])
    assert_refused(refusals.MANIFEST_QUALITY_MISSING, verified, replace(good, signatures=(spoiled,)).encode())


# --- which key may name what -----------------------------------------------------------------------------------------


def limited(*prefixes: Sequence[tuple[bytes, ...]] | None) -> RoleKeys:
    """The release keys, and below what the first ones of them may name components."""
    named = zip(RELEASE, prefixes, strict=False)
    return replace(
        RELEASE_KEYS, components={spki(signer.public_key): each for signer, each in named if each is not None}
    )


@pytest.mark.parametrize(
    "role",
    [limited(), limited([()]), limited([(b"slot",), (b"reference",)]), limited([(b"reference",), (b"slot",)], None)],
)
def test_keys_that_may_name_the_components(role: RoleKeys) -> None:
    verify_envelope(released(), role, QUALITY_KEYS)


@pytest.mark.parametrize(
    ("role", "place"),
    [
        (limited([]), "slot"),
        (limited([(b"slot",)]), "reference"),
        (limited(None, [(b"reference",)]), "slot"),
        (limited([(b"slot", b"a"), (b"reference",)]), "slot"),
    ],
)
def test_a_component_that_too_few_of_the_signers_may_name(role: RoleKeys, place: str) -> None:
    refusal = assert_refused(refusals.MANIFEST_COMPONENT_UNAUTHORISED, verify_envelope, released(), role, QUALITY_KEYS)
    assert refusal.place == place


def test_a_third_signer_who_may_makes_up_for_one_who_may_not() -> None:
    role = limited([])
    assert verify_envelope(by(RELEASE, QUALITY[:1]), role, QUALITY_KEYS)


def test_components_are_named_below_their_prefix() -> None:
    role = limited([(b"below", b"slot"), (b"below", b"reference")])
    assert_refused(refusals.MANIFEST_COMPONENT_UNAUTHORISED, verify_envelope, released(), role, QUALITY_KEYS)
    verify_envelope(released(), role, QUALITY_KEYS, prefix=(b"below",))


def test_dependencies_are_components_too() -> None:
    """What a dependency is stored as can be written to: its prefix must be one that the keys may name."""
    content = manifest()
    data = signed(enclosed(replace(content, common=replace(content.common, dependencies={1: (b"below",), 2: None}))))
    narrow = limited([(b"slot",)])
    refusal = assert_refused(refusals.MANIFEST_COMPONENT_UNAUTHORISED, verify_envelope, data, narrow, QUALITY_KEYS)
    assert refusal.place == "below"
    verify_envelope(data, limited([(b"slot",), (b"below",)]), QUALITY_KEYS)
    deeper = limited([(b"a", b"slot"), (b"below",)])
    refusal = assert_refused(
        refusals.MANIFEST_COMPONENT_UNAUTHORISED, verify_envelope, data, deeper, QUALITY_KEYS, prefix=(b"a",)
    )
    assert refusal.place == "a/below"


# --- what travels with it --------------------------------------------------------------------------------------------


def test_members_that_nobody_acts_upon() -> None:
    data = signed(enclosed(replace(manifest(), foreign={14: b"tag"})))
    assert_refused(refusals.MANIFEST_MEMBER_UNSUPPORTED, verified, data)


def test_an_integrated_dependency_goes_by_its_manifest() -> None:
    inner = released()
    known = (override(uri="#inner", image_digest=Envelope.parse(inner).digest), FETCH)
    content = manifest(more={Member.DEPENDENCY_RESOLUTION: (Command(Code.TRY_EACH, (known, known)),)})
    assert verified(signed(enclosed(content, inner=inner)))
    other = released(replace(Manifest.parse(MANIFEST), sequence_number=99).encode())
    for smuggled in (other, b"no envelope"):
        assert_refused(refusals.MANIFEST_MEMBER_MISMATCH, verified, signed(enclosed(content, inner=smuggled)))
