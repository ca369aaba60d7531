"""Who stands behind a SUIT envelope: release engineering and quality, by different keys, before anything of it is read.

SUIT has one list of signatures and no roles. The roles are the trust document's: a signature counts for the role whose
key made it. No key may stand in both, since then one person would be both approvals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from medvouch.crypto.keys import PublicKey, spki
from medvouch.errors import InputError, Refusal, RefusalKind
from medvouch.formats.suit import Envelope, wrapped_digest
from medvouch.formats.suit_commands import Code, CommandSequence, Parameters
from medvouch.formats.suit_manifest import ComponentId, Manifest, Member, component_name, load_member
from medvouch.update import refusals
from medvouch.update.signatures import signers


@dataclass(frozen=True)
class RoleKeys:
    """The keys of a role in force now, of which `threshold` different ones must sign.

    `components`: by key (SPKI, DER), the prefixes of the components that it may name; a key that is not in it may name
    all.
    """

    keys: Sequence[PublicKey]
    threshold: int = 1
    components: Mapping[bytes, Sequence[ComponentId]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.threshold < 1:
            raise ValueError("a threshold of no signatures checks nothing")


@dataclass(frozen=True)
class VerifiedEnvelope:
    """An envelope that enough of both roles signed; built by `verify_envelope` alone.

    `sequences` are those of the manifest and the severed ones that came along, `payloads` the integrated ones by name
    (`#name`). Signers are in the order of their signatures. `digest` is the manifest's SHA-256, with its CBOR head.
    """

    digest: bytes
    manifest: Manifest
    sequences: Mapping[Member, CommandSequence]
    payloads: Mapping[str, bytes]
    release_signers: tuple[PublicKey, ...]
    quality_signers: tuple[PublicKey, ...]


def verify_envelope(data: bytes, release: RoleKeys, quality: RoleKeys, *, prefix: ComponentId = ()) -> VerifiedEnvelope:
    """Check an envelope, whose components are those below `prefix`; in order, signatures before the manifest is parsed:

    1. no key stands in both roles: `manifest-roles-overlap`;
    2. the envelope is well formed: InputError `suit-*`, `cbor-*`, `cose-*`;
    3. the digest is that of the manifest: `manifest-digest-mismatch`;
    4. no key signed twice: `manifest-key-repeated`, and to find out who did is little work:
       `manifest-signatures-too-many`. Signatures of strangers neither help nor harm, so that a new key can sign before
       every device knows it;
    5. enough different release keys signed: `manifest-signatures-too-few`;
    6. enough different quality keys signed: `manifest-quality-missing`;
    7. the manifest is well formed, InputError, and all of its members are acted upon: `manifest-member-unsupported`;
    8. enough of the release keys that signed may name each of its components, and what its dependencies are stored as:
       `manifest-component-unauthorised`;
    9. severed members that came along have the digests that the manifest names: `manifest-member-mismatch`;
    10. integrated payloads have a name and a digest that the signed commands name: `manifest-member-mismatch`. Whether
       name and digest belong together is for whoever runs the commands.
    """
    ours, theirs = _by_spki(release), _by_spki(quality)
    if ours.keys() & theirs.keys():  # 1
        raise Refusal(refusals.MANIFEST_ROLES_OVERLAP, f"{len(ours.keys() & theirs.keys())} keys stand in both roles")
    envelope = Envelope.parse(data)  # 2
    if wrapped_digest(envelope.manifest) != envelope.digest:  # 3
        raise Refusal(refusals.MANIFEST_DIGEST_MISMATCH, f"the envelope says {envelope.digest.hex()}")
    signed = signers(envelope, {**ours, **theirs})  # 4
    by_release = _enough(signed, ours, release.threshold, refusals.MANIFEST_SIGNATURES_TOO_FEW)  # 5
    by_quality = _enough(signed, theirs, quality.threshold, refusals.MANIFEST_QUALITY_MISSING)  # 6
    manifest = Manifest.parse(envelope.manifest)  # 7
    if manifest.foreign:
        raise Refusal(refusals.MANIFEST_MEMBER_UNSUPPORTED, f"members {sorted(manifest.foreign)}", place="manifest")
    _check_components(manifest, by_release, release, prefix)  # 8
    sequences = {**manifest.sequences, **_severed(envelope, manifest)}  # 9
    _check_payloads(envelope, (manifest.common.shared, *sequences.values()))  # 10
    return VerifiedEnvelope(envelope.digest, manifest, sequences, envelope.payloads, by_release, by_quality)


def _check_components(manifest: Manifest, signers: Sequence[PublicKey], release: RoleKeys, prefix: ComponentId) -> None:
    below = (each for each in manifest.common.dependencies.values() if each is not None)
    for component in (*manifest.common.components, *below):
        name = (*prefix, *component)
        allowed = sum(_may_name(release.components.get(spki(key)), name) for key in signers)
        if allowed < release.threshold:
            detail = f"{allowed} of the {len(signers)} keys that signed may name it, {release.threshold} must"
            raise Refusal(refusals.MANIFEST_COMPONENT_UNAUTHORISED, detail, place=component_name(name))


def _may_name(prefixes: Sequence[ComponentId] | None, component: ComponentId) -> bool:
    return prefixes is None or any(component[: len(prefix)] == tuple(prefix) for prefix in prefixes)


def _by_spki(role: RoleKeys) -> dict[bytes, PublicKey]:
    return {spki(key): key for key in role.keys}


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
    signed = [parameters for sequence in sequences for parameters in _parameters(sequence)]
    names, digests = {each.uri for each in signed}, {each.image_digest for each in signed if each.image_digest}
    for name, data in envelope.payloads.items():
        if name not in names or not digests & {hashlib.sha256(data).digest(), dependency_digest(data)}:
            raise Refusal(refusals.MANIFEST_MEMBER_MISMATCH, "the signed commands name no such payload", place=name)


def dependency_digest(data: bytes) -> bytes | None:
    """Of an envelope the digest of its manifest, which is what another manifest knows it by; None where it is none."""
    try:
        return wrapped_digest(Envelope.parse(data).manifest)
    except InputError:
        return None


def _parameters(sequence: CommandSequence) -> Iterator[Parameters]:
    """All that are set, also in sequences within."""
    for command in sequence:
        match command.argument:
            case Parameters() as parameters:
                yield parameters
            case tuple() as within if command.code == Code.RUN_SEQUENCE:
                yield from _parameters(cast(CommandSequence, within))
            case tuple() as alternatives if command.code == Code.TRY_EACH:
                for each in alternatives:
                    yield from _parameters(cast(CommandSequence, each or ()))
