"""The maker's manifests, once their signature holds (DESIGN §3): a genuine TPM is not yet a gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from medvouch.attestation import refusals
from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey
from medvouch.errors import Refusal
from medvouch.formats.manufacturing import CONTENT_TYPE, Manifest, ManifestEntry


@dataclass(frozen=True)
class VerifiedManifest:
    """Gateways by the hash of their EK; built by `verify_manifest` only."""

    issuer: str
    issued_at: int
    entries: Mapping[bytes, ManifestEntry]


def verify_manifest(message: bytes, maker_keys: Iterable[PublicKey]) -> VerifiedManifest:
    """Check a signed manifest (COSE_Sign1) against the keys of the role `manufacturer`.

    Raises InputError, Refusal `manifest-untrusted`.
    """
    payload = cose.verify1_by_any(message, maker_keys, content_type=CONTENT_TYPE, otherwise=refusals.MANIFEST_UNTRUSTED)
    manifest = Manifest.parse(payload)
    return VerifiedManifest(manifest.issuer, manifest.issued_at, {entry.ek_hash: entry for entry in manifest.entries})


def find_gateway(manifests: Sequence[VerifiedManifest], ek_hash: bytes) -> ManifestEntry:
    """The gateway with this EK. Raises Refusal `ek-not-on-manifest`."""
    for manifest in manifests:
        if ek_hash in manifest.entries:
            return manifest.entries[ek_hash]
    raise Refusal(refusals.EK_NOT_ON_MANIFEST, f"no manifest lists the EK {ek_hash.hex()}")
