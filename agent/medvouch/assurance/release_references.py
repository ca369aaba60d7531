"""Reference values straight from a release: what its signed envelope carries for whoever appraises (DESIGN §6)."""

from __future__ import annotations

from medvouch.attestation.reference import VerifiedReference, verify_references
from medvouch.errors import Refusal
from medvouch.formats.suit_commands import Parameters
from medvouch.update import refusals
from medvouch.update.processor import REFERENCE, DeviceClass, plan
from medvouch.update.verification import RoleKeys, VerifiedEnvelope, verify_envelope


def release_references(envelope: bytes, release: RoleKeys, quality: RoleKeys) -> tuple[VerifiedReference, ...]:
    """The reference values in a release's SUIT envelope, which both roles signed, and `release` itself once more.

    Whichever devices the release is for: who holds its reference values against a device knows which one he asked.
    Raises InputError; Refusal `manifest-*`, `reference-untrusted`.
    """
    verified = verify_envelope(envelope, release, quality)
    contents = plan(verified, _device_class(verified)).contents
    if REFERENCE not in contents:
        raise Refusal(refusals.MANIFEST_INCOMPLETE, "no reference values came along", place=REFERENCE)
    return verify_references([contents[REFERENCE]], release.keys, release.threshold)


def _device_class(envelope: VerifiedEnvelope) -> DeviceClass:
    """The one that the signed manifest is for."""
    found = Parameters()
    for command in envelope.manifest.common.shared:
        if isinstance(command.argument, Parameters):
            found = found.overridden(command.argument)
    return DeviceClass(found.vendor_id or b"", found.class_id or b"")
