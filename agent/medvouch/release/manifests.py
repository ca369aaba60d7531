"""Authoring of SUIT manifests: an image for a slot, or parts of which there is one; signatures by several parties."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from medvouch.crypto.cose import sign1
from medvouch.crypto.keys import Signer, key_thumbprint
from medvouch.errors import Refusal
from medvouch.formats.cose import KID, Header
from medvouch.formats.suit import Envelope, wrapped_digest
from medvouch.formats.suit_commands import Code, Command, Parameters
from medvouch.formats.suit_manifest import Common, Manifest, Member, component_name
from medvouch.formats.version import parse_version
from medvouch.update import refusals
from medvouch.update.parts import BOOT_LOADER, BY_NAME, staged
from medvouch.update.payload import Payload
from medvouch.update.processor import EPOCH_LABEL, REFERENCE, DeviceClass
from medvouch.update.signatures import signers

_ON_FAILURE, _ALWAYS = 2, 15
"""Reporting policies, as the draft's examples have them for directives and conditions."""
_EITHER_WAY = 3
"""A record of the command, whatever came of it."""
_MATCH = Command(Code.IMAGE_MATCH, _ALWAYS)
_RECORDED_FETCH, _RECORDED_COPY = Command(Code.FETCH, _EITHER_WAY), Command(Code.COPY, _EITHER_WAY)


def build_manifest(
    *,
    sequence: int,
    version: str,
    security_epoch: int,
    device: DeviceClass,
    image: Payload,
    contents: Mapping[str, bytes],
    others: Sequence[Payload] = (),
) -> bytes:
    """An encoded manifest that fetches `image` and `others`, and takes `contents` (by component) out of the envelope.

    Vendor and class are checked first, for all components; then all is fetched and held against digest and size, again
    before it is started, and the image's component is started. Raises InputError `version-malformed`.
    """
    payloads = [image, *others, *(_content(component, data) for component, data in contents.items())]
    everything = Command(Code.SET_COMPONENT_INDEX, True)
    shared = _identity(device, security_epoch)
    fetching: list[Command] = []
    for index, payload in enumerate(payloads):
        select = Command(Code.SET_COMPONENT_INDEX, index)
        shared += [select, _override(image_digest=payload.digest, image_size=payload.size)]
        fetching += [select, _override(uri=payload.uri)]
        fetching += [Command(Code.FETCH, _ON_FAILURE), Command(Code.IMAGE_MATCH, _ALWAYS)]
    sequences = {
        Member.PAYLOAD_FETCH: tuple(fetching),
        Member.VALIDATE: (everything, Command(Code.IMAGE_MATCH, _ALWAYS)),
        Member.INVOKE: (Command(Code.SET_COMPONENT_INDEX, 0), Command(Code.INVOKE, _ON_FAILURE)),
    }
    components = tuple((payload.component.encode(),) for payload in payloads)
    return Manifest(sequence, Common(components, tuple(shared)), sequences, version=parse_version(version)).encode()


def build_parts_manifest(
    *,
    sequence: int,
    version: str,
    security_epoch: int,
    device: DeviceClass,
    parts: Sequence[Payload],
    reference: bytes,
) -> bytes:
    """An encoded manifest for parts of which there is one (`update.parts`), each payload by the part that it goes to.

    Each is fetched to where it is staged and held against digest and size, there again before it is installed, and
    copied from there in this order. A boot loader is compared once more when it was copied and when it was started: it
    is the one part that can be read back. Every command leaves a record. Raises InputError `version-malformed`.
    """
    waiting = [replace(each, component=component_name(staged(BY_NAME[each.component]))) for each in parts]
    payloads = [*parts, *waiting, _content(REFERENCE, reference)]
    shared, count = _identity(device, security_epoch), len(parts)
    for index, payload in enumerate(payloads):
        shared += [_select(index), _override(image_digest=payload.digest, image_size=payload.size)]
    fetching: list[Command] = []
    for index, payload in list(enumerate(payloads))[count:]:
        fetching += [_select(index), _override(uri=payload.uri), _RECORDED_FETCH, _MATCH]
    installing: list[Command] = []
    validating: list[Command] = []
    for index, payload in enumerate(parts):
        compared = (_select(index), _MATCH) if BY_NAME[payload.component] == BOOT_LOADER else ()
        installing += [_select(index), _override(source_component=count + index), _RECORDED_COPY, *compared]
        validating += compared
    sequences = {
        Member.PAYLOAD_FETCH: tuple(fetching),
        Member.CANDIDATE_VERIFICATION: (Command(Code.SET_COMPONENT_INDEX, tuple(range(count, len(payloads)))), _MATCH),
        Member.INSTALL: tuple(installing),
        **({Member.VALIDATE: tuple(validating)} if validating else {}),
    }
    components = tuple(tuple(part.encode() for part in payload.component.split("/")) for payload in payloads)
    return Manifest(sequence, Common(components, tuple(shared)), sequences, version=parse_version(version)).encode()


def integrated(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Contents by component as the envelope has them: by the name that the manifest fetches them under."""
    return {_integrated_name(component): data for component, data in contents.items()}


def build_envelope(manifest: bytes, payloads: Mapping[str, bytes]) -> bytes:
    """An envelope that nobody has signed yet; `payloads` are the integrated ones, by `#name`."""
    return Envelope(wrapped_digest(manifest), (), manifest, {}, payloads).encode()


def sign_envelope(
    manifest: bytes,
    release_signers: Sequence[Signer],
    quality_signers: Sequence[Signer],
    payloads: Mapping[str, bytes],
) -> bytes:
    """An envelope with the signatures of both roles; which key is of which role, the trust document says."""
    envelope = build_envelope(manifest, payloads)
    for signer in (*release_signers, *quality_signers):
        envelope = add_signature(envelope, signer)
    return envelope


def add_signature(envelope: bytes, signer: Signer) -> bytes:
    """The envelope with one more signature.

    Raises InputError; Refusal `manifest-digest-mismatch` where the manifest is not the one that others signed,
    `manifest-key-repeated` where this key did already.
    """
    parsed = Envelope.parse(envelope)
    if wrapped_digest(parsed.manifest) != parsed.digest:
        raise Refusal(refusals.MANIFEST_DIGEST_MISMATCH, f"the envelope says {parsed.digest.hex()}")
    Manifest.parse(parsed.manifest)
    if signers(parsed, {b"": signer.public_key}):
        raise Refusal(refusals.MANIFEST_KEY_REPEATED, "this key has signed the envelope before")
    kid: Header = {KID: key_thumbprint(signer.public_key)}
    signature = sign1(parsed.signed, signer, protected=kid, detached=True)
    signed = Envelope(parsed.digest, (*parsed.signatures, signature), parsed.manifest, parsed.members, parsed.payloads)
    return Envelope.parse(signed.encode()).encode()


def _identity(device: DeviceClass, security_epoch: int) -> list[Command]:
    """For which devices a release is, and its epoch, as all sequences begin."""
    identity = Parameters(device.vendor_id, device.class_id, private={EPOCH_LABEL: security_epoch})
    conditions = (Command(Code.VENDOR_IDENTIFIER, _ALWAYS), Command(Code.CLASS_IDENTIFIER, _ALWAYS))
    return [Command(Code.SET_COMPONENT_INDEX, True), Command(Code.OVERRIDE_PARAMETERS, identity), *conditions]


def _select(index: int) -> Command:
    return Command(Code.SET_COMPONENT_INDEX, index)


def _override(**parameters: bytes | int | str) -> Command:
    return Command(Code.OVERRIDE_PARAMETERS, Parameters(**parameters))  # type: ignore[arg-type]  # names are its own


def _content(component: str, data: bytes) -> Payload:
    return Payload(component, _integrated_name(component), hashlib.sha256(data).digest(), len(data))


def _integrated_name(component: str) -> str:
    return f"#{component}"
