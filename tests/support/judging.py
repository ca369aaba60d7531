"""A trust document under which the evidence of `support.evidence` is judged from the command line."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.crypto import cose
from medvouch.crypto.keys import SoftwareSigner, spki
from medvouch.formats.reference import CONTENT_TYPE, ReferenceValues
from medvouch.formats.trust import Role, TrustDocument
from support.authorities import issuing, key
from support.boots import full_boot
from support.evidence import APPRAISER, RELEASE, reference

AT = "2026-11-23T18:00:00"
LATER = 2**40
QUALITY = key("quality")


def role(*keys: ec.EllipticCurvePrivateKey) -> Role:
    return Role(tuple(spki(each.public_key()) for each in keys), 1, LATER, "somebody")


def trust(*references: ReferenceValues) -> TrustDocument:
    """It lists these references, that of the full boot where none are given."""
    signer = SoftwareSigner(RELEASE)
    listed = references or (reference(full_boot()),)
    return TrustDocument(
        version=1,
        expires=LATER,
        appraiser=APPRAISER,
        roles={"release": role(RELEASE), "quality": role(QUALITY), "appraiser": role(key("appraiser"))},
        certificates={"enrolment-ca": (issuing("enrolment").certificate,), "tpm-vendor": (), "broker-ca": ()},
        references=tuple(cose.sign(each.encode(), [signer], content_type=CONTENT_TYPE) for each in listed),
    )


def write_trust(folder: Path, document: TrustDocument | None = None) -> Path:
    path = folder / "trust.cbor"
    path.write_bytes((document or trust()).encode())
    return path
