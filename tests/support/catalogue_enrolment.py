"""Attacks on an enrolment authority: a genuine gateway's request, made on a software TPM, with one lie in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medvouch.attestation.enrolment import EnrolmentAuthority, EnrolmentTerms, EnrolmentTrust
from medvouch.attestation.manifest import verify_manifest
from medvouch.crypto import cose
from medvouch.crypto.keys import SoftwareSigner, load_spki, spki
from medvouch.crypto.tpm import software_public
from medvouch.formats.enrolment import CONTENT_TYPE, Request
from medvouch.formats.tpm_public import ObjectAttribute, Public
from support.attacks import OTHER
from support.authorities import NOW, issuing, root
from support.catalogue_attack import Attack
from support.enrolling import AUTHORITY, ENTROPY, MADE, ORDER, Gateway, World, first_rise, payload, vendor, world

_WHAT = {
    "": "a gateway as its maker built it",
    "request-signature-invalid": "another key signed the request",
    "ek-chain-untrusted": "the TPM's vendor is not trusted",
    "ek-mismatch": "a software key under the certificate of an endorsement key",
    "ek-not-on-manifest": "a genuine TPM that the maker never built into a gateway",
    "manifest-untrusted": "a manifest that the maker did not sign",
    "manifest-mismatch": "another serial number than was built",
    "idevid-chain-untrusted": "the maker is not trusted",
    "idevid-mismatch": "a device identity certificate of another key",
    "ak-not-restricted": "an attestation key that signs anything it is given, quotes that no TPM made among it",
    "key-not-tpm-bound": "a device key that may leave its TPM",
}


def enrolment_attacks() -> Iterator[Attack]:
    """All, and the one request that is honest."""
    everybody = world()
    with tempfile.TemporaryDirectory() as folder, everybody.gateway(Path(folder) / "tpm") as gateway:
        yield from _requests(everybody, gateway)


def _requests(everybody: World, gateway: Gateway) -> Iterator[Attack]:
    message, entry = gateway.enrollee().request(), gateway.entry
    genuine = Request.parse(payload(message))
    trusted = {
        "request.cose": message,
        "vendor.der": everybody.vendor.root.certificate,
        "maker.der": everybody.maker.authority.certificate,
        "manifest.cose": everybody.maker.manifest([entry], MADE),
        "manifest-key.der": spki(everybody.maker.signer.public_key),
    }
    point = Public.parse(software_public(OTHER.public_key())).unique
    software = replace(Public.parse(genuine.ek_public), unique=point).encode()
    strange = everybody.maker.identify(OTHER.public_key(), ORDER.serial, ORDER.model, now=NOW - 9, entropy=ENTROPY)
    unrestricted = _dropped(genuine, "lak_public", ObjectAttribute.RESTRICTED)
    loose = _dropped(genuine, "ldevid_public", ObjectAttribute.FIXED_TPM)
    forged = cose.sign1(genuine.encode(), SoftwareSigner(OTHER), content_type=CONTENT_TYPE)
    lies: dict[str, dict[str, bytes]] = {
        "": {},
        "request-signature-invalid": {"request.cose": forged},
        "ek-chain-untrusted": {"vendor.der": vendor("Other").root.certificate},
        "ek-mismatch": {"request.cose": gateway.sign(replace(genuine, ek_public=software))},
        "ek-not-on-manifest": {"manifest.cose": everybody.maker.manifest([replace(entry, ek_hash=bytes(32))], MADE)},
        "manifest-untrusted": {"manifest-key.der": spki(OTHER.public_key())},
        "manifest-mismatch": {"manifest.cose": everybody.maker.manifest([replace(entry, serial="SN-0002")], MADE)},
        "idevid-chain-untrusted": {"maker.der": root("stranger").certificate},
        "idevid-mismatch": {"request.cose": gateway.sign(replace(genuine, idevid_certificate=strange))},
        "ak-not-restricted": {"request.cose": gateway.sign(unrestricted)},
        "key-not-tpm-bound": {"request.cose": gateway.sign(loose)},
    }
    for code, lie in lies.items():
        record = "CVE-2021-3406" if code == "ek-mismatch" else ""
        given = {"at": NOW, "accountable_owner": "Clinic Engineering"}
        yield Attack(f"enrolment-{code or 'honest'}", "enrolment", code, _WHAT[code], {**trusted, **lie}, given, record)


def _dropped(request: Request, name: str, attribute: ObjectAttribute) -> Request:
    public = Public.parse(getattr(request, name))
    changed = replace(public, attributes=ObjectAttribute(public.attributes & ~attribute)).encode()
    changes: dict[str, Any] = {name: changed}
    return replace(request, **changes)


def judge_enrolment(files: Mapping[str, bytes], given: Mapping[str, Any]) -> None:
    manifest = verify_manifest(files["manifest.cose"], [load_spki(files["manifest-key.der"])])
    trust = EnrolmentTrust(
        vendor_roots=[files["vendor.der"]],
        maker_roots=[files["maker.der"]],
        manifests=[manifest],
        floor_authority=OTHER.public_key(),
    )
    authority = EnrolmentAuthority(
        AUTHORITY,
        issuing("enrolment"),
        trust,
        EnrolmentTerms(given["accountable_owner"], floor=0),
        entropy=ENTROPY,
        enrolled=lambda _: False,
        floor_of=lambda _: 0,
        approve_floor=first_rise,
    )
    authority.challenge(files["request.cose"], given["at"])
