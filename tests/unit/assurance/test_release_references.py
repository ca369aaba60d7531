"""Reference values out of a release: by both of its roles, and none from a release that brings none."""

from __future__ import annotations

from medvouch.assurance.release_references import release_references
from medvouch.crypto import cose
from medvouch.formats.reference import CONTENT_TYPE
from medvouch.release.manifests import build_manifest, integrated, sign_envelope
from medvouch.update import refusals
from medvouch.update.processor import REFERENCE
from support.boots import full_boot
from support.evidence import reference
from support.refusing import assert_refused
from support.suit import DEVICE, PAYLOAD, QUALITY, QUALITY_KEYS, RELEASE, RELEASE_KEYS


def released(contents: dict[str, bytes]) -> bytes:
    manifest = build_manifest(
        sequence=11, version="1.1.0", security_epoch=2, device=DEVICE, image=PAYLOAD, contents=contents
    )
    return sign_envelope(manifest, RELEASE[:2], QUALITY[:1], integrated(contents))


def test_what_a_release_measures_comes_with_it() -> None:
    values = reference(full_boot())
    signed = cose.sign(values.encode(), RELEASE[:2], content_type=CONTENT_TYPE)
    (found,) = release_references(released({REFERENCE: signed}), RELEASE_KEYS, QUALITY_KEYS)
    assert found.values == values


def test_a_release_without_reference_values() -> None:
    assert_refused(refusals.MANIFEST_INCOMPLETE, release_references, released({}), RELEASE_KEYS, QUALITY_KEYS)
