"""The SUIT envelope (draft-ietf-suit-manifest, 8.2): a manifest, who signed it, and what travels with it.

    107({ 2: bstr([bstr(SUIT_Digest), * bstr(COSE_Sign1 / COSE_Sign)]),   the digest of the manifest, signatures over it
          3: bstr(SUIT_Manifest),
          * 15, 16, 18, 20, 23: bstr,                           severed members; the manifest has their digests
          * "#name": bstr })                                    integrated payloads and dependencies; likewise, as image
                                                                digests, which of a dependency is its manifest's

Digests are over a byte string with its CBOR head; a signature is over the SUIT_Digest as encoded, which is no payload
of the COSE message (detached). Manifest and members stay bytes: nothing of them is parsed before somebody signed it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.cose import TAG_SIGN, Sign, Sign1
from medvouch.formats.record import Octets, Place, Text
from medvouch.formats.suit_commands import PLACE, Sha256Digest, Wrapped, byte_string
from medvouch.formats.suit_manifest import MAX_MANIFEST_BYTES, SEVERABLE, Member

TAG_ENVELOPE = 107
MAX_ENVELOPE_BYTES = 1 << 20
"""The largest part are reference values. As much as a device fetches, and an entry of its ledger keeps."""
MAX_MEMBER_BYTES = 1 << 16
MAX_SIGNATURES = 16
"""In all blocks together."""
MAX_PAYLOADS = 8
MAX_PAYLOAD_NAME = 64
"""Characters, the `#` among them."""
_AUTHENTICATION, _MANIFEST = 2, 3
_DIGEST = Wrapped(Sha256Digest())


@dataclass(frozen=True)
class Envelope:
    """An envelope of which nothing is believed yet; `signatures` are COSE_Sign1 or COSE_Sign, tagged, as they came."""

    digest: bytes
    signatures: tuple[bytes, ...]
    manifest: bytes
    members: Mapping[Member, bytes] = field(default_factory=dict)
    payloads: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def signed(self) -> bytes:
        """What each signature covers: the encoded SUIT_Digest."""
        return _DIGEST.dump(self.digest)

    def encode(self) -> bytes:
        """Deterministic CBOR under tag 107."""
        wrapper = cbor.encode([self.signed, *self.signatures])
        fields: dict[int | str, bytes] = {_AUTHENTICATION: wrapper, _MANIFEST: self.manifest}
        return cbor.encode(cbor.Tag(TAG_ENVELOPE, {**fields, **self.members, **self.payloads}))

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """The inverse of `encode`. Raises InputError `suit-*`, `cbor-*`, `cose-*`."""
        if len(data) > MAX_ENVELOPE_BYTES:
            raise PLACE.over(len(data), MAX_ENVELOPE_BYTES)
        value = cbor.decode(data)
        if not isinstance(value, cbor.Tag) or value.tag != TAG_ENVELOPE or not isinstance(value.value, dict):
            raise PLACE.malformed("an envelope (tag 107)")
        fields = dict(value.value)
        if not {_AUTHENTICATION, _MANIFEST} <= set(fields):
            raise PLACE.malformed("an authentication wrapper and a manifest")
        digest, signatures = _load_authentication(fields.pop(_AUTHENTICATION))
        manifest = Octets(MAX_MANIFEST_BYTES).load(fields.pop(_MANIFEST), PLACE / "manifest")
        return cls(digest, signatures, manifest, _load_members(fields), _load_payloads(fields))


def wrapped_digest(data: bytes) -> bytes:
    """SHA-256 of a byte string with its CBOR head, as the draft has it for the manifest and its severed members."""
    return hashlib.sha256(cbor.encode(data)).digest()


def _load_authentication(value: Any) -> tuple[bytes, tuple[bytes, ...]]:
    place = PLACE / "authentication"
    items = cbor.decode(byte_string(value, place))
    if not isinstance(items, list) or not items:
        raise place.malformed("a digest and signatures")
    digest, blocks = _DIGEST.load(items[0], place / "digest"), items[1:]
    if len(blocks) > MAX_SIGNATURES:
        raise place.over(len(blocks), MAX_SIGNATURES)
    messages = [_message(block, place / index) for index, block in enumerate(blocks)]
    number = sum(len(message.signatures) if isinstance(message, Sign) else 1 for message in messages)
    if number > MAX_SIGNATURES:
        raise place.over(number, MAX_SIGNATURES)
    return digest, tuple(blocks)


def signature_block(data: bytes) -> Sign1 | Sign:
    """A block of an envelope, by its tag. Raises InputError."""
    value = cbor.decode(data, deterministic=False)
    several = isinstance(value, cbor.Tag) and value.tag == TAG_SIGN
    return Sign.parse(data) if several else Sign1.parse(data)


def _message(value: Any, place: Place) -> Sign1 | Sign:
    message = signature_block(byte_string(value, place))
    if message.payload is not None:
        raise place.malformed("a COSE message with a detached payload")
    return message


def _load_members(fields: Mapping[Any, Any]) -> dict[Member, bytes]:
    members: dict[Member, bytes] = {}
    for label, value in fields.items():
        if isinstance(label, str):
            continue
        if label not in SEVERABLE:
            raise InputError("suit-malformed", "a member that an envelope may have expected", place=f"/{label!r:.40}")
        member = Member(label)
        members[member] = Octets(MAX_MEMBER_BYTES).load(value, PLACE / member.name.lower())
    return members


def _load_payloads(fields: Mapping[Any, Any]) -> dict[str, bytes]:
    payloads = {name: byte_string(value, PLACE / name) for name, value in fields.items() if isinstance(name, str)}
    if len(payloads) > MAX_PAYLOADS:
        raise PLACE.over(len(payloads), MAX_PAYLOADS)
    for name in payloads:
        if not Text(MAX_PAYLOAD_NAME).load(name, PLACE / "payloads").startswith("#"):
            raise (PLACE / "payloads").malformed("names that begin with #")
    return payloads
