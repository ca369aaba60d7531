"""Envelopes as release engineering makes them, read by what a device runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import InputError
from medvouch.formats.suit import MAX_SIGNATURES, Envelope, wrapped_digest
from medvouch.formats.suit_commands import Code, Command
from medvouch.formats.suit_manifest import Manifest, Member
from medvouch.release.manifests import (
    add_signature,
    build_envelope,
    build_manifest,
    build_parts_manifest,
    integrated,
    sign_envelope,
)
from medvouch.update import refusals
from medvouch.update.payload import Payload
from support.authorities import key
from support.refusing import assert_refused
from support.suit import CONTENTS, DEVICE, MANIFEST, PAYLOAD, QUALITY, RELEASE, planned, released


def test_what_was_built_is_what_is_planned() -> None:
    contents = {"reference": b"values", "notes": b"what is new"}
    manifest = build_manifest(
        sequence=2**63 - 1, version="2.0.10", security_epoch=2**32 - 1, device=DEVICE, image=PAYLOAD, contents=contents
    )
    plan = planned(released(manifest, integrated(contents)))
    assert (plan.sequence, plan.version, plan.security_epoch) == (2**63 - 1, "2.0.10", 2**32 - 1)
    assert (plan.payloads, plan.contents) == ((PAYLOAD,), contents)


def test_the_same_again() -> None:
    again = build_manifest(
        sequence=11, version="1.1.0", security_epoch=2, device=DEVICE, image=PAYLOAD, contents=CONTENTS
    )
    assert again == MANIFEST
    assert Manifest.parse(MANIFEST).encode() == MANIFEST


def test_signed_in_several_places() -> None:
    envelope = build_envelope(MANIFEST, integrated(CONTENTS))
    assert Envelope.parse(envelope).signatures == ()
    for signer in (QUALITY[1], RELEASE[2], RELEASE[0]):
        envelope = add_signature(envelope, signer)
    assert planned(envelope) == planned(released())
    parsed = Envelope.parse(envelope)
    assert replace(parsed, signatures=()) == Envelope.parse(build_envelope(MANIFEST, integrated(CONTENTS)))


def test_nobody_signs_twice() -> None:
    assert_refused(refusals.MANIFEST_KEY_REPEATED, add_signature, released(), RELEASE[1])
    assert_refused(refusals.MANIFEST_KEY_REPEATED, sign_envelope, MANIFEST, RELEASE[:1], RELEASE[:1], {})


def test_nobody_signs_another_manifest_than_the_others_did() -> None:
    other = replace(Manifest.parse(MANIFEST), sequence_number=12).encode()
    envelope = replace(Envelope.parse(released()), manifest=other)
    assert_refused(refusals.MANIFEST_DIGEST_MISMATCH, add_signature, envelope.encode(), RELEASE[2])


def test_nobody_signs_nonsense() -> None:
    nonsense = Envelope(wrapped_digest(b"nonsense"), (), b"nonsense")
    with pytest.raises(InputError):
        add_signature(nonsense.encode(), RELEASE[0])


def test_no_more_signatures_than_a_device_reads() -> None:
    envelope = build_envelope(MANIFEST, integrated(CONTENTS))
    for number in range(MAX_SIGNATURES):
        envelope = add_signature(envelope, SoftwareSigner(key(f"signer {number}")))
    with pytest.raises(InputError, match="suit-limit"):
        add_signature(envelope, SoftwareSigner(key("one too many")))


def test_parts_of_which_there_is_one() -> None:
    """Only a boot loader is compared where it was copied to, and validated when it was started."""
    parts = [
        Payload(name, f"https://updates.example/{number}", bytes([number]) * 32, number)
        for number, name in enumerate(("secure-boot-dbx/append", "boot-loader", "firmware"), 1)
    ]
    built = build_parts_manifest(
        sequence=3, version="1.0.1", security_epoch=2, device=DEVICE, parts=parts, reference=b"values"
    )
    content = Manifest.parse(built)
    matches = [command for command in content.sequences[Member.INSTALL] if command.code == Code.IMAGE_MATCH]
    assert len(matches) == 1
    assert content.sequences[Member.VALIDATE] == (Command(Code.SET_COMPONENT_INDEX, 1), matches[0])
    assert Member.INVOKE not in content.sequences
    found = planned(released(built, integrated({"reference": b"values"})))
    assert [payload.component for payload in found.payloads] == [f"staged/{part.component}" for part in parts]
    assert list(found.copies) == [part.component for part in parts]
    without = build_parts_manifest(
        sequence=3, version="1.0.1", security_epoch=2, device=DEVICE, parts=parts[:1], reference=b"values"
    )
    assert Member.VALIDATE not in Manifest.parse(without).sequences
