"""Who stands behind a SUIT envelope: release engineering and quality, by different keys, before anything of it is read.

SUIT has one list of signatures and no roles. The roles are the trust document's: a signature counts for the role whose
key made it. No key may stand in both, since then one person would be both approvals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey, spki
from medvouch.errors import Refusal, RefusalKind
from medvouch.formats.suit import Envelope, wrapped_digest
from medvouch.formats.suit_commands import Command, CommandSequence, Parameters
from medvouch.formats.suit_manifest import Manifest, Member, load_member
from medvouch.update import refusals


@dataclass(frozen=True)
class RoleKeys:
    """The keys of a role in force now, of which `threshold` different ones must sign."""

    keys: Sequence[PublicKey]
    threshold: int = 1

    def __post_init__(self) -> None:
        if self.threshold < 1:
            raise ValueError("a threshold of no signatures checks nothing")


@dataclass(frozen=True)
class VerifiedEnvelope:
    """An envelope that enough of both roles signed; built by `verify_envelope` alone.

    `sequences` are those of the manifest and the severed ones that came along, `payloads` the integrated ones by name
    (`#name`). Signers are in the order of their signatures.
    """

    manifest: Manifest
    sequences: Mapping[Member, CommandSequence]
    payloads: Mapping[str, bytes]
    release_signers: tuple[PublicKey, ...]
    quality_signers: tuple[PublicKey, ...]


def verify_envelope(data: bytes, release: RoleKeys, quality: RoleKeys) -> VerifiedEnvelope:
    """Check an envelope; in order, signatures before the manifest is parsed:

    1. no key stands in both roles: `manifest-roles-overlap`;
    2. the envelope is well formed: InputError `suit-*`, `cbor-*`, `cose-*`;
    3. the digest is that of the manifest: `manifest-digest-mismatch`;
    4. no key signed twice: `manifest-key-repeated`. Signatures of strangers neither help nor harm, so that a new key
       can sign before every device knows it;
    5. enough different release keys signed: `manifest-signatures-too-few`;
    6. enough different quality keys signed: `manifest-quality-missing`;
    7. the manifest is well formed: InputError;
    8. severed members that came along have the digests that the manifest names: `manifest-member-mismatch`;
    9. integrated payloads have a name and a digest that the signed commands name: `manifest-member-mismatch`. Whether
       name and digest belong together is for `processor.plan`, which runs the commands.
    """
    ours, theirs = _by_spki(release), _by_spki(quality)
    if ours.keys() & theirs.keys():  # 1
        raise Refusal(refusals.MANIFEST_ROLES_OVERLAP, f"{len(ours.keys() & theirs.keys())} keys stand in both roles")
    envelope = Envelope.parse(data)  # 2
    if wrapped_digest(envelope.manifest) != envelope.digest:  # 3
        raise Refusal(refusals.MANIFEST_DIGEST_MISMATCH, f"the envelope says {envelope.digest.hex()}")
    signers = _signers(envelope, {**ours, **theirs})  # 4
    by_release = _enough(signers, ours, release.threshold, refusals.MANIFEST_SIGNATURES_TOO_FEW)  # 5
    by_quality = _enough(signers, theirs, quality.threshold, refusals.MANIFEST_QUALITY_MISSING)  # 6
    manifest = Manifest.parse(envelope.manifest)  # 7
    sequences = {**manifest.sequences, **_severed(envelope, manifest)}  # 8
    _check_payloads(envelope, (manifest.common.shared, *sequences.values()))  # 9
    return VerifiedEnvelope(manifest, sequences, envelope.payloads, by_release, by_quality)


def signer_of(block: bytes, signed: bytes, keys: Mapping[bytes, PublicKey]) -> bytes | None:
    """Which of `keys` made this signature over an envelope's `signed`, or None where none of them did."""
    for name, key in keys.items():
        try:
            cose.verify1(block, key, detached=signed)
        except Refusal:
            continue
        return name
    return None


def _by_spki(role: RoleKeys) -> dict[bytes, PublicKey]:
    return {spki(key): key for key in role.keys}


def _signers(envelope: Envelope, keys: Mapping[bytes, PublicKey]) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for index, block in enumerate(envelope.signatures):
        signer = signer_of(block, envelope.signed, keys)
        if signer in found:
            first = found.index(signer)
            detail = f"the key {hashlib.sha256(signer).hexdigest()} signed more than once"
            raise Refusal(refusals.MANIFEST_KEY_REPEATED, detail, place=f"signature {index}, after {first}")
        if signer is not None:
            found.append(signer)
    return tuple(found)


def _enough(
    signers: Sequence[bytes], keys: Mapping[bytes, PublicKey], threshold: int, otherwise: RefusalKind
) -> tuple[PublicKey, ...]:
    signed = tuple(keys[signer] for signer in signers if signer in keys)
    if len(signed) < threshold:
        raise Refusal(otherwise, f"{len(signed)} of {len(keys)} keys signed, {threshold} must")
    return signed


def _severed(envelope: Envelope, manifest: Manifest) -> dict[Member, CommandSequence]:
    """The commands of the severed members that came along; the text is checked and left where it is."""
    for member, data in envelope.members.items():
        if manifest.severed.get(member) != wrapped_digest(data):
            detail = "its digest is not the one that the manifest has for it"
            raise Refusal(refusals.MANIFEST_MEMBER_MISMATCH, detail, place=member.name.lower())
    commands = {member: data for member, data in envelope.members.items() if member is not Member.TEXT}
    return {member: load_member(member, data) for member, data in commands.items()}


def _check_payloads(envelope: Envelope, sequences: Sequence[CommandSequence]) -> None:
    signed = list(_parameters(command for sequence in sequences for command in sequence))
    names, digests = {each.uri for each in signed}, {each.image_digest for each in signed}
    for name, data in envelope.payloads.items():
        if name not in names or hashlib.sha256(data).digest() not in digests:
            raise Refusal(refusals.MANIFEST_MEMBER_MISMATCH, "the signed commands name no such payload", place=name)


def _parameters(commands: Iterator[Command]) -> Iterator[Parameters]:
    """All that are set at the top level; try-each and run-sequence are not ours to run yet."""
    return (command.argument for command in commands if isinstance(command.argument, Parameters))
