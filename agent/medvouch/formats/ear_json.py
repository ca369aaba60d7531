"""The JSON twin of an EAR, read back: exactly what `Ear.to_json` makes, and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from medvouch.errors import InputError
from medvouch.formats.claims import LedgerHead
from medvouch.formats.ear import Ear, Reason, Tier, TrustVector


def ear_from_json(document: Mapping[str, Any]) -> Ear:
    """The inverse of `Ear.to_json`; InputError `ear-malformed` where there is none, `ear-limit` beyond its bounds."""
    try:
        ear = _read(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _malformed(f"it lacks something, or has it in another form: {error!r:.128}") from error
    if ear.to_json() != document:
        raise _malformed("it says something that an EAR does not")
    return Ear.parse(_encoded(ear))


def _encoded(ear: Ear) -> bytes:
    """Its bounds are those of CBOR; what is in no CBOR is in no EAR."""
    try:
        return ear.encode()
    except (AttributeError, TypeError, ValueError) as error:
        raise _malformed(f"a value of another kind: {error!r:.128}") from error


def _read(document: Mapping[str, Any]) -> Ear:
    ((device, appraisal),) = document["submods"].items()
    vector = {name.replace("-", "_"): value for name, value in appraisal["ear_trustworthiness_vector"].items()}
    (policy,) = appraisal["ear_appraisal_policy_ids"]
    head = appraisal.get("medvouch_ledger_head")
    return Ear(
        issued_at=document["iat"],
        verifier_developer=document["ear_verifier_id"]["developer"],
        verifier_build=document["ear_verifier_id"]["build"],
        nonce=_bytes(document["eat_nonce"]),
        status=Tier[appraisal["ear_status"].upper()],
        vector=TrustVector(**vector),
        policy_id=policy,
        evidence_digest=_bytes(appraisal["medvouch_evidence_digest"]),
        device=device,
        boot_count=appraisal.get("bootcount"),
        reasons=tuple(Reason(**reason) for reason in appraisal.get("medvouch_reasons", ())),
        quirks=tuple(appraisal.get("medvouch_quirks", ())),
        release=appraisal.get("medvouch_release"),
        ledger_head=LedgerHead(head["size"], _bytes(head["root"]), head["counter"]) if head is not None else None,
    )


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _malformed(detail: str) -> InputError:
    return InputError("ear-malformed", detail)
