"""The setting of our SUIT test vectors: a device, what its server has, who signs, and a good manifest to spoil."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey, coordinate_size, ecdsa_raw, key_thumbprint
from medvouch.formats.cose import KID
from medvouch.formats.suit import Envelope, wrapped_digest
from medvouch.formats.suit_commands import Code, Command, CommandSequence, Parameters
from medvouch.formats.suit_manifest import Common, ComponentId, Manifest, Member
from medvouch.update.processor import EPOCH_LABEL, DeviceClass

KeyOf = Callable[[str], ec.EllipticCurvePrivateKey]

DEVICE = replace(DeviceClass.named("devices.example", "gateway-1"), device_id=bytes(range(16)))
SLOT: ComponentId = (b"slot",)
NOTE: ComponentId = (b"note",)
COPY: ComponentId = (b"copy",)
BELOW: ComponentId = (b"below",)
FILES = (NOTE, COPY, BELOW, (*BELOW, *NOTE))
"""Components beside the slot."""
INSTALLED = (1, 0)
"""The version of what is in the slot."""
ALLOWED = "https://updates.example/"
IMAGE = hashlib.shake_256(b"medvouch fixture image").digest(600)
TEXT = b"a note that came along"
RELEASE, QUALITY, STRANGER = ("release", "release-2", "release-3"), ("quality",), "owner"
"""Of the test keys: two of the three, one, and one that has no say."""


class Deterministic:
    """A Signer whose signatures are the same every time (RFC 6979)."""

    alg = -7

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public_key: PublicKey = key.public_key()

    def sign(self, message: bytes) -> bytes:
        """R || s."""
        made = self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        return ecdsa_raw(made, coordinate_size(self._key.curve))


@dataclass(frozen=True)
class Vector:
    """An envelope, what is wrong with it, and what becomes of it: accepted, or refused with `expected`.

    `served`: what the server has, by URI. `components`: which component each key may name, where not all may all.
    """

    name: str
    mutation: str
    expected: str
    envelope: bytes
    procedure: str = "update"
    served: Mapping[str, bytes] = field(default_factory=lambda: {f"{ALLOWED}image": IMAGE})
    components: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def override(**parameters: Any) -> Command:
    """Parameters for what is selected."""
    return Command(Code.OVERRIDE_PARAMETERS, Parameters(**parameters))


def select(index: int | bool | tuple[int, ...]) -> Command:
    """What the commands after it are for."""
    return Command(Code.SET_COMPONENT_INDEX, index)


def sized(content: bytes) -> dict[str, Any]:
    """Digest and size of a payload."""
    return {"image_digest": hashlib.sha256(content).digest(), "image_size": len(content)}


FETCH, MATCH, WRITE = Command(Code.FETCH, 2), Command(Code.IMAGE_MATCH, 15), Command(Code.WRITE, 2)
INVOKE, ABORT, PROCESS = Command(Code.INVOKE, 2), Command(Code.ABORT, 15), Command(Code.PROCESS_DEPENDENCY, 0)
CHECKS = (Command(Code.VENDOR_IDENTIFIER, 15), Command(Code.CLASS_IDENTIFIER, 15))
IDS: dict[str, Any] = {"vendor_id": DEVICE.vendor_id, "class_id": DEVICE.class_id, "private": {EPOCH_LABEL: 2}}
IDENTITY = override(**IDS)
SHARED: CommandSequence = (select(True), IDENTITY, *CHECKS, select(0))
FETCHING: CommandSequence = (override(uri=f"{ALLOWED}image", **sized(IMAGE)), FETCH, MATCH)
TAKING: CommandSequence = (select(1), override(uri="#note", **sized(TEXT)), FETCH, MATCH)
VALIDATING: CommandSequence = (override(**sized(IMAGE)), MATCH)
GOOD = Manifest(
    11,
    Common((SLOT, NOTE, COPY), SHARED),
    {Member.PAYLOAD_FETCH: FETCHING, Member.INSTALL: TAKING, Member.VALIDATE: VALIDATING, Member.INVOKE: (INVOKE,)},
    text=b"\xa1\x62en\xa0",
    version=(1, 1, 0),
)
PAYLOADS = {"#note": TEXT}


@dataclass(frozen=True)
class Signers:
    """Whoever signs; `key_of` gives the test key of a role."""

    key_of: KeyOf

    def signer(self, role: str) -> Deterministic:
        """The one of a role."""
        return Deterministic(self.key_of(role))

    def block(self, signed: bytes, role: str) -> bytes:
        """A COSE_Sign1 by this role."""
        return cose.sign1(signed, self.signer(role), detached=True)

    def naming(self, signed: bytes, role: str, named: str = "") -> bytes:
        """The same, with the kid of its own key, or of the one of the role `named`."""
        key = self.signer(named or role).public_key
        return cose.sign1(signed, self.signer(role), protected={KID: key_thumbprint(key)}, detached=True)

    def blocks(self, signed: bytes, *roles: str) -> bytes:
        """A COSE_Sign by these roles."""
        return cose.sign(signed, [self.signer(role) for role in roles], detached=True)

    def enclosed(
        self,
        manifest: bytes,
        *roles: str,
        members: Mapping[Member, bytes] | None = None,
        payloads: Mapping[str, bytes] | None = None,
    ) -> Envelope:
        """Signed by these roles, by just enough where none are named."""
        content = Envelope(
            wrapped_digest(manifest), (), manifest, members or {}, PAYLOADS if payloads is None else payloads
        )
        by = roles or (*RELEASE[:2], *QUALITY)
        return replace(content, signatures=tuple(self.block(content.signed, role) for role in by))

    def dependency(self, *commands: Command, roles: tuple[str, ...] = ()) -> bytes:
        """An envelope that another one depends on: it writes a note."""
        content = (override(content=TEXT), WRITE)
        manifest = Manifest(3, Common((NOTE,), SHARED), {Member.INSTALL: commands or content}, version=(1,))
        return self.enclosed(manifest.encode(), *roles, payloads={}).encode()


def depending(data: bytes, **changes: Any) -> Manifest:
    """A manifest that has a dependency install itself."""
    known = override(uri="#below", image_digest=Envelope.parse(data).digest, image_size=len(data))
    sequences = {
        Member.DEPENDENCY_RESOLUTION: (select(1), known, FETCH, MATCH),
        Member.INSTALL: (select(1), PROCESS),
    }
    manifest = Manifest(12, Common((SLOT,), SHARED, {1: BELOW}), sequences, version=(1, 1, 0))
    return replace(manifest, **changes)


def changed(
    by: Signers,
    name: str,
    mutation: str,
    expected: str,
    fetching: CommandSequence = FETCHING,
    sections: dict[Member, CommandSequence] | None = None,
    **changes: Any,
) -> Vector:
    """The good manifest with another payload-fetch, in place of all other sections these, and signed."""
    others = {Member.INSTALL: GOOD.sequences[Member.INSTALL]} if sections is None else sections
    manifest = replace(GOOD, sequences={Member.PAYLOAD_FETCH: fetching, **others}, **changes)
    payloads = PAYLOADS if sections is None else {}
    return Vector(name, mutation, expected, by.enclosed(manifest.encode(), payloads=payloads).encode())


def enclosing(by: Signers, name: str, mutation: str, expected: str, data: bytes, manifest: Manifest) -> Vector:
    """A manifest and the dependency that comes along with it."""
    return Vector(name, mutation, expected, by.enclosed(manifest.encode(), payloads={"#below": data}).encode())
