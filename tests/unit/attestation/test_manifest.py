"""Whose manifests are believed, and whom they name."""

from __future__ import annotations

import pytest

from medvouch.attestation import refusals
from medvouch.attestation.manifest import find_gateway, verify_manifest
from medvouch.crypto import cose
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import InputError
from medvouch.formats.manufacturing import CONTENT_TYPE, Manifest, ManifestEntry
from support.authorities import key
from support.refusing import assert_refused

ENTRIES = tuple(ManifestEntry(bytes([number]) * 32, f"S{number}", "gateway", "1") for number in range(3))
MANIFEST = Manifest("Maker", 1, ENTRIES)
KEYS = [key("other").public_key(), key("maker").public_key()]


def signed(by: str = "maker", content_type: str = CONTENT_TYPE) -> bytes:
    return cose.sign1(MANIFEST.encode(), SoftwareSigner(key(by)), content_type=content_type)


def test_a_manifest_of_a_maker() -> None:
    manifest = verify_manifest(signed(), KEYS)
    assert (manifest.issuer, manifest.issued_at) == ("Maker", 1)
    for entry in ENTRIES:
        assert find_gateway([verify_manifest(signed("other"), KEYS), manifest], entry.ek_hash) == entry


def test_a_gateway_on_none() -> None:
    assert_refused(refusals.EK_NOT_ON_MANIFEST, find_gateway, [verify_manifest(signed(), KEYS)], bytes([9]) * 32)
    assert_refused(refusals.EK_NOT_ON_MANIFEST, find_gateway, [], bytes(32))


def test_a_manifest_of_somebody_else() -> None:
    assert_refused(refusals.MANIFEST_UNTRUSTED, verify_manifest, signed("stranger"), KEYS)
    assert_refused(refusals.MANIFEST_UNTRUSTED, verify_manifest, signed(), [])
    assert_refused(refusals.MANIFEST_UNTRUSTED, verify_manifest, signed(content_type="application/x"), KEYS)


def test_what_is_no_manifest() -> None:
    other = cose.sign1(ENTRIES[0].encode(), SoftwareSigner(key("maker")), content_type=CONTENT_TYPE)
    for message in (other, signed()[:-1], b""):
        with pytest.raises(InputError):
            verify_manifest(message, KEYS)
