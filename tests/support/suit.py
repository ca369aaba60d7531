"""SUIT envelopes for tests: a release's, its parts exchanged one at a time, and who signs it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from medvouch.crypto.keys import SoftwareSigner
from medvouch.formats.suit import Envelope, wrapped_digest
from medvouch.formats.suit_commands import Code, Command, CommandSequence
from medvouch.formats.suit_manifest import Common, Manifest, Member
from medvouch.release.manifests import add_signature, build_manifest, integrated, sign_envelope
from medvouch.update.payload import Payload
from medvouch.update.processor import EPOCH_LABEL, REFERENCE, SLOT, DeviceClass, InstallPlan, plan
from medvouch.update.verification import RoleKeys, VerifiedEnvelope, verify_envelope
from medvouch_sim.suit_setting import override
from support.authorities import key

RELEASE = tuple(SoftwareSigner(key(f"release {number}")) for number in range(3))
QUALITY = tuple(SoftwareSigner(key(f"quality {number}")) for number in range(2))
STRANGER = SoftwareSigner(key("stranger"))
RELEASE_KEYS = RoleKeys([signer.public_key for signer in RELEASE], 2)
QUALITY_KEYS = RoleKeys([signer.public_key for signer in QUALITY], 1)

DEVICE = DeviceClass.named("devices.example", "gateway-1")
IMAGE = bytes(range(256)) * 8
URI = "https://updates.example/gateway-1.1.0.efi"
PAYLOAD = Payload(SLOT, URI, hashlib.sha256(IMAGE).digest(), len(IMAGE))
CONTENTS = {REFERENCE: b"signed reference values"}
MANIFEST = build_manifest(
    sequence=11, version="1.1.0", security_epoch=2, device=DEVICE, image=PAYLOAD, contents=CONTENTS
)


def released(manifest: bytes = MANIFEST, payloads: Mapping[str, bytes] | None = None) -> bytes:
    """An envelope with just the signatures that it needs."""
    return sign_envelope(manifest, RELEASE[:2], QUALITY[:1], integrated(CONTENTS) if payloads is None else payloads)


def signed(envelope: Envelope, *signers: SoftwareSigner) -> bytes:
    """An envelope with these signatures more, by the two roles as they must where none are named."""
    data = envelope.encode()
    for signer in signers or (*RELEASE[:2], *QUALITY[:1]):
        data = add_signature(data, signer)
    return data


def verified(data: bytes) -> VerifiedEnvelope:
    return verify_envelope(data, RELEASE_KEYS, QUALITY_KEYS)


def planned(data: bytes) -> InstallPlan:
    return plan(verified(data), DEVICE)


CHECKS = (Command(Code.VENDOR_IDENTIFIER, 15), Command(Code.CLASS_IDENTIFIER, 15))
FETCH, MATCH, INVOKE = Command(Code.FETCH, 2), Command(Code.IMAGE_MATCH, 15), Command(Code.INVOKE, 2)
IDENTITY = {"vendor_id": DEVICE.vendor_id, "class_id": DEVICE.class_id, "private": {EPOCH_LABEL: 2}}
IMAGE_PARAMETERS = {"image_digest": PAYLOAD.digest, "image_size": PAYLOAD.size}
SHARED = (override(**IDENTITY, **IMAGE_PARAMETERS), *CHECKS)
FETCHING = (override(uri=URI), FETCH, MATCH)


def manifest(
    shared: CommandSequence = SHARED,
    fetching: CommandSequence = FETCHING,
    components: tuple[tuple[bytes, ...], ...] = ((b"slot",),),
    **changes: Any,
) -> Manifest:
    """The smallest manifest that leads to a plan: one component, fetched and matched."""
    sequences = {Member.PAYLOAD_FETCH: fetching, **changes.pop("more", {})}
    return Manifest(**{
        "sequence_number": 11, "common": Common(components, shared), "sequences": sequences, "version": (1, 1, 0),
        **changes,
    })  # fmt: skip


def enclosed(content: Manifest, members: Mapping[Member, bytes] | None = None, **payloads: bytes) -> Envelope:
    """An unsigned envelope; `payloads` by name without the #."""
    encoded, named = content.encode(), {f"#{name}": data for name, data in payloads.items()}
    return Envelope(wrapped_digest(encoded), (), encoded, members or {}, named)
