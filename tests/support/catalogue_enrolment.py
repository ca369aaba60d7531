"""Attacks on an enrolment authority: a genuine gateway's request or proof, made on swtpm, with one lie in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medvouch.attestation.enrollee import Enrollee
from medvouch.attestation.enrolment import EnrolmentAuthority, EnrolmentTerms, EnrolmentTrust
from medvouch.attestation.manifest import verify_manifest
from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey, SoftwareSigner, load_spki, spki
from medvouch.crypto.tpm import software_public
from medvouch.formats.enrolment import CONTENT_TYPE, Proof, Request, message_digest
from medvouch.formats.tpm_public import ObjectAttribute, Public
from support.attacks import OTHER
from support.authorities import NOW, issuing, key, root
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
        enrollee = gateway.enrollee()
        trusted = {
            "request.cose": enrollee.request(),
            "vendor.der": everybody.vendor.root.certificate,
            "maker.der": everybody.maker.authority.certificate,
            "manifest.cose": everybody.maker.manifest([gateway.entry], MADE),
            "manifest-key.der": spki(everybody.maker.signer.public_key),
        }
        yield from _requests(everybody, gateway, trusted)
        yield from _proofs(everybody, gateway, enrollee, trusted)


def _requests(everybody: World, gateway: Gateway, trusted: Mapping[str, bytes]) -> Iterator[Attack]:
    entry, genuine = gateway.entry, Request.parse(payload(trusted["request.cose"]))
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
        yield Attack(f"enrolment-{code or 'honest'}", "enrolment", code, _WHAT[code], {**trusted, **lie}, GIVEN, record)


GIVEN: Mapping[str, Any] = {"at": NOW, "accountable_owner": "Clinic Engineering"}
_ANSWERED = {
    "": "a gateway that opened the challenge",
    "credential-not-activated": "the secret was guessed: the LAK is not in the TPM with that endorsement key",
    "challenge-mismatch": "the proof for a challenge before",
    "challenge-expired": "the genuine proof, an hour later",
    "request-signature-invalid": "another key signed the proof",
    "key-not-certified": "the certification of another key for that of the LDevID",
    "certification-stale": "keys that were certified for a challenge before",
    "floor-not-certified": "a counter that the LAK did not certify",
    "nv-index-wrong": "the index of the floor's counter is not there",
}


def _proofs(everybody: World, gateway: Gateway, enrollee: Enrollee, trusted: Mapping[str, bytes]) -> Iterator[Attack]:
    """Both messages of the device, and the challenge between them with what only the authority knows of it."""
    authority = everybody.authority(gateway.entry)
    before, _ = authority.challenge(trusted["request.cose"], NOW)
    challenge, pending = authority.challenge(trusted["request.cose"], NOW)
    earlier, proof = (Proof.parse(payload(enrollee.proof(message))) for message in (before, challenge))
    known = {"nonce": pending.nonce.hex(), "secret": pending.secret.hex(), "expires": pending.expires}
    floor = {"challenge.cose": challenge, "floor.der": spki(key("floor").public_key())}
    fewer = {name: public for name, public in proof.nv_publics.items() if name != "floor"}
    unsigned = replace(proof.certify_floor, signature=proof.certify_iak.signature)
    lies: dict[str, Proof] = {
        "": proof,
        "credential-not-activated": replace(proof, secret=bytes(32)),
        "challenge-mismatch": earlier,
        "challenge-expired": proof,
        "key-not-certified": replace(proof, certify_ldevid=proof.certify_iak),
        "certification-stale": replace(proof, certify_ldevid=earlier.certify_ldevid),
        "floor-not-certified": replace(proof, certify_floor=unsigned),
        "nv-index-wrong": replace(proof, nv_publics=fewer),
    }
    forged = cose.sign1(proof.encode(), SoftwareSigner(OTHER), content_type=CONTENT_TYPE)
    messages = {code: gateway.sign(lie) for code, lie in lies.items()} | {"request-signature-invalid": forged}
    for code, message in messages.items():
        given = {**GIVEN, **known, "answered_at": NOW + (3600 if code == "challenge-expired" else 1)}
        files = {**trusted, **floor, "proof.cose": message}
        yield Attack(f"proof-{code or 'honest'}", "proof", code, _ANSWERED[code], files, given)


def _dropped(request: Request, name: str, attribute: ObjectAttribute) -> Request:
    public = Public.parse(getattr(request, name))
    changed = replace(public, attributes=ObjectAttribute(public.attributes & ~attribute)).encode()
    changes: dict[str, Any] = {name: changed}
    return replace(request, **changes)


def judge_proof(files: Mapping[str, bytes], given: Mapping[str, Any]) -> None:
    authority = _authority(files, given, load_spki(files["floor.der"]))
    _, fresh = authority.challenge(files["request.cose"], given["at"])
    pending = replace(
        fresh,
        challenge=message_digest(files["challenge.cose"]),
        nonce=bytes.fromhex(given["nonce"]),
        secret=bytes.fromhex(given["secret"]),
        expires=given["expires"],
    )
    authority.answer(pending, files["proof.cose"], given["answered_at"])


def judge_enrolment(files: Mapping[str, bytes], given: Mapping[str, Any]) -> None:
    _authority(files, given, OTHER.public_key()).challenge(files["request.cose"], given["at"])


def _authority(files: Mapping[str, bytes], given: Mapping[str, Any], floor: PublicKey) -> EnrolmentAuthority:
    manifest = verify_manifest(files["manifest.cose"], [load_spki(files["manifest-key.der"])])
    trust = EnrolmentTrust(
        vendor_roots=[files["vendor.der"]],
        maker_roots=[files["maker.der"]],
        manifests=[manifest],
        floor_authority=floor,
    )
    return EnrolmentAuthority(
        AUTHORITY,
        issuing("enrolment"),
        trust,
        EnrolmentTerms(given["accountable_owner"], floor=0),
        entropy=ENTROPY,
        enrolled=lambda _: False,
        floor_of=lambda _: 0,
        approve_floor=first_rise,
    )
